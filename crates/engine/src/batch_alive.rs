//! Alive entries of a whole batch.

use std::collections::BTreeMap;
use std::sync::Arc;

use tributary_backend::{AttributionBackend, BackendError};

use crate::batch::Batch;
use crate::output::OutputProbs;
use crate::{AliveEntries, CiSet, Layer, Model, Targets, Thresholds, alive_components};

/// Alive entries of every layer for every set of a batch.
pub(crate) struct BatchAlive {
    layers: BTreeMap<Layer, Vec<Arc<AliveEntries>>>,
    targets: BTreeMap<Layer, Vec<Arc<AliveEntries>>>,
    widths: BTreeMap<Layer, usize>,
}

impl BatchAlive {
    pub(crate) fn new<B: AttributionBackend>(
        model: &Model<B>,
        batch: &Batch<'_>,
        probs: &OutputProbs<B::Element>,
        thresholds: Thresholds,
    ) -> Self {
        let mut layers = BTreeMap::new();
        let mut widths = model.component_counts.clone();
        for &layer in model.component_counts.keys() {
            let of_set = |set: &&CiSet| Arc::new(alive_components(&set.layers[&layer], thresholds.ci));
            layers.insert(layer, batch.sets().iter().map(of_set).collect());
        }
        let every_position = Arc::new(AliveEntries::every_position(batch.positions()));
        layers.insert(Layer::Wte, vec![every_position; batch.sets().len()]);
        let output = (0..batch.sets().len()).map(|set| Arc::new(probs.alive(set, thresholds.output_prob)));
        layers.insert(Layer::Output, output.collect());
        widths.insert(Layer::Output, model.architecture.vocab);
        Self { targets: layers.clone(), layers, widths }
    }

    /// Leaves of the targets only those that are asked for: `wanted` has one map per set.
    pub(crate) fn restrict_targets(&mut self, wanted: &[&Targets]) {
        for (layer, sets) in &mut self.targets {
            for (entries, wanted) in sets.iter_mut().zip(wanted) {
                *entries = Arc::new(match wanted.get(layer) {
                    Some(wanted) => entries.intersection(wanted),
                    None => AliveEntries::collect(entries.positions(), 0, |_, _| false),
                });
            }
        }
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

    /// The values of `sets`, entries of a layer, out of `x`, `[sets, positions, components of layer]`: one vector per
    /// set.
    pub(crate) fn gather<B: AttributionBackend>(
        &self,
        b: &B,
        layer: Layer,
        sets: &[Arc<AliveEntries>],
        x: &B::Tensor,
    ) -> Result<Vec<Vec<B::Element>>, BackendError> {
        let width = self.widths[&layer];
        let indices = sets
            .iter()
            .enumerate()
            .flat_map(|(set, entries)| entries.iter().map(move |(s, c)| (set * entries.positions() + s) * width + c));
        let gathered = b.download(&b.gather(x, &indices.collect::<Vec<_>>())?)?;
        let mut rest = gathered.as_slice();
        let split = |entries: &Arc<AliveEntries>| rest.split_off(..entries.len()).unwrap_or_default().to_vec();
        Ok(sets.iter().map(split).collect())
    }
}
