//! From a factor for each entry to masks as the engine takes them, and back.

use std::collections::BTreeMap;
use std::sync::Arc;

use rayon::prelude::*;
use tributary_backend::Element;
use tributary_engine::{LayerMask, LayerMasks};
use tributary_model::{AliveEntries, Layer};

use crate::{Drawn, Entries};

/// Factors of one item in one pass.
#[derive(Clone, Copy, Debug)]
pub struct ItemMask<'a> {
    /// That of each entry.
    pub entries: &'a [f64],
    /// Those of all other components.
    pub others: Others<'a>,
}

/// What components without an entry are masked by, and what no component holds of the weights, the delta.
#[derive(Clone, Copy, Debug)]
pub enum Others<'a> {
    /// Both by 0.
    None,
    /// Both by 1.
    All,
    /// Components by what was drawn, the delta by 0.
    Drawn(&'a Drawn),
    /// Both by what was drawn.
    DrawnWithDelta(&'a Drawn),
}

/// Where the entries of stacked prompts are.
pub(crate) struct Layout {
    /// `[item]`
    entries: Vec<Arc<Entries>>,
    /// All decomposed layers.
    layers: Vec<Layer>,
    /// Of each layer the components that there are masks for, ascending.
    supports: BTreeMap<Layer, Vec<usize>>,
    /// For each item, where in a layer's `[positions, support]` each of its entries is.
    slots: Vec<Vec<u32>>,
    positions: usize,
}

impl Layout {
    /// Of items of equal length.
    pub(crate) fn new(entries: Vec<Arc<Entries>>, layers: Vec<Layer>, supports: BTreeMap<Layer, Vec<usize>>) -> Self {
        let slots = entries.iter().map(|entries| slots(entries, &supports)).collect();
        let positions = entries[0].positions();
        Self { entries, layers, supports, slots, positions }
    }

    /// The masks of all items.
    ///
    /// # Panics
    ///
    /// When there are not as many as items.
    pub(crate) fn masks<E: Element>(&self, masks: &[ItemMask<'_>]) -> LayerMasks<E> {
        assert_eq!(masks.len(), self.entries.len(), "masks for every item");
        self.layers.par_iter().map(|&layer| (layer, self.layer_mask(layer, masks))).collect()
    }

    /// Of values `[items, positions, support]` by layer those at an item's entries.
    pub(crate) fn of_entries<E: Element>(&self, item: usize, values: &BTreeMap<Layer, Vec<E>>) -> Vec<f64> {
        let mut found = Vec::with_capacity(self.slots[item].len());
        for (layer, _, numbers) in self.entries[item].layers() {
            let size = self.positions * self.supports[&layer].len();
            let own = &values[&layer][item * size..][..size];
            found.extend(self.slots[item][numbers].iter().map(|&slot| own[slot as usize].to_f64()));
        }
        found
    }

    fn layer_mask<E: Element>(&self, layer: Layer, masks: &[ItemMask<'_>]) -> LayerMask<E> {
        let count = self.supports.get(&layer).map_or(0, Vec::len);
        let size = self.positions * count;
        let mut mask = vec![E::default(); masks.len() * size];
        let mut whole = Vec::new();
        for (index, (of_item, ItemMask { entries, others })) in self.entries.iter().zip(masks).enumerate() {
            let own = &mut mask[index * size..][..size];
            let drawn = match others {
                Others::None | Others::All => None,
                Others::Drawn(drawn) | Others::DrawnWithDelta(drawn) => Some(drawn.layer(layer)),
            };
            if let Some(drawn) = drawn {
                let components = &self.supports[&layer];
                for (row, drawn) in
                    own.chunks_exact_mut(count.max(1)).zip(drawn.components.chunks_exact(drawn.count.max(1)))
                {
                    let factors = components.iter().map(|&component| E::from_f32(drawn[component]));
                    row.iter_mut().zip(factors).for_each(|(element, factor)| *element = factor);
                }
            }
            // What is left of the whole weight is taken off the components, which have their part in it.
            let delta: Option<Vec<f32>> = match (others, drawn) {
                (Others::All, _) => Some(vec![1.0; self.positions]),
                (Others::DrawnWithDelta(_), Some(drawn)) => Some(drawn.delta.clone()),
                _ => None,
            };
            let shift = |position: usize| delta.as_ref().map_or(0.0, |delta| f64::from(delta[position]));
            if let (Some(delta), Some(_)) = (&delta, drawn) {
                for (row, &delta) in own.chunks_exact_mut(count.max(1)).zip(delta) {
                    for element in row {
                        *element = E::from_f64(element.to_f64() - f64::from(delta));
                    }
                }
            }
            if let Some((_, alive, numbers)) = of_item.layers().find(|(of, ..)| *of == layer) {
                let slots = &self.slots[index][numbers.clone()];
                for (((position, _), &slot), &factor) in alive.iter().zip(slots).zip(&entries[numbers]) {
                    own[slot as usize] = E::from_f64(factor - shift(position));
                }
            }
            if let Some(delta) = delta {
                whole.resize(index * self.positions, E::default());
                whole.extend(delta.into_iter().map(E::from_f32));
            }
        }
        if !whole.is_empty() {
            whole.resize(masks.len() * self.positions, E::default());
        }
        LayerMask { mask, whole }
    }
}

/// Where each entry is in `[positions, support]` of its layer.
fn slots(entries: &Entries, supports: &BTreeMap<Layer, Vec<usize>>) -> Vec<u32> {
    let of_layer = |(layer, alive, _): (Layer, &'_ AliveEntries, _)| {
        let support = &supports[&layer];
        let slot = |(position, component): (usize, usize)| {
            let slot = support.binary_search(&component).unwrap_or_else(|_| unreachable!("it is in the support"));
            (position * support.len() + slot) as u32
        };
        alive.iter().map(slot).collect::<Vec<_>>()
    };
    entries.layers().flat_map(of_layer).collect()
}
