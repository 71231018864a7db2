//! Alive entries with what edges are made of, and the walk over edges.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use rayon::prelude::*;
use tributary_backend::{AttributionBackend, Element};
use tributary_model::{AliveEntries, Layer, Pair, component_union, source_rows};

use crate::entry_values::EntryValues;
use crate::recorded_pass::RecordedPass;
use crate::sink::Emit;
use crate::support::Slots;
use crate::{EngineError, Model};

/// Values that are computed before they are handed on: bounds what is held of a large pair.
pub(crate) const CHUNK: usize = 1 << 21;

/// Values for which it pays to wake other threads.
const WORTH_SHARING: usize = 1 << 14;

/// Entries of one layer for every set.
pub(crate) struct LayerEntries<'a, E> {
    /// `[set]`
    pub(crate) alive: &'a [Arc<AliveEntries>],
    /// What slots number: the support of the layer; the tokens alive anywhere, for `output`.
    pub(crate) components: Vec<usize>,
    /// `[set][row]`: slot of the entry's component.
    pub(crate) slots: Vec<Vec<u32>>,
    /// `[set][row]`: position of the entry.
    pub(crate) positions: Vec<Vec<u32>>,
    /// `[set][row]`: `post * mask`; empty for `wte` and `output`.
    pub(crate) weight: Vec<Vec<E>>,
    /// `[set][row]`: `pre`; the logit for `output`; empty for `wte`.
    pub(crate) pre: Vec<Vec<E>>,
}

impl<'a, E: Element> LayerEntries<'a, E> {
    /// `entries` of `layer`, and what was recorded of each of them.
    pub(crate) fn new<T>(
        forward: &RecordedPass<T>,
        layer: Layer,
        entries: &'a [Arc<AliveEntries>],
        EntryValues { pre, mask }: EntryValues<E>,
    ) -> Self {
        let components = match forward.layers.get(&layer) {
            Some(recorded) => recorded.components.clone(),
            None => component_union(entries.iter().map(AsRef::as_ref)),
        };
        let slots = Slots::new(&components);
        let of_rows = |value: &dyn Fn((usize, usize)) -> usize| -> Vec<Vec<u32>> {
            entries.iter().map(|set| set.iter().map(|entry| value(entry) as u32).collect()).collect()
        };
        let slots = of_rows(&|(_, component)| slots.of(component));
        let positions = of_rows(&|(position, _)| position);
        let products = |(pre, mask): (&Vec<E>, &Vec<E>)| pre.iter().zip(mask).map(|(&pre, &mask)| pre * mask).collect();
        let weight = pre.iter().zip(&mask).map(products).collect();
        Self { alive: entries, components, slots, positions, weight, pre }
    }
}

/// Takes the values of pairs in the order of the pair table.
pub(crate) struct Edges<'a, 'b, E> {
    /// Number of each pair in the pair table.
    numbers: BTreeMap<(Layer, Layer), usize>,
    emit: &'a mut Emit<'b, E>,
    buffer: Vec<E>,
}

impl<'a, 'b, E: Element> Edges<'a, 'b, E> {
    pub(crate) fn new<B: AttributionBackend>(model: &Model<B>, emit: &'a mut Emit<'b, E>) -> Self {
        let numbers = model.pairs.iter().enumerate().map(|(number, pair)| ((pair.source, pair.target), number));
        Self { numbers: numbers.collect(), emit, buffer: Vec::new() }
    }

    /// Hands on all values of a pair in one set.
    pub(crate) fn put_all(&mut self, pair: &Pair, set: usize, values: &[E]) -> Result<(), EngineError> {
        (self.emit)(self.numbers[&(pair.source, pair.target)], set, values)
    }

    /// Computes and hands on every value of a pair in one set.
    ///
    /// `fill(s_out, values)` writes those of the targets at `s_out`, `[targets][sources]`, every one: what it finds there
    /// is left over from others.
    pub(crate) fn put(
        &mut self,
        pair: &Pair,
        set: usize,
        source: &AliveEntries,
        target: &AliveEntries,
        fill: impl Fn(usize, &mut [E]) + Sync,
    ) -> Result<(), EngineError> {
        for positions in chunks(pair, source, target, CHUNK) {
            self.put_chunk(pair, set, source, target, positions, &fill)?;
        }
        Ok(())
    }

    /// The same for the targets at some positions.
    pub(crate) fn put_chunk(
        &mut self,
        pair: &Pair,
        set: usize,
        source: &AliveEntries,
        target: &AliveEntries,
        positions: Range<usize>,
        fill: &(impl Fn(usize, &mut [E]) + Sync),
    ) -> Result<(), EngineError> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let edges_at = |s_out| target.rows_at(s_out).len() * source_rows(pair, source, s_out).len();
        let total: usize = positions.clone().map(edges_at).sum();
        if buffer.len() < total {
            buffer.resize(total, E::default());
        }
        let mut rest = &mut buffer[..total];
        let pieces: Vec<(usize, &mut [E])> = positions
            .filter_map(|s_out| {
                let piece = rest.split_off_mut(..edges_at(s_out)).unwrap_or_default();
                (!piece.is_empty()).then_some((s_out, piece))
            })
            .collect();
        if total < WORTH_SHARING {
            for (s_out, piece) in pieces {
                fill(s_out, piece);
            }
        } else {
            pieces.into_par_iter().for_each(|(s_out, piece)| fill(s_out, piece));
        }
        if total > 0 {
            (self.emit)(self.numbers[&(pair.source, pair.target)], set, &buffer[..total])?;
        }
        self.buffer = buffer;
        Ok(())
    }
}

/// Target positions in ranges of about `at_once` edges, at least one position each.
pub(crate) fn chunks(pair: &Pair, source: &AliveEntries, target: &AliveEntries, at_once: usize) -> Vec<Range<usize>> {
    chunks_of(0..target.positions(), pair, source, target, at_once)
}

/// The same of some positions.
pub(crate) fn chunks_of(
    positions: Range<usize>,
    pair: &Pair,
    source: &AliveEntries,
    target: &AliveEntries,
    at_once: usize,
) -> Vec<Range<usize>> {
    let mut chunks = Vec::new();
    let (mut start, mut edges) = (positions.start, 0);
    for s_out in positions.clone() {
        let here = target.rows_at(s_out).len() * source_rows(pair, source, s_out).len();
        if edges > 0 && edges + here > at_once {
            chunks.push(start..s_out);
            (start, edges) = (s_out, 0);
        }
        edges += here;
    }
    chunks.push(start..positions.end);
    chunks
}
