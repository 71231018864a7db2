//! A decomposed layer computed on the host, from the components that act at each position.
//!
//! Where causal importances are sparse, nearly all of the products over the [support](crate::support) of a batch are
//! multiplied by zero: a component that acts somewhere is in the support everywhere. Matrix products are so much faster than
//! products of single rows that they win nevertheless unless few components act.

use rayon::prelude::*;
use tributary_backend::Element;

use crate::lanes::act;

/// Of so many entries of a support, one may act.
///
/// A product of rows runs at about a third of the rate of a large one: so measured with `cargo xtask bench stages`.
const SPARSE: usize = 3;

/// What acts in one layer at each row, a position of an item.
pub(crate) struct Acting<E> {
    /// Number of components in the support.
    support: usize,
    /// Where each row begins, and the end of the last.
    starts: Vec<usize>,
    /// Slot, and what the component is multiplied by.
    factors: Vec<(u32, E)>,
}

/// The weights of a layer's support on the host.
pub(crate) struct ActingWeights<'a, E> {
    /// `V`, transposed, `[support, d_in]`.
    pub(crate) readers: &'a [E],
    /// `U`, `[support, d_out]`.
    pub(crate) writers: &'a [E],
    pub(crate) d_in: usize,
    pub(crate) d_out: usize,
}

impl<E: Element> Acting<E> {
    /// For each row the slots that act, ascending, each with its factor.
    pub(crate) fn new(support: usize, rows: impl Iterator<Item = impl Iterator<Item = (u32, E)>>) -> Self {
        let (mut starts, mut factors) = (vec![0], Vec::new());
        for row in rows {
            factors.extend(row);
            starts.push(factors.len());
        }
        Self { support, starts, factors }
    }

    fn rows(&self) -> usize {
        self.starts.len() - 1
    }

    /// Whether that is little enough to be computed by itself.
    pub(crate) fn is_little(&self) -> bool {
        self.support > 0 && self.factors.len() * SPARSE <= self.rows() * self.support
    }

    /// The factors of all, `[rows, support]`.
    pub(crate) fn mask(&self) -> Vec<E> {
        let mut mask = vec![E::default(); self.rows() * self.support];
        for (row, range) in self.starts.windows(2).enumerate() {
            for &(slot, factor) in &self.factors[range[0]..range[1]] {
                mask[row * self.support + slot as usize] = factor;
            }
        }
        mask
    }

    /// The activations of what acts in a layer that reads `x`, `[rows, d_in]`, and zero elsewhere, `[rows, support]`; and
    /// what these write, `[rows, d_out]`.
    pub(crate) fn evaluate(&self, x: &[E], weights: &ActingWeights<'_, E>) -> (Vec<E>, Vec<E>) {
        let &ActingWeights { readers, writers, d_in, d_out } = weights;
        let rows = self.rows();
        let (mut post, mut written) = (vec![E::default(); rows * self.support], vec![E::default(); rows * d_out]);
        let of_rows =
            (post.par_chunks_exact_mut(self.support), written.par_chunks_exact_mut(d_out), x.par_chunks_exact(d_in));
        of_rows.into_par_iter().enumerate().for_each(|(row, (post, written, x))| {
            act(&self.factors[self.starts[row]..self.starts[row + 1]], x, readers, writers, post, written);
        });
        (post, written)
    }
}
