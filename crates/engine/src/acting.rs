//! A decomposed layer computed on the host, from the components that act at each position.
//!
//! Where causal importances are sparse, nearly all of the products over the [support](crate::support) of a batch are
//! multiplied by zero: a component that acts somewhere is in the support everywhere. Matrix products are so much faster than
//! products of single rows that they win nevertheless unless few components act.

use rayon::prelude::*;
use tributary_backend::{AttributionBackend, BackendError, Element};
use tributary_model::Layer;

use crate::lanes::{add_scaled, dot};
use crate::pass::{Delta, Masks, Pass};
use crate::recorded_pass::RecordedLayer;

/// Of so many entries of a support, one may act: measured with `cargo xtask bench`, at 1/6 and 1/16 the masked forward passes
/// of bench and of published sizes take longer.
const SPARSE: usize = 8;

/// What acts in one layer at each row, a position of an item.
pub(crate) struct Acting {
    /// Where each row begins, and the end of the last.
    starts: Vec<usize>,
    /// Place in the support, and what the component is multiplied by.
    factors: Vec<(u32, f32)>,
}

impl Acting {
    /// What acts in a pass, if that is little enough and the pass does nothing else on a CPU.
    pub(crate) fn find<B: AttributionBackend>(
        b: &B,
        pass: &Pass<'_>,
        layer: Layer,
        components: &[usize],
    ) -> Option<Self> {
        let Masks::Given(items) = &pass.masks else { return None };
        if components.is_empty() || !b.device().is_cpu() || pass.delta != Delta::None || !pass.edits.is_empty() {
            return None;
        }
        let (mut starts, mut factors, mut entries) = (vec![0], Vec::new(), 0);
        for mask in items.iter().map(|layers| &layers[&layer]) {
            for row in mask.values.chunks_exact(mask.components.max(1)) {
                let of_row = components.iter().zip(0..).map(|(&component, place)| (place, row[component]));
                factors.extend(of_row.filter(|&(_, factor)| factor != 0.0));
                starts.push(factors.len());
                entries += components.len();
            }
            if factors.len() * SPARSE > entries {
                return None;
            }
        }
        Some(Self { starts, factors })
    }

    fn at(&self, row: usize) -> &[(u32, f32)] {
        &self.factors[self.starts[row]..self.starts[row + 1]]
    }

    /// The activations of what acts in a layer that reads `x`, zero elsewhere; and what these write, without the constant.
    pub(crate) fn evaluate<B: AttributionBackend>(
        &self,
        b: &B,
        layer: &RecordedLayer<B::Tensor>,
        x: &B::Tensor,
    ) -> Result<(B::Tensor, B::Tensor), BackendError> {
        let [items, positions, d_in] = b.shape(x)[..] else { panic!("a layer's input has three axes") };
        let [support, d_out] = b.shape(&layer.u)[..] else { panic!("a matrix has two axes") };
        let (x, u) = (b.download(x)?, b.download(&layer.u)?);
        let readers = b.download(&b.permute(&layer.v, &[1, 0])?)?;
        let rows = items * positions;
        let (mut post, mut written) =
            (vec![B::Element::default(); rows * support], vec![B::Element::default(); rows * d_out]);
        let of_rows =
            (post.par_chunks_exact_mut(support), written.par_chunks_exact_mut(d_out), x.par_chunks_exact(d_in));
        of_rows.into_par_iter().enumerate().for_each(|(row, (post, written, x))| {
            for &(place, factor) in self.at(row) {
                let place = place as usize;
                post[place] = dot(x, &readers[place * d_in..][..d_in]);
                add_scaled(written, &u[place * d_out..][..d_out], post[place] * B::Element::from_f32(factor));
            }
        });
        Ok((b.upload_vec(post, &[items, positions, support])?, b.upload_vec(written, &[items, positions, d_out])?))
    }
}
