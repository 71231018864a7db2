//! Which entries of a prompt have a factor of their own.

use std::collections::BTreeMap;
use std::ops::Range;

use tributary_backend::Element;
use tributary_model::{AliveEntries, CausalImportances, Layer};

use crate::ImportanceMinimality;

/// Entries of one prompt, each a layer, a position and a component: layer by layer, position by position, components ascending.
/// Numbers of entries, wherever there are some, come in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entries {
    layers: BTreeMap<Layer, AliveEntries>,
    positions: usize,
}

impl Entries {
    /// Of a prompt of so many positions.
    ///
    /// # Panics
    ///
    /// When a layer has another number of positions.
    pub fn new(layers: BTreeMap<Layer, AliveEntries>, positions: usize) -> Self {
        assert!(layers.values().all(|entries| entries.positions() == positions), "entries of {positions} positions");
        Self { layers, positions }
    }

    /// Those whose causal importance is above 0, of a prompt of so many positions.
    pub fn alive(importances: &BTreeMap<Layer, CausalImportances>, positions: usize) -> Self {
        let of_layer = |(&layer, importances): (&Layer, &CausalImportances)| {
            let alive = |position| importances.row(position).filter(|&(_, value)| value > 0.0);
            let rows = (0..positions).map(|position| alive(position).map(|(component, _)| component));
            (layer, AliveEntries::from_positions(rows))
        };
        Self::new(importances.iter().map(of_layer).collect(), positions)
    }

    /// Of numbers for every component, `[positions, C]` by layer, those of the entries.
    pub fn pick<E: Element>(&self, values: &BTreeMap<Layer, Vec<E>>) -> Vec<f64> {
        let of_entry = |(layer, position, component): (Layer, usize, usize)| {
            let values = &values[&layer];
            values[values.len() / self.positions * position + component].to_f64()
        };
        self.iter().map(of_entry).collect()
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.layers.values().map(AliveEntries::len).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Number of positions of the prompt.
    pub fn positions(&self) -> usize {
        self.positions
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (Layer, usize, usize)> + '_ {
        let of_layer = |(&layer, entries): (&Layer, &'_ AliveEntries)| {
            entries.iter().map(move |(position, component)| (layer, position, component)).collect::<Vec<_>>()
        };
        self.layers.iter().flat_map(of_layer)
    }

    /// The entries of every layer, and the numbers they have among all.
    pub fn layers(&self) -> impl Iterator<Item = (Layer, &AliveEntries, Range<usize>)> {
        let mut end = 0;
        self.layers.iter().map(move |(&layer, entries)| {
            let start = end;
            end += entries.len();
            (layer, entries, start..end)
        })
    }

    /// Those of either.
    ///
    /// # Panics
    ///
    /// When the others are of another number of positions.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        let mut layers = self.layers.clone();
        for (&layer, entries) in &other.layers {
            let both = layers.get(&layer).map_or_else(|| entries.clone(), |own| AliveEntries::union(&[own, entries]));
            layers.insert(layer, both);
        }
        Self::new(layers, self.positions)
    }

    /// Those that are not among `other`.
    #[must_use]
    pub fn without(&self, other: &Self) -> Self {
        let left = |(&layer, entries): (&Layer, &AliveEntries)| {
            let is_left = |position: usize, component: u32| {
                other.layers.get(&layer).is_none_or(|other| other.row_of(position, component as usize).is_none())
            };
            let rows = (0..self.positions).map(|position| {
                let components = entries.components_at(position).iter().copied();
                components.filter(move |&component| is_left(position, component)).map(|component| component as usize)
            });
            (layer, AliveEntries::from_positions(rows))
        };
        Self::new(self.layers.iter().map(left).collect(), self.positions)
    }

    /// A value for each of these entries: that of `values` for those that are among `some`, and 0 for all others.
    ///
    /// # Panics
    ///
    /// When there are not as many values as `some`, or one of these is not among the entries.
    pub fn spread(&self, some: &Self, values: &[f64]) -> Vec<f64> {
        assert_eq!(some.len(), values.len(), "a value for each");
        let mut spread = vec![0.0; self.len()];
        let first: BTreeMap<Layer, usize> = self.layers().map(|(layer, _, numbers)| (layer, numbers.start)).collect();
        for ((layer, position, component), &value) in some.iter().zip(values) {
            let row = self.layers[&layer].row_of(position, component);
            spread[first[&layer] + row.expect("it is among the entries")] = value;
        }
        spread
    }

    /// Components of every layer that have an entry in any of these, ascending.
    pub fn supports<'a>(all: impl IntoIterator<Item = &'a Self>) -> BTreeMap<Layer, Vec<usize>> {
        let mut by_layer: BTreeMap<Layer, Vec<&AliveEntries>> = BTreeMap::new();
        for entries in all {
            entries.layers.iter().for_each(|(&layer, entries)| by_layer.entry(layer).or_default().push(entries));
        }
        by_layer.into_iter().map(|(layer, of_all)| (layer, tributary_model::component_union(of_all))).collect()
    }

    /// What it costs that they are alive, of a model with so many components.
    pub fn minimality(&self, components: &BTreeMap<Layer, usize>) -> ImportanceMinimality {
        let mut columns = Vec::with_capacity(self.len());
        let mut before = 0;
        for (layer, count) in components {
            if let Some(entries) = self.layers.get(layer) {
                columns.extend(entries.iter().map(|(_, component)| (before + component) as u32));
            }
            before += count;
        }
        ImportanceMinimality::new(columns, before, self.positions)
    }

    /// Causal importances of every layer of a model with so many components: a value for each entry, 0 everywhere else.
    pub fn importances(
        &self,
        values: &[f64],
        components: &BTreeMap<Layer, usize>,
    ) -> BTreeMap<Layer, CausalImportances> {
        let mut layers: BTreeMap<Layer, CausalImportances> = BTreeMap::new();
        let numbers: BTreeMap<Layer, Range<usize>> = self.layers().map(|(layer, _, range)| (layer, range)).collect();
        for (&layer, &count) in components {
            let mut importances = CausalImportances::new(count);
            let mut row = vec![0.0; count];
            for position in 0..self.positions {
                row.fill(0.0);
                if let Some(entries) = self.layers.get(&layer) {
                    let first = numbers[&layer].start;
                    for (at, &component) in entries.rows_at(position).zip(entries.components_at(position)) {
                        row[component as usize] = values[first + at] as f32;
                    }
                }
                importances.push_row(&row);
            }
            layers.insert(layer, importances);
        }
        layers
    }
}
