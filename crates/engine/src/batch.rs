//! Sets of equal length, stacked.

use std::collections::BTreeMap;

use tributary_backend::{AttributionBackend, BackendError, Element};

use crate::{CiSet, Layer, Model};

/// CI sets whose prompts have the same number of tokens, to be computed in one pass.
pub(crate) struct Batch<'a> {
    sets: Vec<&'a CiSet>,
}

impl<'a> Batch<'a> {
    /// # Panics
    ///
    /// When there are no sets, or their lengths differ.
    pub(crate) fn new(sets: &[&'a CiSet]) -> Self {
        let lengths = sets.iter().map(|set| set.prompt.tokens.len());
        assert!(!sets.is_empty() && lengths.clone().all(|length| length == sets[0].prompt.tokens.len()));
        Self { sets: sets.to_vec() }
    }

    /// Indices into `sets` of the sets of each batch: one batch per length, sets in their order.
    pub(crate) fn group_by_length(sets: &[CiSet]) -> Vec<Vec<usize>> {
        let mut groups: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (index, set) in sets.iter().enumerate() {
            groups.entry(set.prompt.tokens.len()).or_default().push(index);
        }
        groups.into_values().collect()
    }

    pub(crate) fn sets(&self) -> &[&'a CiSet] {
        &self.sets
    }

    pub(crate) fn positions(&self) -> usize {
        self.sets[0].prompt.tokens.len()
    }

    pub(crate) fn tokens(&self) -> Vec<&'a [u32]> {
        self.sets.iter().map(|set| set.prompt.tokens.as_slice()).collect()
    }

    /// Causal importances of every decomposed layer, stacked to `[sets, positions, components]`.
    pub(crate) fn masks<B: AttributionBackend>(
        &self,
        model: &Model<B>,
    ) -> Result<BTreeMap<Layer, B::Tensor>, BackendError> {
        let stack = |layer: &Layer, components: usize| {
            let values = self.sets.iter().flat_map(|set| &set.layers[layer].values);
            let values: Vec<B::Element> = values.map(|&value| B::Element::from_f32(value)).collect();
            model.backend.upload(&values, &[self.sets.len(), self.positions(), components])
        };
        model.component_counts.iter().map(|(&layer, &components)| Ok((layer, stack(&layer, components)?))).collect()
    }
}
