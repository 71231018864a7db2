//! Small products, one for each position: of the rows of everything alive there in a source with the rows of everything
//! alive there in a target.
//!
//! A CPU multiplies the rows where they lie. Another device gathers them first and multiplies many positions at once.

use std::ops::Range;

use rayon::prelude::*;
use tributary_backend::{AttributionBackend, BackendError, Element};
use tributary_model::AliveEntries;

use super::row_matrix::RowMatrix;
use crate::lanes::scale;

/// Elements of the operands that a device multiplies at once: the more the better.
pub(crate) const GATHERED_AT_ONCE: usize = 1 << 22;

/// One operand: a row for every alive entry of one set.
pub(super) struct Rows<'a, B: AttributionBackend> {
    pub(super) matrix: &'a RowMatrix<B>,
    pub(super) alive: &'a AliveEntries,
    /// Row of the matrix that each alive entry has.
    pub(super) places: &'a [u32],
}

/// What every row of a source is multiplied by, element by element, before its products are taken.
pub(super) struct Slopes<'a, B: AttributionBackend> {
    pub(super) matrix: &'a RowMatrix<B>,
    /// The row of position 0; those of the others follow.
    pub(super) first: usize,
}

impl<'a, B: AttributionBackend> Rows<'a, B> {
    fn at(&self, position: usize) -> &'a [u32] {
        &self.places[self.alive.rows_at(position)]
    }
}

/// Products of everything alive at some positions.
pub(super) struct Products<E> {
    batches: Vec<Vec<E>>,
    first_position: usize,
    /// Of each position, where its products are.
    at: Vec<Place>,
}

/// The products of a position follow each other, target by target.
#[derive(Clone, Copy, Default)]
struct Place {
    batch: usize,
    start: usize,
    /// From one target to the next.
    stride: usize,
}

impl<E> Products<E> {
    /// Products at a position that has sources and targets: for each target those with the sources, and then some that
    /// mean nothing.
    pub(super) fn of_targets(&self, position: usize) -> impl Iterator<Item = &[E]> {
        let Place { batch, start, stride } = self.at[position - self.first_position];
        self.batches[batch][start..].chunks_exact(stride)
    }
}

/// Multiplies what is alive at `positions`.
pub(super) fn products<B: AttributionBackend>(
    b: &B,
    positions: Range<usize>,
    sources: &Rows<'_, B>,
    targets: &Rows<'_, B>,
    slopes: Option<&Slopes<'_, B>>,
) -> Result<Products<B::Element>, BackendError> {
    if b.device().is_cpu() {
        on_host(b, positions, sources, targets, slopes)
    } else {
        on_device(b, positions, sources, targets, slopes)
    }
}

fn on_host<B: AttributionBackend>(
    b: &B,
    positions: Range<usize>,
    sources: &Rows<'_, B>,
    targets: &Rows<'_, B>,
    slopes: Option<&Slopes<'_, B>>,
) -> Result<Products<B::Element>, BackendError> {
    let [_, width] = sources.matrix.shape(b);
    let (source_rows, target_rows) = (sources.matrix.host(b)?, targets.matrix.host(b)?);
    let slope_rows = slopes.map(|slopes| Ok((slopes.matrix.host(b)?, slopes.first))).transpose()?;
    let (mut at, mut total) = (Vec::with_capacity(positions.len()), 0);
    for position in positions.clone() {
        let stride = sources.at(position).len();
        at.push(Place { batch: 0, start: total, stride });
        total += stride * targets.at(position).len();
    }
    let mut values = vec![B::Element::default(); total];
    let mut rest = values.as_mut_slice();
    let mut pieces = Vec::with_capacity(positions.len());
    for position in positions.clone() {
        let of_position = rest.split_off_mut(..sources.at(position).len() * targets.at(position).len());
        pieces.push((position, sources.at(position), targets.at(position), of_position.unwrap_or_default()));
    }
    pieces.into_par_iter().filter(|(.., values)| !values.is_empty()).for_each_init(
        Vec::new,
        |scaled, (position, sources, targets, values)| {
            let targets: Vec<_> = targets.iter().map(|&place| row(target_rows, width, place)).collect();
            let sources = sources.iter().map(|&place| row(source_rows, width, place));
            if let Some((slopes, first)) = slope_rows {
                let slopes = &slopes[(first + position) * width..][..width];
                scaled.resize(sources.len() * width, B::Element::default());
                for (scaled, source) in scaled.chunks_exact_mut(width).zip(sources) {
                    scale(scaled, source, slopes);
                }
                B::Element::row_products(values, &targets, &scaled.chunks_exact(width).collect::<Vec<_>>());
            } else {
                B::Element::row_products(values, &targets, &sources.collect::<Vec<_>>());
            }
        },
    );
    Ok(Products { batches: vec![values], first_position: positions.start, at })
}

