//! What a forward pass does at the decomposed layers, told by one value.
//!
//! A decomposed layer with weight `W`, components `V`, `U` and bias `b` reads `x` and computes
//!
//! ```text
//! pre  = x V           post = pre, or what an edit says          out = (post * mask) U + [x (W - (V U)^T)^T] + b
//! ```
//!
//! The masks say how much of each component is kept, the delta whether the part of the weight that no component holds (the
//! bracket) is added, edits what single activations are set to. Who is alive, and which outputs are of interest, is no
//! matter of the forward pass.

use std::collections::BTreeMap;

use tributary_backend::Element;
use tributary_model::{CausalImportances, CiSet, Layer};

use crate::acting::Acting;
use crate::support::Slots;

/// One forward pass of some prompts, the items, of equal length.
#[derive(Clone, Debug)]
pub struct Pass<'a> {
    /// How much of each component is kept.
    pub masks: Masks<'a>,
    /// What becomes of the part of the weights that no component holds.
    pub delta: Delta,
    /// Activations that are set, not computed.
    pub edits: &'a [Edit],
}

/// How much of each component is kept at each position.
#[derive(Clone, Debug)]
pub enum Masks<'a> {
    /// For each item and decomposed layer, a factor for every position and component.
    Given(Vec<&'a BTreeMap<Layer, CausalImportances>>),
    /// All of it, everywhere.
    Ones,
}

/// The part of a decomposed layer's weight that no component holds, `W - (V U)^T`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delta {
    /// Left out.
    None,
    /// Added, without a gradient through it.
    Stopped,
}

/// An activation that is set to a value, before its mask is applied.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Edit {
    /// Index among the items of the pass.
    pub item: usize,
    /// A decomposed layer; or the embedding, `wte`, which is no component: all numbers of a token's are set.
    pub layer: Layer,
    /// Position.
    pub position: usize,
    /// Component.
    pub component: usize,
    /// What `post` is set to.
    pub value: f64,
}

impl<'a> Pass<'a> {
    /// The pass of the model that each set's causal importances mask: what attributions are made in.
    pub fn masked(sets: &[&'a CiSet]) -> Self {
        let masks = Masks::Given(sets.iter().map(|set| &set.layers).collect());
        Self { masks, delta: Delta::None, edits: &[] }
    }

    /// The pass of the target model: every component is kept, and so is what none holds.
    pub(crate) fn of_target() -> Self {
        Self { masks: Masks::Ones, delta: Delta::Stopped, edits: &[] }
    }
}

impl Masks<'_> {
    /// What acts of some components of a layer; `None` where all of them do, with a factor of 1.
    pub(crate) fn acting<E: Element>(&self, layer: Layer, components: &[usize]) -> Option<Acting<E>> {
        let Self::Given(items) = self else { return None };
        let slots = Slots::new(components);
        let masks = items.iter().map(|layers| &layers[&layer]);
        let rows = masks.flat_map(|mask| (0..mask.positions()).map(|position| mask.row(position)));
        let rows = rows.map(|row| {
            row.filter_map(|(component, factor)| Some((slots.find(component)? as u32, E::from_f32(factor))))
        });
        Some(Acting::new(components.len(), rows))
    }
}
