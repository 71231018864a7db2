//! Numbers for every component.

use std::collections::BTreeMap;

use tributary_model::Layer;

use crate::Entries;
use crate::draws::{Draws, Purpose};

/// Numbers that were drawn for every component and position of every layer.
#[derive(Clone, Debug, PartialEq)]
pub struct Drawn(BTreeMap<Layer, DrawnLayer>);

/// The numbers of one layer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct DrawnLayer {
    /// Number of components.
    pub(crate) count: usize,
    /// `[positions, C]`
    pub(crate) components: Vec<f32>,
    /// For what no component holds, `[positions]`.
    pub(crate) delta: Vec<f32>,
}

impl Drawn {
    /// Draws for a model with so many components on a prompt.
    pub fn new(
        components: &BTreeMap<Layer, usize>,
        positions: usize,
        draws: Draws,
        purpose: Purpose,
        number: usize,
    ) -> Self {
        let mut draw = draws.uniform(purpose, number);
        let mut layer = |(&layer, &count): (&Layer, &usize)| {
            let components = (0..positions * count).map(|_| draw()).collect();
            (layer, DrawnLayer { count, components, delta: (0..positions).map(|_| draw()).collect() })
        };
        Self(components.iter().map(&mut layer).collect())
    }

    pub(crate) fn layer(&self, layer: Layer) -> &DrawnLayer {
        &self.0[&layer]
    }

    /// What was drawn for each of some entries.
    pub fn of(&self, entries: &Entries) -> Vec<f64> {
        let of_layer = |(layer, position, component): (Layer, usize, usize)| {
            let drawn = &self.0[&layer];
            f64::from(drawn.components[position * drawn.count + component])
        };
        entries.iter().map(of_layer).collect()
    }
}
