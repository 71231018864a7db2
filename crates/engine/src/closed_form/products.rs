//! Small products, one for each position: of the rows of everything alive there in a source with the rows of everything
//! alive there in a target.
//!
//! Where a CPU has few rows to multiply, it multiplies them where they lie: gathering them would take longer than that.
//! Many rows, and all of another device, are gathered and multiplied by the backend.

use std::ops::Range;

use rayon::prelude::*;
use tributary_backend::{AttributionBackend, BackendError, Element};
use tributary_model::AliveEntries;

use super::row_matrix::RowMatrix;
use crate::lanes::scale;

/// Elements of the gathered operands that are multiplied at once: on a CPU as many as its caches hold, elsewhere the more
/// the better.
pub(crate) fn gathered_at_once<B: AttributionBackend>(b: &B) -> usize {
    if b.device().is_cpu() { 1 << 16 } else { 1 << 22 }
}

/// One operand: a row for every alive entry of one set.
pub(super) struct Rows<'a, B: AttributionBackend> {
    pub(super) matrix: &'a RowMatrix<B>,
    pub(super) alive: &'a AliveEntries,
    /// Row of the matrix that each alive entry has.
    pub(super) row_of_entry: &'a [u32],
}

/// What the rows of one operand are multiplied by, element by element, before products are taken: a row for each position.
pub(super) struct Slopes<'a, B: AttributionBackend> {
    pub(super) matrix: &'a RowMatrix<B>,
    /// The row of position 0; those of the others follow.
    pub(super) first: usize,
}

impl<'a, B: AttributionBackend> Rows<'a, B> {
    fn at(&self, position: usize) -> &'a [u32] {
        &self.row_of_entry[self.alive.rows_at(position)]
    }
}

/// Products of everything alive at some positions.
pub(super) struct Products<E> {
    batches: Vec<Vec<E>>,
    first_position: usize,
    /// Of each position, where its products are.
    at: Vec<Extent>,
}

/// Where the products of a position are: they follow each other, target by target.
#[derive(Clone, Copy, Default)]
struct Extent {
    batch: usize,
    start: usize,
    /// From one target to the next.
    stride: usize,
}

impl<E> Products<E> {
    /// Products at a position that has sources and targets: for each target those with the sources, and then some that
    /// mean nothing.
    pub(super) fn of_targets(&self, position: usize) -> impl Iterator<Item = &[E]> {
        let Extent { batch, start, stride } = self.at[position - self.first_position];
        self.batches[batch][start..].chunks_exact(stride)
    }
}

/// What it costs a CPU to multiply rows at one position, in multiplications of a large product for each column: where they
/// lie, and gathered.
///
/// Rows that lie elsewhere are multiplied at half the rate, and those that are gathered are copied first: measured with
/// `cargo xtask bench stages` and `growth`.
pub(super) fn costs(n_sources: usize, n_targets: usize) -> (usize, usize) {
    let (products, rows) = (n_sources * n_targets, n_sources + n_targets);
    if products == 0 { (0, 0) } else { (2 * products + 4 * rows, products + 32 * rows) }
}

/// Multiplies what is alive at `positions`.
pub(super) fn products<B: AttributionBackend>(
    b: &B,
    positions: Range<usize>,
    sources: &Rows<'_, B>,
    targets: &Rows<'_, B>,
    slopes: Option<&Slopes<'_, B>>,
) -> Result<Products<B::Element>, BackendError> {
    let mut products =
        Products { batches: Vec::new(), first_position: positions.start, at: vec![Extent::default(); positions.len()] };
    let counts = |position: usize| (sources.at(position).len(), targets.at(position).len());
    let wanted = positions.filter(|&position| counts(position).0 > 0 && counts(position).1 > 0);
    let on_host = b.device().is_cpu();
    let (few, many): (Vec<usize>, Vec<usize>) = wanted.partition(|&position| {
        let (in_place, gathered) = costs(counts(position).0, counts(position).1);
        on_host && in_place <= gathered
    });
    products.in_place(b, &few, sources, targets, slopes)?;
    products.gathered(b, many, sources, targets, slopes)?;
    Ok(products)
}

