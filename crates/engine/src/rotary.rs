//! Rotary positions.

use tributary_backend::{AttributionBackend, BackendError, Element};

/// Rotation of pairs of elements of a head, as `x * cos + x[partner] * sin`.
pub(crate) struct Rotary<T> {
    /// `[positions, d_head]`
    pub(crate) cos: T,
    /// `[positions, d_head]`, negative for the first element of each pair.
    pub(crate) sin: T,
    /// Whether the elements of a pair are next to each other, rather than half a head apart.
    adjacent_pairs: bool,
}

impl<T> Rotary<T> {
    /// Queries or keys `[.., positions, d_head]` rotated to their positions.
    pub(crate) fn rotate<B: AttributionBackend<Tensor = T>>(&self, b: &B, x: &T) -> Result<T, BackendError> {
        self.apply(b, x, &self.cos, &self.sin)
    }

    /// `x` rotated by the rows of tables that go with its rows.
    pub(crate) fn apply<B: AttributionBackend<Tensor = T>>(
        &self,
        b: &B,
        x: &T,
        cos: &T,
        sin: &T,
    ) -> Result<T, BackendError> {
        let shape = b.shape(x);
        let half = shape[shape.len() - 1] / 2;
        let rows = shape[..shape.len() - 1].iter().product();
        // The other element of a pair is the other one along the axis of 2.
        let (pairs, axis) = if self.adjacent_pairs { ([rows, half, 2], 2) } else { ([rows, 2, half], 1) };
        let partner = b.reshape(&b.select(&b.reshape(x, &pairs)?, axis, &[1, 0])?, &shape)?;
        b.add(&b.mul(x, cos)?, &b.mul(&partner, sin)?)
    }

    /// Tables `[positions, d_head]` of the sines and cosines of `angle(position, pair)`, in float32, as the published code has
    /// them whatever the rest is computed in.
    pub(crate) fn of<B: AttributionBackend<Tensor = T>>(
        b: &B,
        shape: [usize; 2],
        adjacent_pairs: bool,
        angle: impl Fn(usize, usize) -> f32,
    ) -> Result<Self, BackendError> {
        let [_, d_head] = shape;
        let angle = |i: usize| f64::from(angle(i / d_head, pair(i % d_head, d_head, adjacent_pairs).0));
        let rounded = |value: f64| f64::from(value as f32);
        Self::of_tables(b, shape, adjacent_pairs, |i| rounded(angle(i).sin()), |i| rounded(angle(i).cos()))
    }

    /// The same of sines and cosines for every index in row-major order.
    pub(crate) fn of_tables<B: AttributionBackend<Tensor = T>>(
        b: &B,
        shape: [usize; 2],
        adjacent_pairs: bool,
        sin: impl Fn(usize) -> f64,
        cos: impl Fn(usize) -> f64,
    ) -> Result<Self, BackendError> {
        let [_, d_head] = shape;
        let sign = |i: usize| if pair(i % d_head, d_head, adjacent_pairs).1 { -1.0 } else { 1.0 };
        Ok(Self { cos: table(b, shape, cos)?, sin: table(b, shape, |i| sign(i) * sin(i))?, adjacent_pairs })
    }
}

/// The number of an element's pair in a head, and whether it is the pair's first.
fn pair(element: usize, d_head: usize, adjacent_pairs: bool) -> (usize, bool) {
    let half = d_head / 2;
    if adjacent_pairs { (element / 2, element.is_multiple_of(2)) } else { (element % half, element < half) }
}

/// A matrix of `value(i)` for every index `i` in row-major order.
pub(crate) fn table<B: AttributionBackend>(
    b: &B,
    shape: [usize; 2],
    value: impl Fn(usize) -> f64,
) -> Result<B::Tensor, BackendError> {
    let values: Vec<B::Element> = (0..shape[0] * shape[1]).map(|i| B::Element::from_f64(value(i))).collect();
    b.upload(&values, &shape)
}
