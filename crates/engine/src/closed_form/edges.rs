//! Alive entries with what edges are made of, and the walk over edges.

use std::sync::Arc;

use tributary_backend::{AttributionBackend, BackendError, Element};

use crate::batch_alive::BatchAlive;
use crate::masked::MaskedForward;
use crate::{AliveEntries, Layer, Model, Pair, component_union, edge_count, source_rows};

/// Entries of one layer for every set.
pub(super) struct LayerEntries<'a, E> {
    /// `[set]`
    pub(super) alive: &'a [Arc<AliveEntries>],
    /// The components alive anywhere in the batch, ascending.
    pub(super) union: Vec<usize>,
    /// `[set][row]`: place of the entry's component in the union.
    pub(super) places: Vec<Vec<usize>>,
    /// `[set][row]`: `post * mask`; empty for `wte` and `output`.
    pub(super) weight: Vec<Vec<E>>,
    /// `[set][row]`: `pre`; the logit for `output`; empty for `wte`.
    pub(super) pre: Vec<Vec<E>>,
}

impl<'a, E: Element> LayerEntries<'a, E> {
    pub(super) fn new<B: AttributionBackend<Element = E>>(
        model: &Model<B>,
        forward: &MaskedForward<B::Tensor>,
        alive: &'a BatchAlive,
        layer: Layer,
        entries: &'a [Arc<AliveEntries>],
    ) -> Result<Self, BackendError> {
        let b = &model.backend;
        let union = component_union(entries.iter().map(AsRef::as_ref));
        let mut place = vec![usize::MAX; union.last().map_or(0, |last| last + 1)];
        for (at, &component) in union.iter().enumerate() {
            place[component] = at;
        }
        let places = entries.iter().map(|set| set.iter().map(|(_, component)| place[component]).collect()).collect();
        let none = || vec![Vec::new(); entries.len()];
        let (weight, pre) = match forward.activations.get(&layer) {
            Some(post) => {
                let pre = alive.gather(b, layer, entries, post)?;
                let masks = alive.gather(b, layer, entries, &forward.masks[&layer])?;
                let weigh = |(post, mask): (&Vec<E>, Vec<E>)| post.iter().zip(mask).map(|(&p, m)| p * m).collect();
                (pre.iter().zip(masks).map(weigh).collect(), pre)
            }
            None if layer == Layer::Output => (none(), alive.gather(b, layer, entries, &forward.logits)?),
            None => (none(), none()),
        };
        Ok(Self { alive: entries, union, places, weight, pre })
    }

    /// For each set, `value(position, place, row)` of every row.
    pub(super) fn map<T>(&self, set: usize, value: impl Fn(usize, usize, usize) -> T) -> Vec<T> {
        let rows = self.alive[set].iter().zip(&self.places[set]).enumerate();
        rows.map(|(row, ((position, _), &place))| value(position, place, row)).collect()
    }
}

/// Values of every edge of a pair, `value(s_out, source row, target row)`, in the order of edges.
pub(super) fn values<E>(
    pair: &Pair,
    source: &AliveEntries,
    target: &AliveEntries,
    mut value: impl FnMut(usize, usize, usize) -> E,
) -> Vec<E> {
    let mut values = Vec::with_capacity(edge_count(pair, source, target));
    for s_out in 0..target.positions() {
        for t in target.rows_at(s_out) {
            values.extend(source_rows(pair, source, s_out).map(|e| value(s_out, e, t)));
        }
    }
    values
}
