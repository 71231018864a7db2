//! Past the heads of an attention, on the way down the layers.

use tributary_backend::{AttributionBackend, BackendError, Element};
use tributary_model::Role;

use crate::Model;
use crate::forward::Heads;
use crate::sequence::Sequence;

/// What reaches the outputs of queries, keys and values at the position of each row of `w`, `[rows, n_heads * d_head]`.
pub(super) fn past<B: AttributionBackend>(
    model: &Model<B>,
    sequence: &Sequence<B::Tensor>,
    heads: &Heads<B::Tensor>,
    w: &B::Tensor,
    positions: &[usize],
) -> Result<[(Role, B::Tensor); 3], BackendError> {
    let (b, a) = (&model.backend, &model.architecture);
    let (rows, d_head) = (positions.len(), a.d_head);
    let (kv_heads, group) = (a.n_kv_heads, a.n_heads / a.n_kv_heads);
    // Of one prompt: what is left is [kv heads, heads per kv head or 1, rows or positions, _].
    let of_prompt = |x: &B::Tensor| b.reshape(x, &b.shape(x)[1..]);
    let (q, k, v, p) = (of_prompt(&heads.q)?, of_prompt(&heads.k)?, of_prompt(&heads.v)?, of_prompt(&heads.probs)?);
    let w = b.permute(&b.reshape(w, &[rows, kv_heads, group, d_head])?, &[1, 2, 0, 3])?;
    let p = b.select(&p, 2, positions)?;
    let values_read = b.mul(&p, &b.matmul(&w, &b.permute(&v, &[0, 1, 3, 2])?)?)?;
    let scores = b.sub(&values_read, &b.mul(&p, &b.sum(&values_read, 3)?)?)?;
    let scores = b.scale(&scores, 1.0 / (d_head as f64).sqrt())?;
    // Of every head and row what lies at the row's own position, [kv heads, heads per kv head, rows, 1].
    let length = b.shape(&v)[2];
    let own = |head: usize| positions.iter().enumerate().map(move |(row, &s)| (head * rows + row) * length + s);
    let own: Vec<usize> = (0..a.n_heads).flat_map(own).collect();
    let at_own = |x: &B::Tensor| b.reshape(&b.gather(x, &own)?, &[kv_heads, group, rows, 1]);
    let of_query = b.matmul(&scores, &k)?;
    let of_key = b.sum(&b.mul(&at_own(&scores)?, &b.select(&q, 2, positions)?)?, 1)?;
    let of_value = b.sum(&b.mul(&at_own(&p)?, &w)?, 1)?;
    let by_row = |x: &B::Tensor| {
        let heads = b.shape(x)[0] * b.shape(x)[1];
        b.permute(&b.reshape(x, &[heads, rows, d_head])?, &[1, 0, 2])
    };
    let flat = |x: &B::Tensor| b.reshape(x, &[rows, b.shape(x)[1] * d_head]);
    let turned = |x: &B::Tensor| flat(&sequence.rotate_rows_back(b, &by_row(x)?, positions)?);
    Ok([(Role::Query, turned(&of_query)?), (Role::Key, turned(&of_key)?), (Role::Value, flat(&by_row(&of_value)?)?)])
}

/// Probabilities of an attention without those below 2^-100. What comes by them adds to vectors that it is less than a rounding of,
/// also in float64; but products with them are subnormal numbers in float32, which take a CPU some hundred times as long: half of
/// the time of a transport, measured.
pub(super) fn without_traces<B: AttributionBackend>(b: &B, probs: B::Tensor) -> Result<B::Tensor, BackendError> {
    if !b.device().is_cpu() {
        return Ok(probs);
    }
    let shape = b.shape(&probs);
    let least = B::Element::from_f64(2.0_f64.powi(-100));
    let mut values = b.download_vec(probs)?;
    values.iter_mut().filter(|value| **value < least).for_each(|value| *value = B::Element::default());
    b.upload_vec(values, &shape)
}