fn row<E>(rows: &[E], width: usize, place: u32) -> &[E] {
    &rows[place as usize * width..][..width]
}

/// The products go in batches of one size, padded with row 0. Positions are sorted by what is alive at them, and a batch
/// ends where it would get more than half again as large by its padding.
fn on_device<B: AttributionBackend>(
    b: &B,
    positions: Range<usize>,
    sources: &Rows<'_, B>,
    targets: &Rows<'_, B>,
    slopes: Option<&Slopes<'_, B>>,
) -> Result<Products<B::Element>, BackendError> {
    let [_, width] = sources.matrix.shape(b);
    let counts = |position: usize| (sources.at(position).len(), targets.at(position).len());
    let is_wanted = |position: &usize| {
        let (n_sources, n_targets) = counts(*position);
        n_sources > 0 && n_targets > 0
    };
    let mut order: Vec<usize> = positions.clone().filter(is_wanted).collect();
    order.sort_by_key(|&position| counts(position));
    let mut products =
        Products { batches: Vec::new(), first_position: positions.start, at: vec![Place::default(); positions.len()] };
    let mut rest = order.as_slice();
    while let Some(&first) = rest.first() {
        let (mut n_sources, mut n_targets) = counts(first);
        let (mut length, mut needed) = (1, n_sources + n_targets);
        for &position in &rest[1..] {
            let (more_sources, more_targets) = counts(position);
            let (wider, taller) = (n_sources.max(more_sources), n_targets.max(more_targets));
            let (padded, together) = ((length + 1) * (wider + taller), needed + more_sources + more_targets);
            if padded > GATHERED_AT_ONCE / width || 2 * padded > 3 * together {
                break;
            }
            (n_sources, n_targets, length, needed) = (wider, taller, length + 1, together);
        }
        let (positions, later) = rest.split_at(length);
        rest = later;
        for (at, &position) in positions.iter().enumerate() {
            let start = at * n_targets * n_sources;
            products.at[position - products.first_position] =
                Place { batch: products.batches.len(), start, stride: n_sources };
        }
        let rows = |rows: &Rows<'_, B>, slots: usize| {
            let of = |&position: &usize| {
                let alive = rows.at(position).iter().map(|&place| place as usize);
                alive.chain(std::iter::repeat(0)).take(slots)
            };
            let rows = b.select(rows.matrix.tensor(), 0, &positions.iter().flat_map(of).collect::<Vec<_>>())?;
            b.reshape(&rows, &[length, slots, width])
        };
        let mut of_sources = rows(sources, n_sources)?;
        if let Some(Slopes { matrix, first }) = slopes {
            let slopes: Vec<usize> = positions.iter().map(|position| first + position).collect();
            let slopes = b.select(matrix.tensor(), 0, &slopes)?;
            of_sources = b.mul(&of_sources, &b.reshape(&slopes, &[length, 1, width])?)?;
        }
        let product = b.matmul(&rows(targets, n_targets)?, &b.permute(&of_sources, &[0, 2, 1])?)?;
        products.batches.push(b.download_vec(product)?);
    }
    Ok(products)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Rows of small whole numbers, whose products are exact in any order.
    fn rows(count: usize, width: usize, seed: usize) -> Vec<f32> {
        (0..count * width).map(|at| ((at * 31 + seed * 17) % 13) as f32 - 6.0).collect()
    }

    proptest! {
        /// Where a CPU multiplies rows as they lie, another device gathers them: the same products.
        #[test]
        fn a_device_finds_what_the_host_finds(
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
            let places = |entries: &AliveEntries, rows: usize| -> Vec<u32> {
                (0..entries.len()).map(|row| ((row * 5 + 1) % rows) as u32).collect()
            };
            let (source_places, target_places) = (places(&from, 9), places(&to, 7));
            let sources = Rows { matrix: &sources, alive: &from, places: &source_places };
            let targets = Rows { matrix: &targets, alive: &to, places: &target_places };
            let slopes = with_slopes.then_some(Slopes { matrix: &slopes, first: 3 });
            for range in [0..positions, positions / 2..positions] {
                let on_host = on_host(&b, range.clone(), &sources, &targets, slopes.as_ref()).unwrap();
                let on_device = on_device(&b, range.clone(), &sources, &targets, slopes.as_ref()).unwrap();
                for position in range.filter(|&s| counts[s].0 > 0 && counts[s].1 > 0) {
                    let (n_sources, n_targets) = counts[position];
                    let found: Vec<&[f32]> = on_host.of_targets(position).take(n_targets).collect();
                    let expected = on_device.of_targets(position).map(|products| &products[..n_sources]);
                    prop_assert_eq!(found, expected.take(n_targets).collect::<Vec<_>>());
                }
            }
        }
    }
}
