//! Attributions by automatic differentiation, many targets in one backward pass.
//!
//! Sets are independent batch items, and where no pair of a target crosses positions, so are positions. One backward
//! pass from a sum over independent outputs gives each its own gradient. So the alive targets of every (set, position)
//! are numbered, and the j-th of all of them share pass j: as many passes as are alive at the fullest position, not as
//! many as are alive altogether. Where a pair crosses positions, each target position needs passes of its own.

use std::ops::Range;
use std::sync::Arc;

use tributary_backend::{AttributionBackend, BackendError, Element};
use tributary_model::{AliveEntries, Pair, component_union, edge_count, source_rows};

use crate::batch_alive::BatchAlive;
use crate::edges::Edges;
use crate::recorded_pass::RecordedPass;
use crate::segment::Segment;
use crate::support::Slots;
use crate::{EngineError, Model};

/// A target layer with all its pairs, and the passes it takes.
pub(crate) struct Target<'a> {
    pairs: &'a [Pair],
    /// Wanted entries of the target layer per set, and of each pair's source: `[set]`, `[pair][set]`.
    entries: &'a [Arc<AliveEntries>],
    sources: Vec<&'a [Arc<AliveEntries>]>,
    groups: Vec<PassGroup>,
}

/// Passes that differ only in which of the targets at each position they take.
struct PassGroup {
    /// The target positions that take part.
    positions: Range<usize>,
    /// How many: the largest number of targets alive at one of them in one set.
    passes: usize,
}

impl<'a> Target<'a> {
    /// The target of `pairs`, which all have the same. Through deltas gradients cross positions where no pair does; there each
    /// position takes passes of its own, so that what comes from other targets is told apart.
    pub(crate) fn new(pairs: &'a [Pair], alive: &'a BatchAlive, through_deltas: bool) -> Self {
        let entries = alive.targets(pairs[0].target);
        let positions = entries[0].positions();
        let group = |positions: Range<usize>| {
            let at = positions.clone().flat_map(|s| entries.iter().map(move |set| set.rows_at(s).len()));
            PassGroup { passes: at.max().unwrap_or(0), positions }
        };
        let groups = if through_deltas || pairs.iter().any(|pair| pair.crosses_positions) {
            (0..positions).map(|s| group(s..s + 1)).collect()
        } else {
            vec![group(0..positions)]
        };
        let sources = pairs.iter().map(|pair| alive.of(pair.source)).collect();
        Self { pairs, entries, sources, groups }
    }

    /// How many backward passes it takes.
    pub(crate) fn passes(&self) -> usize {
        self.groups.iter().map(|group| group.passes).sum()
    }

    /// Hands on the values of each pair for each set.
    pub(crate) fn attribute<B: AttributionBackend>(
        &self,
        model: &Model<B>,
        forward: &RecordedPass<B::Tensor>,
        edges: &mut Edges<'_, '_, B::Element>,
        pass_done: &mut dyn FnMut(),
    ) -> Result<(), EngineError> {
        for (pair, sets) in self.pairs.iter().zip(self.values(model, forward, pass_done)?) {
            for (set, values) in sets.iter().enumerate() {
                edges.put_all(pair, set, values)?;
            }
        }
        Ok(())
    }

    /// Values of each pair for each set: `[pair][set]`.
    fn values<B: AttributionBackend>(
        &self,
        model: &Model<B>,
        forward: &RecordedPass<B::Tensor>,
        pass_done: &mut dyn FnMut(),
    ) -> Result<Vec<Vec<Vec<B::Element>>>, BackendError> {
        let b = &model.backend;
        let mut values: Vec<Vec<EdgeValues<B::Element>>> = self
            .pairs
            .iter()
            .zip(&self.sources)
            .map(|(pair, sources)| {
                sources.iter().zip(self.entries).map(|(source, target)| EdgeValues::new(pair, source, target)).collect()
            })
            .collect();
        let union = component_union(self.entries.iter().map(AsRef::as_ref));
        if !union.is_empty() {
            let sources = self.pairs.iter().map(|pair| pair.source).collect();
            let segment = Segment::new(model, forward, sources, self.pairs[0].target, &union)?;
            let leaves = segment.leaves();
            for group in &self.groups {
                let gathers = self.gathers(group, forward);
                for pass in 0..group.passes {
                    let cotangent = self.cotangent(b, group, pass, &union)?;
                    let gradients = b.vjp(&leaves, &cotangent, |leaves| segment.evaluate(leaves))?;
                    for (index, gather) in gathers.iter().enumerate() {
                        let mut weighted = b.mul(&gradients[index], &leaves[index])?;
                        if self.pairs[index].source.is_embedding() {
                            weighted = b.sum(&weighted, 2)?;
                        }
                        let gathered = b.download_vec(b.gather(&weighted, &gather.entries)?)?;
                        self.scatter(group, pass, index, gather, &gathered, &mut values[index]);
                    }
                    pass_done();
                }
            }
        }
        Ok(values.into_iter().map(|sets| sets.into_iter().map(|set| set.values).collect()).collect())
    }

