//! Causal-importance functions of single layers.

use tributary_backend::{AttributionBackend, BackendError};
use tributary_model::CiInput;

use super::part::Part;
use crate::EngineError;

/// Elements of the hidden layers of networks of single components that are held at once: as many as a cache holds.
const HELD: usize = 1 << 20;

/// The causal-importance function of one layer.
#[derive(Clone, Copy)]
pub(super) struct LayerNetwork<'a, T> {
    pub(super) input: CiInput,
    /// Weight and bias of each linear layer.
    pub(super) part: &'a Part<T>,
}

impl<T: Clone> LayerNetwork<'_, T> {
    fn widest(&self) -> usize {
        self.part.shapes().iter().filter_map(|shape| shape.last()).max().copied().unwrap_or(1)
    }

    /// Elements that [`evaluate`](Self::evaluate) holds for so many rows, the result left out.
    pub(super) fn working_set(&self, rows: usize) -> usize {
        let networks = match (self.input, self.part.shapes().first()) {
            (CiInput::Vector | CiInput::Activation, Some(shape)) => self.at_once(rows).min(shape[0]),
            _ => 1,
        };
        let hidden = rows * self.widest() * networks;
        // A layer and the steps of its nonlinearity.
        self.part.read() + 6 * hidden
    }

    /// How many networks of single components are evaluated at once.
    fn at_once(&self, rows: usize) -> usize {
        (HELD / (rows * self.widest()).max(1)).max(1)
    }

    /// What the function gives before the sigmoid, `[rows, C]`, on the host, of a layer with input `x`, `[1, rows, d_in]`, and
    /// components reading it through `v`, `[d_in, C]`, or being it where there is no `v`.
    pub(super) fn evaluate<B: AttributionBackend<Tensor = T>>(
        &self,
        b: &B,
        x: &T,
        v: Option<&T>,
    ) -> Result<Vec<B::Element>, EngineError> {
        let [_, rows, _] = b.shape(x)[..] else { panic!("the input of a causal-importance function has three axes") };
        let tensors = self.part.tensors(b)?;
        if self.input == CiInput::SharedVector {
            return Ok(b.download_vec(through(b, x.clone(), &tensors, |tensor| Ok(tensor.clone()))?)?);
        }
        // Of each component, `[C, rows, 1]`, or the same for all, `[1, rows, d_in]`.
        let input = match (self.input, v) {
            (CiInput::Activation, Some(v)) => b.permute(&b.matmul(x, v)?, &[2, 1, 0])?,
            (CiInput::Activation, None) => b.permute(x, &[2, 1, 0])?,
            _ => x.clone(),
        };
        let components = self.part.shapes()[0][0];
        let tensors = tensors.into_iter().map(|tensor| match b.shape(&tensor)[..] {
            // Biases, shaped to add to what flows through.
            [components, out] => b.reshape(&tensor, &[components, 1, out]),
            _ => Ok(tensor),
        });
        let tensors = tensors.collect::<Result<Vec<_>, BackendError>>()?;
        let at_once = self.at_once(rows);
        let mut values = vec![B::Element::default(); rows * components];
        for first in (0..components).step_by(at_once) {
            let count = at_once.min(components - first);
            let part = |tensor: &T| match b.shape(tensor)[0] {
                of_all if of_all == 1 || count == of_all => Ok(tensor.clone()),
                _ => b.narrow(tensor, 0, first, count),
            };
            let of_part = b.download_vec(through(b, part(&input)?, &tensors, part)?)?;
            for (component, of_component) in (first..).zip(of_part.chunks_exact(rows)) {
                for (row, &value) in of_component.iter().enumerate() {
                    values[row * components + component] = value;
                }
            }
        }
        Ok(values)
    }
}

/// What linear layers, each a weight and a bias, make of `hidden`, with GELU between them; `part` takes those of the networks
/// that it goes through.
pub(super) fn through<B: AttributionBackend>(
    b: &B,
    mut hidden: B::Tensor,
    tensors: &[B::Tensor],
    part: impl Fn(&B::Tensor) -> Result<B::Tensor, BackendError>,
) -> Result<B::Tensor, BackendError> {
    let (layers, _) = tensors.as_chunks();
    for (index, [weight, bias]) in layers.iter().enumerate() {
        if index > 0 {
            hidden = b.gelu_erf(&hidden)?;
        }
        hidden = b.add(&b.matmul(&hidden, &part(weight)?)?, &part(bias)?)?;
    }
    Ok(hidden)
}
