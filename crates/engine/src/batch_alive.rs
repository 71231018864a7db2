//! Alive entries of a whole batch.

use std::collections::BTreeMap;
use std::sync::Arc;

use tributary_backend::{AttributionBackend, BackendError};

use crate::batch::Batch;
use crate::output::OutputProbs;
use crate::{AliveEntries, CiSet, Layer, Model, Thresholds, alive_components};

/// Alive entries of every layer for every set of a batch.
pub(crate) struct BatchAlive {
    layers: BTreeMap<Layer, Vec<Arc<AliveEntries>>>,
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
        Self { layers, widths }
    }

    /// The layers that have nodes, in the order data flows.
    pub(crate) fn layers(&self) -> impl Iterator<Item = Layer> + '_ {
        self.layers.keys().copied()
    }

    /// Alive entries of a layer: one per set.
    pub(crate) fn of(&self, layer: Layer) -> &[Arc<AliveEntries>] {
        &self.layers[&layer]
    }

    /// The alive entries' values out of `x`, `[sets, positions, components of layer]`: one vector per set.
    pub(crate) fn gather<B: AttributionBackend>(
        &self,
        b: &B,
        layer: Layer,
        x: &B::Tensor,
    ) -> Result<Vec<Vec<B::Element>>, BackendError> {
        let width = self.widths[&layer];
        let sets = self.of(layer);
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
