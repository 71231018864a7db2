//! Alive entries of a whole batch.

use std::collections::BTreeMap;
use std::sync::Arc;

use tributary_model::{AliveEntries, Layer, Role, Thresholds, alive_components};

use crate::Targets;
use crate::batch::Batch;

/// Alive entries of every layer for every set of a batch.
pub(crate) struct BatchAlive {
    layers: BTreeMap<Layer, Vec<Arc<AliveEntries>>>,
    targets: BTreeMap<Layer, Vec<Arc<AliveEntries>>>,
    /// The last position of each set that takes part, where not all do.
    until: Vec<Option<usize>>,
}

impl BatchAlive {
    /// Everything but the output, which has no entries yet.
    ///
    /// `wanted`, one per set, leaves of the targets only those that are asked for. Of a set with a last position, `until`,
    /// nothing after it takes part. The embedding has a pseudo-component where it is not decomposed.
    pub(crate) fn new(
        batch: &Batch<'_>,
        thresholds: Thresholds,
        until: Vec<Option<usize>>,
        wanted: Option<&[&Targets]>,
    ) -> Self {
        let mut layers: BTreeMap<Layer, Vec<Arc<AliveEntries>>> = BTreeMap::new();
        for (set, &last) in batch.sets().iter().zip(&until) {
            for (&layer, ci) in &set.layers {
                layers.entry(layer).or_default().push(cut(Arc::new(alive_components(ci, thresholds)), last));
            }
        }
        if layers.keys().all(|layer| layer.role() != Role::TokenEmbedding) {
            let every_position = Arc::new(AliveEntries::every_position(batch.positions()));
            let of_sets = until.iter().map(|&last| cut(Arc::clone(&every_position), last)).collect();
            layers.insert(Layer::wte(), of_sets);
        }
        layers.insert(Layer::output(), Vec::new());
        let mut targets = layers.clone();
        if let Some(wanted) = wanted {
            for (layer, sets) in &mut targets {
                for (entries, wanted) in sets.iter_mut().zip(wanted) {
                    *entries = restrict(entries, *layer, wanted);
                }
            }
        }
        Self { layers, targets, until }
    }

    /// The last position that takes part in a set, where it is not the prompt's.
    pub(crate) fn last_position(&self, set: usize) -> Option<usize> {
        self.until[set]
    }

    /// The entries of a layer that take part in a set.
    pub(crate) fn taking_part(&self, set: usize, entries: &Arc<AliveEntries>) -> Arc<AliveEntries> {
        cut(Arc::clone(entries), self.until[set])
    }

    /// Everything that is alive in any of the sets, as one set.
    pub(crate) fn union(&self) -> Self {
        let union = |layers: &BTreeMap<Layer, Vec<Arc<AliveEntries>>>| {
            let of_layer = |(&layer, sets): (&Layer, &Vec<Arc<AliveEntries>>)| {
                let sets: Vec<&AliveEntries> = sets.iter().map(AsRef::as_ref).collect();
                (layer, vec![Arc::new(AliveEntries::union(&sets))])
            };
            layers.iter().map(of_layer).collect()
        };
        Self { layers: union(&self.layers), targets: union(&self.targets), until: vec![None] }
    }

    /// Adds the output's entries in the next set, of which `wanted` leaves only those that are asked for as targets.
    pub(crate) fn push_output(&mut self, entries: AliveEntries, wanted: Option<&Targets>) {
        let entries = Arc::new(entries);
        let target = wanted.map_or_else(|| Arc::clone(&entries), |wanted| restrict(&entries, Layer::output(), wanted));
        self.layers.entry(Layer::output()).or_default().push(entries);
        self.targets.entry(Layer::output()).or_default().push(target);
    }

    /// The layers that have nodes, in the order data flows.
    pub(crate) fn layers(&self) -> impl Iterator<Item = Layer> + '_ {
        self.layers.keys().copied()
    }

    /// Alive entries of a layer: one per set.
    pub(crate) fn of(&self, layer: Layer) -> &[Arc<AliveEntries>] {
        &self.layers[&layer]
    }

    /// Entries of a layer to which attributions are wanted: one per set.
    pub(crate) fn targets(&self, layer: Layer) -> &[Arc<AliveEntries>] {
        &self.targets[&layer]
    }
}

fn cut(entries: Arc<AliveEntries>, last: Option<usize>) -> Arc<AliveEntries> {
    match last {
        Some(last) if last + 1 < entries.positions() => Arc::new(entries.until(last)),
        _ => entries,
    }
}

fn restrict(entries: &AliveEntries, layer: Layer, wanted: &Targets) -> Arc<AliveEntries> {
    Arc::new(match wanted.get(&layer) {
        Some(wanted) => entries.intersection(wanted),
        None => AliveEntries::collect(entries.positions(), 0, |_, _| false),
    })
}