impl<E: Element> Products<E> {
    /// Multiplies the rows at some positions where they lie.
    fn in_place<B: AttributionBackend<Element = E>>(
        &mut self,
        b: &B,
        positions: &[usize],
        sources: &Rows<'_, B>,
        targets: &Rows<'_, B>,
        slopes: Option<&Slopes<'_, B>>,
    ) -> Result<(), BackendError> {
        if positions.is_empty() {
            return Ok(());
        }
        let [_, width] = sources.matrix.shape(b);
        let (source_rows, target_rows) = (sources.matrix.host(b)?, targets.matrix.host(b)?);
        let slope_rows = slopes.map(|slopes| Ok((slopes.matrix.host(b)?, slopes.first))).transpose()?;
        let size = |position| sources.at(position).len() * targets.at(position).len();
        let mut values = vec![E::default(); positions.iter().map(|&position| size(position)).sum()];
        let (mut rest, mut start) = (values.as_mut_slice(), 0);
        let mut pieces = Vec::with_capacity(positions.len());
        for &position in positions {
            let stride = sources.at(position).len();
            self.at[position - self.first_position] = Extent { batch: self.batches.len(), start, stride };
            start += size(position);
            let values = rest.split_off_mut(..size(position)).unwrap_or_default();
            pieces.push((position, sources.at(position), targets.at(position), values));
        }
        pieces.into_par_iter().for_each_init(Vec::new, |scaled, (position, sources, targets, values)| {
            let mut of_targets: Vec<_> = targets.iter().map(|&index| row(target_rows, width, index)).collect();
            let mut of_sources: Vec<_> = sources.iter().map(|&index| row(source_rows, width, index)).collect();
            if let Some((slopes, first)) = slope_rows {
                // It does not matter which operand: the one with fewer rows.
                let fewer = if of_sources.len() <= of_targets.len() { &mut of_sources } else { &mut of_targets };
                scaled.resize(fewer.len() * width, E::default());
                for (scaled, row) in scaled.chunks_exact_mut(width).zip(&*fewer) {
                    scale(scaled, row, &slopes[(first + position) * width..][..width]);
                }
                *fewer = scaled.chunks_exact(width).collect();
            }
            E::row_products(values, &of_targets, &of_sources);
        });
        self.batches.push(values);
        Ok(())
    }

    /// Gathers the rows at some positions, and has the backend multiply them.
    ///
    /// The products go in batches of one size, padded with row 0. Positions are sorted by what is alive at them, and a batch
    /// ends where it would get more than half again as large by its padding.
    fn gathered<B: AttributionBackend<Element = E>>(
        &mut self,
        b: &B,
        mut positions: Vec<usize>,
        sources: &Rows<'_, B>,
        targets: &Rows<'_, B>,
        slopes: Option<&Slopes<'_, B>>,
    ) -> Result<(), BackendError> {
        let [_, width] = sources.matrix.shape(b);
        let at_once = gathered_at_once(b) / width;
        let counts = |position: usize| (sources.at(position).len(), targets.at(position).len());
        positions.sort_by_key(|&position| counts(position));
        let mut rest = positions.as_slice();
        while let Some(&first) = rest.first() {
            let (mut n_sources, mut n_targets) = counts(first);
            let (mut length, mut needed) = (1, n_sources + n_targets);
            for &position in &rest[1..] {
                let (more_sources, more_targets) = counts(position);
                let (wider, taller) = (n_sources.max(more_sources), n_targets.max(more_targets));
                let (padded, together) = ((length + 1) * (wider + taller), needed + more_sources + more_targets);
                if padded > at_once || 2 * padded > 3 * together {
                    break;
                }
                (n_sources, n_targets, length, needed) = (wider, taller, length + 1, together);
            }
            let (positions, later) = rest.split_at(length);
            rest = later;
            for (at, &position) in positions.iter().enumerate() {
                let start = at * n_targets * n_sources;
                self.at[position - self.first_position] =
                    Extent { batch: self.batches.len(), start, stride: n_sources };
            }
            let rows = |rows: &Rows<'_, B>, count: usize| {
                let of = |&position: &usize| {
                    let alive = rows.at(position).iter().map(|&index| index as usize);
                    alive.chain(std::iter::repeat(0)).take(count)
                };
                b.select(rows.matrix.tensor(), 0, &positions.iter().flat_map(of).collect::<Vec<_>>())
            };
            let mut of_sources = rows(sources, n_sources)?;
            if let Some(Slopes { matrix, first }) = slopes {
                // Repeated for every source: products of equal shapes are faster than those that broadcast.
                let slopes = positions.iter().flat_map(|position| std::iter::repeat_n(first + position, n_sources));
                of_sources = b.mul(&of_sources, &b.select(matrix.tensor(), 0, &slopes.collect::<Vec<_>>())?)?;
            }
            let of_sources = b.reshape(&of_sources, &[length, n_sources, width])?;
            let of_targets = b.reshape(&rows(targets, n_targets)?, &[length, n_targets, width])?;
            let product = b.matmul(&of_targets, &b.permute(&of_sources, &[0, 2, 1])?)?;
            self.batches.push(b.download_vec(product)?);
        }
        Ok(())
    }
}

