//! What the forward pass recorded of the alive entries, on the host.

use std::collections::BTreeMap;
use std::sync::Arc;

use tributary_backend::{AttributionBackend, BackendError, Element};
use tributary_model::{AliveEntries, Layer};

use crate::batch_alive::BatchAlive;
use crate::recorded_pass::RecordedPass;
use crate::support::Slots;

/// Values of the alive entries of one layer, by set and row.
#[derive(Clone, Debug)]
pub(crate) struct EntryValues<E> {
    /// Activations before the detach; the logits of `output`; empty for `wte`.
    pub(crate) pre: Vec<Vec<E>>,
    /// What the forward pass multiplied each activation by; empty for `output` and `wte`.
    pub(crate) mask: Vec<Vec<E>>,
}

/// The alive entries of a batch, and what was recorded of them.
#[derive(Clone, Copy)]
pub(crate) struct RecordedEntries<'a, E> {
    pub(crate) alive: &'a BatchAlive,
    /// Of the decomposed layers, and of `output` once its entries are known.
    pub(crate) values: &'a BTreeMap<Layer, EntryValues<E>>,
}

impl<E: Element> EntryValues<E> {
    /// Those of a layer that has none, in so many sets.
    pub(crate) fn none(sets: usize) -> Self {
        Self { pre: vec![Vec::new(); sets], mask: vec![Vec::new(); sets] }
    }

    /// Those of every decomposed layer.
    pub(crate) fn of_layers<B: AttributionBackend<Element = E>>(
        b: &B,
        forward: &RecordedPass<B::Tensor>,
        alive: &BatchAlive,
    ) -> Result<BTreeMap<Layer, Self>, BackendError> {
        let mut values = BTreeMap::new();
        for (&layer, recorded) in &forward.layers {
            let (slots, width) = (Slots::new(&recorded.components), recorded.components.len());
            let mut indices = Vec::new();
            for (set, entries) in alive.of(layer).iter().enumerate() {
                let row = |position| (set * entries.positions() + position) * width;
                indices.extend(entries.iter().map(|(position, component)| row(position) + slots.of(component)));
            }
            let by_set = |gathered: &[E]| {
                let mut rest = gathered;
                let split = |entries: &Arc<AliveEntries>| rest.split_off(..entries.len()).unwrap_or_default().to_vec();
                alive.of(layer).iter().map(split).collect()
            };
            let pre = by_set(&b.download_vec(b.gather(&recorded.post, &indices)?)?);
            let mask = match &recorded.mask {
                Some(mask) => by_set(&b.download_vec(b.gather(mask, &indices)?)?),
                None => by_set(&vec![E::from_f64(1.0); indices.len()]),
            };
            values.insert(layer, Self { pre, mask });
        }
        Ok(values)
    }
}