    /// For each pair, the source entries that the passes of `group` reach.
    fn gathers<T: Clone>(&self, group: &PassGroup, forward: &RecordedPass<T>) -> Vec<Gather> {
        let positions = self.entries[0].positions();
        let gather = |(pair, sources): (&Pair, &&[Arc<AliveEntries>])| {
            let components = forward.layers.get(&pair.source).map_or([0].as_slice(), |layer| &layer.components);
            let slots = Slots::new(components);
            let mut gather = Gather { entries: Vec::new(), rows: Vec::new() };
            for (set, source) in sources.iter().enumerate() {
                let first = source_rows(pair, source, group.positions.start).start;
                let rows = first..source_rows(pair, source, group.positions.end - 1).end;
                let entries = source.iter().skip(rows.start).take(rows.len());
                let starts_at = gather.entries.len();
                gather.entries.extend(entries.map(|(s, c)| (set * positions + s) * components.len() + slots.of(c)));
                gather.rows.push((rows.start, starts_at));
            }
            gather
        };
        self.pairs.iter().zip(&self.sources).map(gather).collect()
    }

    /// 1 at the target entry that (set, position) has in pass `pass`, `[sets, positions, union]`.
    fn cotangent<B: AttributionBackend>(
        &self,
        b: &B,
        group: &PassGroup,
        pass: usize,
        union: &[usize],
    ) -> Result<B::Tensor, BackendError> {
        let positions = self.entries[0].positions();
        let mut values = vec![B::Element::default(); self.entries.len() * positions * union.len()];
        for (set, entries) in self.entries.iter().enumerate() {
            for position in group.positions.clone() {
                if let Some(&component) = entries.components_at(position).get(pass) {
                    let index = union.binary_search(&(component as usize)).unwrap_or_else(|_| unreachable!());
                    values[(set * positions + position) * union.len() + index] = B::Element::from_f64(1.0);
                }
            }
        }
        b.upload(&values, &[self.entries.len(), positions, union.len()])
    }

    /// Puts the gathered values of one pass where they belong among the edges of pair `pair`.
    fn scatter<E: Element>(
        &self,
        group: &PassGroup,
        pass: usize,
        pair: usize,
        gather: &Gather,
        gathered: &[E],
        values: &mut [EdgeValues<E>],
    ) {
        for (set, (entries, source)) in self.entries.iter().zip(self.sources[pair]).enumerate() {
            let (first_row, starts_at) = gather.rows[set];
            for position in group.positions.clone() {
                if pass < entries.rows_at(position).len() {
                    let rows = source_rows(&self.pairs[pair], source, position);
                    let edges = values[set].starts[position] + pass * rows.len();
                    let from = starts_at + rows.start - first_row;
                    values[set].values[edges..edges + rows.len()].copy_from_slice(&gathered[from..from + rows.len()]);
                }
            }
        }
    }
}

/// Source entries of one pair, of all sets one after the other.
struct Gather {
    /// Index of each in the flattened `[sets, positions, support]`.
    entries: Vec<usize>,
    /// For each set, its first row and where that row is in `entries`.
    rows: Vec<(usize, usize)>,
}

/// Values of one pair in one set, and where those of each target position begin.
struct EdgeValues<E> {
    values: Vec<E>,
    starts: Vec<usize>,
}

impl<E: Element> EdgeValues<E> {
    fn new(pair: &Pair, source: &AliveEntries, target: &AliveEntries) -> Self {
        let edges_at = |s| target.rows_at(s).len() * source_rows(pair, source, s).len();
        let starts = (0..target.positions()).scan(0, |edges, s| Some(std::mem::replace(edges, *edges + edges_at(s))));
        Self { starts: starts.collect(), values: vec![E::default(); edge_count(pair, source, target)] }
    }
}