fn row<E>(rows: &[E], width: usize, index: u32) -> &[E] {
    &rows[index as usize * width..][..width]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Rows of small whole numbers, whose products are exact in any order.
    fn rows(count: usize, width: usize, seed: usize) -> Vec<f32> {
        (0..count * width).map(|at| ((at * 31 + seed * 17) % 13) as f32 - 6.0).collect()
    }

    proptest! {
        /// Rows that are multiplied where they lie, and rows that are gathered: the same products.
        #[test]
        fn both_ways_give_the_same_products(
            width in 1..20_usize,
            counts in proptest::collection::vec((0..6_usize, 0..6_usize), 1..12),
            with_slopes: bool,
        ) {
            let b = tributary_flex::f32();
            let positions = counts.len();
            let matrix = |count: usize, seed: usize| {
                RowMatrix::new(b.upload_vec(rows(count, width, seed), &[count, width]).unwrap())
            };
            let (sources, targets, slopes) = (matrix(9, 1), matrix(7, 2), matrix(positions + 3, 3));
            let alive = |of: &dyn Fn(usize) -> usize| AliveEntries::from_positions((0..positions).map(|s| 0..of(s)));
            let (from, to) = (alive(&|s| counts[s].0), alive(&|s| counts[s].1));
            let matrix_rows = |entries: &AliveEntries, rows: usize| -> Vec<u32> {
                (0..entries.len()).map(|row| ((row * 5 + 1) % rows) as u32).collect()
            };
            let (source_rows, target_rows) = (matrix_rows(&from, 9), matrix_rows(&to, 7));
            let sources = Rows { matrix: &sources, alive: &from, row_of_entry: &source_rows };
            let targets = Rows { matrix: &targets, alive: &to, row_of_entry: &target_rows };
            let slopes = with_slopes.then_some(Slopes { matrix: &slopes, first: 3 });
            for first_position in [0, positions / 2] {
                let wanted: Vec<usize> =
                    (first_position..positions).filter(|&s| counts[s].0 > 0 && counts[s].1 > 0).collect();
                let none = || Products::<f32> {
                    batches: Vec::new(),
                    first_position,
                    at: vec![Extent::default(); positions - first_position],
                };
                let (mut in_place, mut gathered) = (none(), none());
                in_place.in_place(&b, &wanted, &sources, &targets, slopes.as_ref()).unwrap();
                gathered.gathered(&b, wanted.clone(), &sources, &targets, slopes.as_ref()).unwrap();
                for position in wanted {
                    let (n_sources, n_targets) = counts[position];
                    let found: Vec<&[f32]> = in_place.of_targets(position).take(n_targets).collect();
                    let expected = gathered.of_targets(position).map(|products| &products[..n_sources]);
                    prop_assert_eq!(found, expected.take(n_targets).collect::<Vec<_>>());
                }
            }
        }
    }
}
