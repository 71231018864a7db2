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
}

impl BatchAlive {
    /// Everything but the output, which has no entries yet.
    ///
    /// `wanted`, one per set, leaves of the targets only those that are asked for. The embedding has a pseudo-component where
    /// it is not decomposed.
    pub(crate) fn new(batch: &Batch<'_>, thresholds: Thresholds, wanted: Option<&[&Targets]>) -> Self {
        let mut layers: BTreeMap<Layer, Vec<Arc<AliveEntries>>> = BTreeMap::new();
        for set in batch.sets() {
            for (&layer, ci) in &set.layers {
                layers.entry(layer).or_default().push(Arc::new(alive_components(ci, thresholds.ci)));
            }
        }
        if layers.keys().all(|layer| layer.role() != Role::TokenEmbedding) {
            let every_position = Arc::new(AliveEntries::every_position(batch.positions()));
            layers.insert(Layer::wte(), vec![every_position; batch.sets().len()]);
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
        Self { layers, targets }
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

fn restrict(entries: &AliveEntries, layer: Layer, wanted: &Targets) -> Arc<AliveEntries> {
    Arc::new(match wanted.get(&layer) {
        Some(wanted) => entries.intersection(wanted),
        None => AliveEntries::collect(entries.positions(), 0, |_, _| false),
    })
}
