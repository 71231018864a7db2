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
    /// What acts under `mask`, `[rows, support]`, if that is little enough.
    pub(crate) fn find(mask: &[E], support: usize) -> Option<Self> {
        let acting = mask.iter().fold(0, |acting, &factor| acting + usize::from(factor != E::default()));
        if support == 0 || acting * SPARSE > mask.len() {
            return None;
        }
        let (mut starts, mut factors) = (vec![0], Vec::with_capacity(acting));
        for row in mask.chunks_exact(support) {
            let of_row = (0..).zip(row.iter().copied());
            factors.extend(of_row.filter(|&(_, factor)| factor != E::default()));
            starts.push(factors.len());
        }
        Some(Self { support, starts, factors })
    }

    /// The activations of what acts in a layer that reads `x`, `[rows, d_in]`, and zero elsewhere, `[rows, support]`; and
    /// what these write, `[rows, d_out]`.
    pub(crate) fn evaluate(&self, x: &[E], weights: &ActingWeights<'_, E>) -> (Vec<E>, Vec<E>) {
        let &ActingWeights { readers, writers, d_in, d_out } = weights;
        let rows = self.starts.len() - 1;
        let (mut post, mut written) = (vec![E::default(); rows * self.support], vec![E::default(); rows * d_out]);
        let of_rows =
            (post.par_chunks_exact_mut(self.support), written.par_chunks_exact_mut(d_out), x.par_chunks_exact(d_in));
        of_rows.into_par_iter().enumerate().for_each(|(row, (post, written, x))| {
            act(&self.factors[self.starts[row]..self.starts[row + 1]], x, readers, writers, post, written);
        });
        (post, written)
    }
}
