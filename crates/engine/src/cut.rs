//! From the edges between everything that is alive in any of some sets to the edges of each.

use std::collections::BTreeMap;

use tributary_backend::Element;
use tributary_model::{AliveEntries, Layer, Pair, source_rows};

use crate::EngineError;
use crate::batch_alive::BatchAlive;

/// Cuts the values of a union of sets, which come pair by pair and within a pair position by position, into those of the sets.
pub(crate) struct Cut<'a, E> {
    pairs: &'a [Pair],
    union: &'a BatchAlive,
    sets: &'a BatchAlive,
    /// `[set][row]`: the row that each source, and each target, has in the union.
    source_rows: BTreeMap<Layer, Vec<Vec<u32>>>,
    target_rows: BTreeMap<Layer, Vec<Vec<u32>>>,
    /// Pair and position that the next values begin with.
    next: (usize, usize),
    values: Vec<E>,
}

impl<'a, E: Element> Cut<'a, E> {
    /// `union` has one set, of everything that any of the `sets` has.
    pub(crate) fn new(pairs: &'a [Pair], union: &'a BatchAlive, sets: &'a BatchAlive) -> Self {
        let rows = |layer: Layer, entries: fn(&BatchAlive, Layer) -> &[std::sync::Arc<AliveEntries>]| {
            let all = &entries(union, layer)[0];
            let of_set = |set: &std::sync::Arc<AliveEntries>| set.iter().map(|entry| row(all, entry)).collect();
            entries(sets, layer).iter().map(of_set).collect()
        };
        let source_rows = union.layers().map(|layer| (layer, rows(layer, BatchAlive::of))).collect();
        let target_rows = union.layers().map(|layer| (layer, rows(layer, BatchAlive::targets))).collect();
        Self { pairs, union, sets, source_rows, target_rows, next: (0, 0), values: Vec::new() }
    }

    /// Hands on what each set has of the next `values` of a pair, by its number and that of the set.
    pub(crate) fn hand_on(
        &mut self,
        pair: usize,
        values: &[E],
        mut emit: impl FnMut(usize, usize, &[E]) -> Result<(), EngineError>,
    ) -> Result<(), EngineError> {
        if self.next.0 != pair {
            self.next = (pair, 0);
        }
        let of_pair = &self.pairs[pair];
        let (all_sources, all_targets) = (&self.union.of(of_pair.source)[0], &self.union.targets(of_pair.target)[0]);
        let first = self.next.1;
        let (mut end, mut counted) = (first, 0);
        while counted < values.len() {
            counted += all_targets.rows_at(end).len() * source_rows(of_pair, all_sources, end).len();
            end += 1;
        }
        self.next.1 = end;
        let (source_of, target_of) = (&self.source_rows[&of_pair.source], &self.target_rows[&of_pair.target]);
        for (set, (sources, targets)) in
            self.sets.of(of_pair.source).iter().zip(self.sets.targets(of_pair.target)).enumerate()
        {
            let is_all = |position| {
                let sources_here = source_rows(of_pair, sources, position).len();
                sources_here == source_rows(of_pair, all_sources, position).len()
                    && targets.rows_at(position).len() == all_targets.rows_at(position).len()
            };
            if (first..end).all(is_all) {
                if !values.is_empty() {
                    emit(pair, set, values)?;
                }
                continue;
            }
            self.values.clear();
            let mut rest = values;
            for position in first..end {
                let all = source_rows(of_pair, all_sources, position);
                let here = rest.split_off(..all_targets.rows_at(position).len() * all.len()).unwrap_or_default();
                let wanted = &source_of[set][source_rows(of_pair, sources, position)];
                for target in targets.rows_at(position) {
                    let row = target_of[set][target] as usize - all_targets.rows_at(position).start;
                    let of_target = &here[row * all.len()..][..all.len()];
                    if wanted.len() == all.len() {
                        self.values.extend_from_slice(of_target);
                    } else {
                        self.values.extend(wanted.iter().map(|&row| of_target[row as usize - all.start]));
                    }
                }
            }
            if !self.values.is_empty() {
                emit(pair, set, &self.values)?;
            }
        }
        Ok(())
    }
}

fn row(all: &AliveEntries, (position, component): (usize, usize)) -> u32 {
    all.row_of(position, component).unwrap_or_else(|| unreachable!("the union has what a set has")) as u32
}
