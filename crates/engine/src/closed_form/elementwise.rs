//! Through the nonlinearity of an MLP: `c_fc` to `down_proj`.
//!
//! With `h` the hidden layer before the nonlinearity `phi`:
//!
//! ```text
//! A = post * mask * sum over j of U_fc[c_in, j] phi'(h[j]) V_down[j, c_out]
//! ```

use std::ops::Range;

use tributary_backend::{AttributionBackend, BackendError, Unary};
use tributary_model::{AliveEntries, Layer, Pair, Role};

use super::Context;
use super::edges::{CHUNK, Edges, LayerEntries, chunks};
use crate::EngineError;

/// Elements of the operands that are multiplied at once: on a CPU as many as its caches hold, elsewhere the more the
/// better.
pub(crate) fn products_at_once<B: AttributionBackend>(b: &B) -> usize {
    if b.device().is_cpu() { 1 << 16 } else { 1 << 22 }
}

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
    let all: Vec<usize> = (0..forward.layers[&target].components.len()).collect();
    let slope = gelu_tanh_slope(b, &forward.layers[&source].output)?;
    let operands = Operands {
        slope: b.reshape(&slope, &[from.alive.len() * positions, d_mlp])?,
        rows: forward.layers[&source].u.clone(),
        // Selected once, so that the rows that are selected from it below lie together.
        columns: b.select(&b.permute(&forward.layers[&target].v, &[1, 0])?, 0, &all)?,
        d_mlp,
        at_once: products_at_once(b),
    };
    let pair = Pair { source, target, crosses_positions: false };
    for set in 0..from.alive.len() {
        let (alive, wanted) = (&from.alive[set], &to.alive[set]);
        for range in chunks(&pair, alive, wanted, CHUNK) {
            let products = operands.multiply(b, set, range.clone(), from, to)?;
            edges.put_chunk(
                &pair,
                set,
                alive,
                wanted,
                range.clone(),
                &|position: usize, values: &mut [B::Element]| {
                    let (batch, at) = products.at[position - range.start];
                    let batch = &products.batches[batch];
                    let weight = &from.weight[set][alive.rows_at(position)];
                    let rows = batch.values[at * batch.n_out * batch.n_in..].chunks_exact(batch.n_in);
                    for (values, row) in values.chunks_exact_mut(weight.len()).zip(rows) {
                        for (value, (&weight, &product)) in values.iter_mut().zip(weight.iter().zip(row)) {
                            *value = weight * product;
                        }
                    }
                },
            )?;
        }
    }
    Ok(())
}

struct Operands<T> {
    /// Derivative of the nonlinearity, `[sets * positions, d_mlp]`.
    slope: T,
    /// `U_fc` of the support, `[support, d_mlp]`.
    rows: T,
    /// `V_down` of the support, transposed, `[support, d_mlp]`.
    columns: T,
    d_mlp: usize,
    /// Elements of both operands in a batch.
    at_once: usize,
}

/// `sum over j of U_fc[c_in, j] phi'(h[j]) V_down[j, c_out]` for everything alive at some positions.
struct Products<E> {
    batches: Vec<ProductBatch<E>>,
    /// Of each position, its batch and its place in it.
    at: Vec<(usize, usize)>,
}

struct ProductBatch<E> {
    n_out: usize,
    n_in: usize,
    /// `[positions, n_out, n_in]`
    values: Vec<E>,
}

impl<T: Clone> Operands<T> {
    /// A small product for each position of one set.
    ///
    /// They go in batches of one size, padded with place 0. Positions are sorted by what is alive at them, and a batch
    /// ends where it would get more than half again as large by its padding.
    fn multiply<B: AttributionBackend<Tensor = T>>(
        &self,
        b: &B,
        set: usize,
        range: Range<usize>,
        from: &LayerEntries<'_, B::Element>,
        to: &LayerEntries<'_, B::Element>,
    ) -> Result<Products<B::Element>, BackendError> {
        let (alive, wanted) = (&from.alive[set], &to.alive[set]);
        let counts = |position: usize| (alive.rows_at(position).len(), wanted.rows_at(position).len());
        let mut order: Vec<usize> = range
            .clone()
            .filter(|&position| {
                let (n_in, n_out) = counts(position);
                n_in > 0 && n_out > 0
            })
            .collect();
        order.sort_by_key(|&position| counts(position));
        let mut products = Products { batches: Vec::new(), at: vec![(0, 0); range.len()] };
        let mut rest = order.as_slice();
        while let Some(&first) = rest.first() {
            let (mut n_in, mut n_out) = counts(first);
            let (mut length, mut needed) = (1, n_in + n_out);
            for &position in &rest[1..] {
                let (more_in, more_out) = counts(position);
                let (wide_in, wide_out) = (n_in.max(more_in), n_out.max(more_out));
                let padded = (length + 1) * (wide_in + wide_out);
                if padded * self.d_mlp > self.at_once || 2 * padded > 3 * (needed + more_in + more_out) {
                    break;
                }
                (n_in, n_out, length, needed) = (wide_in, wide_out, length + 1, needed + more_in + more_out);
            }
            let (positions, later) = rest.split_at(length);
            rest = later;
            for (at, &position) in positions.iter().enumerate() {
                products.at[position - range.start] = (products.batches.len(), at);
            }
            let places = |entries: &AliveEntries, places: &[u32], slots: usize| -> Vec<usize> {
                let of = |&position: &usize| {
                    let alive = places[entries.rows_at(position)].iter().map(|&place| place as usize);
                    alive.chain(std::iter::repeat(0)).take(slots)
                };
                positions.iter().flat_map(of).collect()
            };
            let shape = |slots: usize| [positions.len(), slots, self.d_mlp];
            let rows = b.select(&self.rows, 0, &places(alive, &from.places[set], n_in))?;
            let slope_rows: Vec<usize> = positions
                .iter()
                .flat_map(|&position| std::iter::repeat_n(set * alive.positions() + position, n_in))
                .collect();
            let sources = b.reshape(&b.mul(&rows, &b.select(&self.slope, 0, &slope_rows)?)?, &shape(n_in))?;
            let columns = b.select(&self.columns, 0, &places(wanted, &to.places[set], n_out))?;
            let product = b.matmul(&b.reshape(&columns, &shape(n_out))?, &b.permute(&sources, &[0, 2, 1])?)?;
            products.batches.push(ProductBatch { n_out, n_in, values: b.download(&product)? });
        }
        Ok(products)
    }
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
