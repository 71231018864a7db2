//! What depends on nothing but the number of positions.

use tributary_backend::{AttributionBackend, BackendError, Element};
use tributary_model::PositionEncoding;

use crate::Model;

/// Tables for sequences of one length, on a backend.
pub(crate) struct Sequence<T> {
    /// `[positions, d_model]`, with learned positions.
    pub(crate) wpe: Option<T>,
    /// `[positions, positions]`: 0 where row may attend to column, else -inf.
    pub(crate) causal_mask: T,
    rotary: Option<Rotary<T>>,
}

/// Rotation of pairs of elements of a head, as `x * cos + x[partner] * sin`.
pub(crate) struct Rotary<T> {
    /// `[positions, d_head]`
    cos: T,
    /// `[positions, d_head]`, negative for the first element of each pair.
    sin: T,
    /// Whether the elements of a pair are next to each other, rather than half a head apart.
    adjacent_pairs: bool,
}

impl<T: Clone> Sequence<T> {
    pub(crate) fn new<B: AttributionBackend<Tensor = T>>(
        model: &Model<B>,
        positions: usize,
    ) -> Result<Self, BackendError> {
        let b = &model.backend;
        let wpe = model.wpe.as_ref().map(|wpe| b.narrow(wpe, 0, 0, positions)).transpose()?;
        let mask = |i: usize| if i % positions <= i / positions { 0.0 } else { f64::NEG_INFINITY };
        let causal_mask = table(b, [positions, positions], mask)?;
        let rotary = match model.architecture.position_encoding {
            PositionEncoding::Learned => None,
            PositionEncoding::Rotary { base, adjacent_pairs } => {
                Some(Rotary::new(b, [positions, model.architecture.d_head], base, adjacent_pairs)?)
            }
        };
        Ok(Self { wpe, causal_mask, rotary })
    }

    /// Queries or keys `[.., positions, d_head]` rotated to their positions; as they are without rotary positions.
    pub(crate) fn rotate<B: AttributionBackend<Tensor = T>>(&self, b: &B, x: &T) -> Result<T, BackendError> {
        self.rotary.as_ref().map_or_else(|| Ok(x.clone()), |rotary| rotary.rotate(b, x))
    }

    /// Rows `[rows, heads, d_head]`, each rotated to a position of its own.
    pub(crate) fn rotate_rows<B: AttributionBackend<Tensor = T>>(
        &self,
        b: &B,
        x: &T,
        positions: &[usize],
    ) -> Result<T, BackendError> {
        let Some(rotary) = &self.rotary else { return Ok(x.clone()) };
        let shape = b.shape(x);
        // A row of the tables for each head: nothing is left to broadcast.
        let rows: Vec<usize> = positions.iter().flat_map(|&s| std::iter::repeat_n(s, shape[1])).collect();
        let x = b.reshape(x, &[rows.len(), shape[2]])?;
        let rotated = rotary.apply(b, &x, &b.select(&rotary.cos, 0, &rows)?, &b.select(&rotary.sin, 0, &rows)?)?;
        b.reshape(&rotated, &shape)
    }
}

impl<T> Rotary<T> {
    /// Queries or keys `[.., positions, d_head]` rotated to their positions.
    pub(crate) fn rotate<B: AttributionBackend<Tensor = T>>(&self, b: &B, x: &T) -> Result<T, BackendError> {
        self.apply(b, x, &self.cos, &self.sin)
    }

    fn apply<B: AttributionBackend<Tensor = T>>(&self, b: &B, x: &T, cos: &T, sin: &T) -> Result<T, BackendError> {
        let shape = b.shape(x);
        let half = shape[shape.len() - 1] / 2;
        let rows = shape[..shape.len() - 1].iter().product();
        // The other element of a pair is the other one along the axis of 2.
        let (pairs, axis) = if self.adjacent_pairs { ([rows, half, 2], 2) } else { ([rows, 2, half], 1) };
        let partner = b.reshape(&b.select(&b.reshape(x, &pairs)?, axis, &[1, 0])?, &shape)?;
        b.add(&b.mul(x, cos)?, &b.mul(&partner, sin)?)
    }

    fn new<B: AttributionBackend<Tensor = T>>(
        b: &B,
        shape: [usize; 2],
        base: f64,
        adjacent_pairs: bool,
    ) -> Result<Self, BackendError> {
        let half = shape[1] / 2;
        let angle = |position: usize, pair: usize| position as f64 / base.powf(pair as f64 / half as f64);
        Self::of(b, shape, adjacent_pairs, angle, |value| value)
    }

    /// Tables `[positions, d_head]` of the sines and cosines of `angle(position, pair)`, each as `rounded` gives it.
    pub(crate) fn of<B: AttributionBackend<Tensor = T>>(
        b: &B,
        shape: [usize; 2],
        adjacent_pairs: bool,
        angle: impl Fn(usize, usize) -> f64,
        rounded: impl Fn(f64) -> f64,
    ) -> Result<Self, BackendError> {
        let [_, d_head] = shape;
        let half = d_head / 2;
        // Element -> number of its pair, and whether it is the pair's first.
        let pair_of = |i: usize| if adjacent_pairs { (i / 2, i.is_multiple_of(2)) } else { (i % half, i < half) };
        let angle = |i: usize| angle(i / d_head, pair_of(i % d_head).0);
        let sign = |i: usize| if pair_of(i % d_head).1 { -1.0 } else { 1.0 };
        Ok(Self {
            cos: table(b, shape, |i| rounded(angle(i).cos()))?,
            sin: table(b, shape, |i| sign(i) * rounded(angle(i).sin()))?,
            adjacent_pairs,
        })
    }
}

/// A matrix of `value(i)` for every index `i` in row-major order.
fn table<B: AttributionBackend>(
    b: &B,
    shape: [usize; 2],
    value: impl Fn(usize) -> f64,
) -> Result<B::Tensor, BackendError> {
    let values: Vec<B::Element> = (0..shape[0] * shape[1]).map(|i| B::Element::from_f64(value(i))).collect();
    b.upload(&values, &shape)
}
