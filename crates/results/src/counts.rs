//! What a manifest counts of a set.

use std::sync::Arc;

use tributary_backend::Element;
use tributary_model::{AliveEntries, LayerNodes, PairAttribution};

use crate::delta_distance;
use crate::{LayerCounts, PairCounts};

pub(crate) fn count_layer<E>(nodes: &LayerNodes<E>) -> LayerCounts {
    let is_ghost = |&(position, component): &(usize, usize)| nodes.alive.row_of(position, component).is_none();
    LayerCounts { nodes: nodes.alive.len(), ghosts: nodes.original.iter().filter(is_ghost).count() }
}

pub(crate) fn count_pair<E: Element>(pair: &PairAttribution<E>) -> PairCounts {
    let mut counts = count_components(pair);
    counts.count(&pair.values);
    PairCounts { delta_distance: delta_distance::of_pair(pair).relative(), ..counts }
}

/// The counts of a pair of which no value has come yet.
pub(crate) fn count_components<E>(pair: &PairAttribution<E>) -> PairCounts {
    count_pairs(std::slice::from_ref(pair)).remove(0)
}

/// The same of several: what they share is counted once.
pub(crate) fn count_pairs<E>(pairs: &[PairAttribution<E>]) -> Vec<PairCounts> {
    let mut known: Vec<(&Arc<AliveEntries>, usize)> = Vec::new();
    let mut components = |entries| {
        if let Some(&(_, count)) = known.iter().find(|(of, _)| Arc::ptr_eq(of, entries)) {
            return count;
        }
        let count = entries.component_union().len();
        known.push((entries, count));
        count
    };
    pairs.iter().map(|pair| of_components(components(&pair.source), components(&pair.target))).collect()
}

fn of_components(n_c_in: usize, n_c_out: usize) -> PairCounts {
    PairCounts { n_c_in, n_c_out, edges: 0, nonzero: 0, largest: None, delta_distance: None }
}

impl PairCounts {
    /// Adds more values.
    pub(crate) fn count<E: Element>(&mut self, values: &[E]) {
        // Bits of numbers that are not negative are ordered as the numbers are, and those of a NaN are the largest.
        let magnitude = |value: &E| value.to_f32().abs().to_bits();
        let largest = values.iter().map(magnitude).fold(0, u32::max);
        self.nonzero += values.iter().map(|value| usize::from(value.to_f32() != 0.0)).sum::<usize>();
        if !values.is_empty() {
            let known = self.largest.map_or(0, f32::to_bits);
            let overflowed = self.edges > 0 && self.largest.is_none();
            let largest = f32::from_bits(largest.max(known));
            self.largest = (largest.is_finite() && !overflowed).then_some(largest);
        }
        self.edges += values.len();
    }
}
