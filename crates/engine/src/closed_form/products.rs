//! Small products, one for each position: of the rows of everything alive there in a source with the rows of everything
//! alive there in a target.

use std::ops::Range;

use tributary_backend::{AttributionBackend, BackendError};
use tributary_model::AliveEntries;

/// Elements of the operands that are multiplied at once: on a CPU as many as its caches hold, elsewhere the more the
/// better.
pub(crate) fn products_at_once<B: AttributionBackend>(b: &B) -> usize {
    if b.device().is_cpu() { 1 << 16 } else { 1 << 22 }
}

/// One operand: a row for every alive entry of one set.
pub(super) struct Rows<'a, T> {
    /// `[rows, width]`, the elements of a row next to each other.
    pub(super) matrix: &'a T,
    pub(super) alive: &'a AliveEntries,
    /// Row of the matrix that each alive entry has.
    pub(super) places: &'a [u32],
}

/// Products of everything alive at some positions.
pub(super) struct Products<E> {
    batches: Vec<Batch<E>>,
    first_position: usize,
    /// Of each position, its batch and its place in it.
    at: Vec<(usize, usize)>,
}

struct Batch<E> {
    n_targets: usize,
    n_sources: usize,
    /// `[positions, n_targets, n_sources]`
    values: Vec<E>,
}

impl<E> Products<E> {
    /// Products at a position that has sources and targets: for each target those with the sources, and then some that
    /// mean nothing.
    pub(super) fn of_targets(&self, position: usize) -> impl Iterator<Item = &[E]> {
        let (batch, at) = self.at[position - self.first_position];
        let batch = &self.batches[batch];
        batch.values[at * batch.n_targets * batch.n_sources..].chunks_exact(batch.n_sources)
    }
}

/// Multiplies what is alive at `positions`. `scale(positions, slots, rows)` may change the sources' rows, which it is given
/// as `[positions * slots, width]`.
///
/// The products go in batches of one size, padded with row 0. Positions are sorted by what is alive at them, and a batch
/// ends where it would get more than half again as large by its padding.
pub(super) fn products<B: AttributionBackend>(
    b: &B,
    positions: Range<usize>,
    sources: &Rows<'_, B::Tensor>,
    targets: &Rows<'_, B::Tensor>,
    scale: impl Fn(&[usize], usize, B::Tensor) -> Result<B::Tensor, BackendError>,
) -> Result<Products<B::Element>, BackendError> {
    let width = b.shape(sources.matrix)[1];
    let at_once = products_at_once(b) / width;
    let counts = |position: usize| (sources.alive.rows_at(position).len(), targets.alive.rows_at(position).len());
    let is_wanted = |position: &usize| {
        let (n_sources, n_targets) = counts(*position);
        n_sources > 0 && n_targets > 0
    };
    let mut order: Vec<usize> = positions.clone().filter(is_wanted).collect();
    order.sort_by_key(|&position| counts(position));
    let mut products =
        Products { batches: Vec::new(), first_position: positions.start, at: vec![(0, 0); positions.len()] };
    let mut rest = order.as_slice();
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
            products.at[position - products.first_position] = (products.batches.len(), at);
        }
        let rows = |rows: &Rows<'_, B::Tensor>, slots: usize| {
            let of = |&position: &usize| {
                let alive = rows.places[rows.alive.rows_at(position)].iter().map(|&place| place as usize);
                alive.chain(std::iter::repeat(0)).take(slots)
            };
            b.select(rows.matrix, 0, &positions.iter().flat_map(of).collect::<Vec<_>>())
        };
        let of_sources = scale(positions, n_sources, rows(sources, n_sources)?)?;
        let of_sources = b.reshape(&of_sources, &[length, n_sources, width])?;
        let of_targets = b.reshape(&rows(targets, n_targets)?, &[length, n_targets, width])?;
        let product = b.matmul(&of_targets, &b.permute(&of_sources, &[0, 2, 1])?)?;
        products.batches.push(Batch { n_targets, n_sources, values: b.download(&product)? });
    }
    Ok(products)
}
