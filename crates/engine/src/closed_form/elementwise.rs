//! Through the nonlinearity of an MLP: `c_fc` to `down_proj`.
//!
//! With `h` the hidden layer before the nonlinearity `phi`:
//!
//! ```text
//! A = post * mask * sum over j of U_fc[c_in, j] phi'(h[j]) V_down[j, c_out]
//! ```

use std::sync::Arc;

use tributary_backend::{AttributionBackend, BackendError, Unary};

use super::{Context, PairValues};
use crate::{AliveEntries, Layer};

/// Elements of the padded operands that are held at once; bounds the memory of long prompts.
const WORKING_SET: usize = 1 << 24;

pub(super) fn attribute<B: AttributionBackend>(
    context: &Context<'_, B>,
    source: Layer,
    target: Layer,
) -> Result<PairValues<B::Element>, BackendError> {
    let Context { model, forward, sources, targets } = context;
    let b = &model.backend;
    let (from, to) = (&sources[&source], &targets[&target]);
    let (d_mlp, positions) = (model.architecture.d_mlp, from.alive[0].positions());
    let slope = gelu_tanh_slope(b, &forward.outputs[&source])?;
    let slope = b.reshape(&slope, &[from.alive.len() * positions, 1, d_mlp])?;
    let (u, v) = (&model.components[&source].u, b.permute(&model.components[&target].v, &[1, 0])?);

    // A small product for each (set, position), padded with component 0 to a common size so that they go in batches.
    let places: Vec<(usize, usize)> =
        (0..from.alive.len()).flat_map(|set| (0..positions).map(move |s| (set, s))).collect();
    let widest =
        |entries: &[Arc<AliveEntries>]| places.iter().map(|&(set, s)| entries[set].rows_at(s).len()).max().unwrap_or(0);
    let (n_in, n_out) = (widest(from.alive), widest(to.alive));
    let mut values: PairValues<B::Element> = vec![Vec::new(); from.alive.len()];
    if n_in == 0 || n_out == 0 {
        return Ok(values);
    }
    let at_once = (WORKING_SET / (d_mlp * (n_in + n_out))).max(1);
    for (chunk, places) in places.chunks(at_once).enumerate() {
        let padded = |tensor: &B::Tensor, entries: &[Arc<AliveEntries>], slots: usize| {
            let components = places.iter().flat_map(|&(set, s)| {
                let alive = entries[set].components_at(s).iter().map(|&component| component as usize);
                alive.chain(std::iter::repeat(0)).take(slots)
            });
            let rows = b.select(tensor, 0, &components.collect::<Vec<_>>())?;
            b.reshape(&rows, &[places.len(), slots, d_mlp])
        };
        let rows: Vec<usize> = (chunk * at_once..chunk * at_once + places.len()).collect();
        let sources = b.mul(&padded(u, from.alive, n_in)?, &b.select(&slope, 0, &rows)?)?;
        let products = b.matmul(&padded(&v, to.alive, n_out)?, &b.permute(&sources, &[0, 2, 1])?)?;
        let products = b.download(&products)?;
        for (&(set, s), product) in places.iter().zip(products.chunks_exact(n_out * n_in)) {
            let weight = &from.weight[set][from.alive[set].rows_at(s)];
            for row in product.chunks_exact(n_in).take(to.alive[set].rows_at(s).len()) {
                values[set].extend(weight.iter().zip(row).map(|(&weight, &value)| weight * value));
            }
        }
    }
    Ok(values)
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
