//! Through the nonlinearity of an MLP: `c_fc` to `down_proj`.
//!
//! With `h` the hidden layer before the nonlinearity `phi`:
//!
//! ```text
//! A = post * mask * sum over j of U_fc[c_in, j] phi'(h[j]) V_down[j, c_out]
//! ```

use tributary_backend::{AttributionBackend, BackendError, Unary};
use tributary_model::{Layer, Pair, Role};

use super::context::Context;
use super::products::{Rows, Slopes, products};
use super::row_matrix::RowMatrix;
use crate::EngineError;
use crate::edges::{CHUNK, Edges, chunks};

/// Attributions to `target`, the output of an MLP, from its hidden layer.
pub(crate) fn attribute<B: AttributionBackend>(
    context: &Context<'_, B>,
    target: Layer,
    edges: &mut Edges<'_, '_, B::Element>,
) -> Result<(), EngineError> {
    let Context { model, forward, sources, targets } = context;
    let b = &model.backend;
    let source = model.architecture.layer(target.block().unwrap_or_default(), Role::MlpUp);
    let (from, to) = (&*sources[&source], &*targets[&target]);
    let (d_mlp, positions) = (model.architecture.d_mlp, from.alive[0].positions());
    let slope = gelu_tanh_slope(b, &forward.layers[&source].output)?;
    let slope = b.reshape(&slope, &[from.alive.len() * positions, d_mlp])?;
    let slope = RowMatrix::new(slope);
    let rows = RowMatrix::new(forward.layers[&source].u.clone());
    let readers = RowMatrix::new(forward.layers[&target].readers.clone());
    let pair = Pair { source, target, crosses_positions: false };
    for set in 0..from.alive.len() {
        let (alive, wanted, weight) = (&from.alive[set], &to.alive[set], &from.weight[set]);
        let of_sources = Rows { matrix: &rows, alive, row_of_entry: &from.slots[set] };
        let of_targets = Rows { matrix: &readers, alive: wanted, row_of_entry: &to.slots[set] };
        let slopes = Slopes { matrix: &slope, first: set * positions };
        for range in chunks(&pair, alive, wanted, CHUNK) {
            let products = products(b, range.clone(), &of_sources, &of_targets, Some(&slopes))?;
            edges.put_chunk(&pair, set, alive, wanted, range, &|position: usize, values: &mut [B::Element]| {
                let weight = &weight[alive.rows_at(position)];
                for (values, products) in values.chunks_exact_mut(weight.len()).zip(products.of_targets(position)) {
                    for (value, (&weight, &product)) in values.iter_mut().zip(weight.iter().zip(products)) {
                        *value = weight * product;
                    }
                }
            })?;
        }
    }
    Ok(())
}

/// Derivative of [`gelu_tanh`](AttributionBackend::gelu_tanh): with `c = sqrt(2/pi)` and
/// `t = tanh(c (x + 0.044715 x^3))`, it is `(1 + t) / 2 + x / 2 (1 - t^2) c (1 + 3 * 0.044715 x^2)`.
fn gelu_tanh_slope<B: AttributionBackend>(b: &B, x: &B::Tensor) -> Result<B::Tensor, BackendError> {
    let c = (2.0 / std::f64::consts::PI).sqrt();
    let square = b.mul(x, x)?;
    let inner = b.mul(x, &b.add_scalar(&b.scale(&square, 0.044_715 * c)?, c)?)?;
    let tanh = b.unary(Unary::Tanh, &inner)?;
    let inner_slope = b.add_scalar(&b.scale(&square, 3.0 * 0.044_715 * c)?, c)?;
    let tanh_slope = b.mul(&b.add_scalar(&b.scale(&b.mul(&tanh, &tanh)?, -1.0)?, 1.0)?, &inner_slope)?;
    b.scale(&b.add(&b.add_scalar(&tanh, 1.0)?, &b.mul(x, &tanh_slope)?)?, 0.5)
}
