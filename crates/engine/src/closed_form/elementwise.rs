//! Through the nonlinearity `phi` of an MLP, from what reads into its hidden layer to what reads out of it.
//!
//! With `h` the hidden layer before the nonlinearity, or, where there is a gate, `a` what it gives and `b` what it multiplies:
//!
//! ```text
//! A = post * mask * sum over j of U[c_in, j] slope[j] V_down[j, c_out]
//!
//! hidden phi(h):                       slope = phi'(h)
//! hidden phi(a) * b:   of the gate     slope = phi'(a) * b
//!                      of the other    slope = phi(a)
//! ```

use tributary_backend::{AttributionBackend, BackendError, Unary};
use tributary_model::{Activation, Layer, Pair, Role};

use super::context::Context;
use super::products::{Rows, Slopes, products};
use super::row_matrix::RowMatrix;
use crate::EngineError;
use crate::edges::{CHUNK, Edges, chunks};
use crate::forward::activate;

/// Attributions to `target`, the output of an MLP, from what its hidden layer is made of.
pub(crate) fn attribute<B: AttributionBackend>(
    context: &Context<'_, B>,
    target: Layer,
    edges: &mut Edges<'_, '_, B::Element>,
) -> Result<(), EngineError> {
    let Context { model, forward, .. } = context;
    let (b, phi, block) = (&model.backend, model.architecture.activation, target.block().unwrap_or_default());
    let up = model.architecture.layer(block, Role::MlpUp);
    let before = |layer: Layer| &forward.layers[&layer].output;
    let Some(gate) = model.architecture.find(block, Role::MlpGate) else {
        return from(context, up, target, &slope(b, phi, before(up))?, edges);
    };
    from(context, gate, target, &b.mul(&slope(b, phi, before(gate))?, before(up))?, edges)?;
    from(context, up, target, &activate(b, phi, before(gate))?, edges)
}

/// Attributions from `source`, where the hidden layer has the slope `[sets, positions, d_mlp]`.
fn from<B: AttributionBackend>(
    context: &Context<'_, B>,
    source: Layer,
    target: Layer,
    slope: &B::Tensor,
    edges: &mut Edges<'_, '_, B::Element>,
) -> Result<(), EngineError> {
    let Context { model, forward, sources, targets } = context;
    let b = &model.backend;
    let (from, to) = (&*sources[&source], &*targets[&target]);
    let (d_mlp, positions) = (model.architecture.d_mlp, from.alive[0].positions());
    let slope = RowMatrix::new(b.reshape(slope, &[from.alive.len() * positions, d_mlp])?);
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

/// Derivative of a nonlinearity.
pub(super) fn slope<B: AttributionBackend>(b: &B, phi: Activation, x: &B::Tensor) -> Result<B::Tensor, BackendError> {
    match phi {
        Activation::GeluTanh => gelu_tanh_slope(b, x),
        Activation::Gelu => gelu_slope(b, x),
        Activation::Silu => silu_slope(b, x),
    }
}

/// Derivative of [`gelu_erf`](AttributionBackend::gelu_erf): `(1 + erf(x / sqrt(2))) / 2 + x exp(-x^2 / 2) / sqrt(2 pi)`.
fn gelu_slope<B: AttributionBackend>(b: &B, x: &B::Tensor) -> Result<B::Tensor, BackendError> {
    let erf = b.unary(Unary::Erf, &b.scale(x, std::f64::consts::FRAC_1_SQRT_2)?)?;
    let density = b.unary(Unary::Exp, &b.scale(&b.mul(x, x)?, -0.5)?)?;
    let density = b.scale(&density, (2.0 * std::f64::consts::PI).sqrt().recip())?;
    b.add(&b.scale(&b.add_scalar(&erf, 1.0)?, 0.5)?, &b.mul(x, &density)?)
}

/// Derivative of [`silu`](AttributionBackend::silu): with `t = tanh(x / 2)`, it is `(1 + t) / 2 + x / 4 (1 - t^2)`.
fn silu_slope<B: AttributionBackend>(b: &B, x: &B::Tensor) -> Result<B::Tensor, BackendError> {
    let tanh = b.unary(Unary::Tanh, &b.scale(x, 0.5)?)?;
    let rest = b.add_scalar(&b.scale(&b.mul(&tanh, &tanh)?, -1.0)?, 1.0)?;
    b.add(&b.scale(&b.add_scalar(&tanh, 1.0)?, 0.5)?, &b.scale(&b.mul(x, &rest)?, 0.25)?)
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
