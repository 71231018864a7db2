//! Which components take part in a batch at all.
//!
//! A component whose causal importance is exactly 0 wherever it could act adds nothing to the masked forward pass and is
//! alive nowhere. Causal-importance functions clamp to 0, so most components are such. What is left is the layer's
//! support; products are taken over it alone, and tensors of a batch number components by their *slot*: the index
//! in the support.

use std::collections::BTreeMap;

use tributary_model::{CausalImportances, CiSet, Layer, Thresholds};

/// The supports of a batch.
pub(crate) struct Supports {
    /// Of every decomposed layer: components, ascending.
    pub(crate) layers: BTreeMap<Layer, Vec<usize>>,
    /// Whether the activations are also of interest where a component's causal importance is 0.
    pub(crate) zero_is_alive: bool,
}

/// The supports of one set.
pub(crate) struct SetSupports {
    /// By layer: whether each component is in it.
    layers: BTreeMap<Layer, Vec<bool>>,
    zero_is_alive: bool,
}

impl SetSupports {
    /// With a threshold that 0 passes, components of importance 0 are alive too.
    pub(crate) fn new(set: &CiSet, thresholds: Thresholds) -> Self {
        let zero_is_alive = thresholds.zero_is_alive();
        let layers = set.layers.iter().map(|(&layer, ci)| (layer, of_layer(ci, zero_is_alive)));
        Self { layers: layers.collect(), zero_is_alive }
    }

    /// What either of two sets supports.
    pub(crate) fn union(&self, other: &Self) -> Self {
        let either = |(ours, theirs): (&Vec<bool>, &Vec<bool>)| ours.iter().zip(theirs).map(|(a, b)| a | b).collect();
        let layers = self.layers.keys().copied().zip(self.layers.values().zip(other.layers.values()).map(either));
        Self { layers: layers.collect(), zero_is_alive: self.zero_is_alive }
    }

    /// Number of components in the support of every layer.
    pub(crate) fn sizes(&self) -> impl Iterator<Item = (Layer, usize)> + '_ {
        self.layers.iter().map(|(&layer, is_in)| (layer, is_in.iter().filter(|&&is_in| is_in).count()))
    }

    pub(crate) fn components(&self) -> Supports {
        let components = |is_in: &Vec<bool>| (0..is_in.len()).filter(|&component| is_in[component]).collect();
        let layers = self.layers.iter().map(|(&layer, is_in)| (layer, components(is_in))).collect();
        Supports { layers, zero_is_alive: self.zero_is_alive }
    }
}

fn of_layer(ci: &CausalImportances, zero_is_alive: bool) -> Vec<bool> {
    let mut is_in = vec![zero_is_alive; ci.components()];
    if !zero_is_alive {
        (0..ci.positions()).flat_map(|position| ci.row(position)).for_each(|(component, _)| is_in[component] = true);
    }
    is_in
}

/// The slot of each component of a support, or of any ascending list.
pub(crate) struct Slots(Vec<u32>);

impl Slots {
    pub(crate) fn new(components: &[usize]) -> Self {
        let mut slots = vec![u32::MAX; components.last().map_or(0, |last| last + 1)];
        for (slot, &component) in components.iter().enumerate() {
            slots[component] = slot as u32;
        }
        Self(slots)
    }

    /// The slot of a component, if it is in the list.
    pub(crate) fn find(&self, component: usize) -> Option<usize> {
        self.0.get(component).filter(|&&slot| slot != u32::MAX).map(|&slot| slot as usize)
    }

    /// # Panics
    ///
    /// Or a useless slot, when the component is not in the list.
    pub(crate) fn of(&self, component: usize) -> usize {
        self.0[component] as usize
    }
}
