//! Operands in several memory layouts, and comparisons that say what differs.

use std::fmt::Display;

use super::array::Array;
use super::truth;
use crate::{AttributionBackend, BackendError, Dtype, Element};

/// Lengths around the widths of SIMD registers and of blocks.
pub(super) const LENGTHS: [usize; 12] = [1, 2, 3, 5, 7, 8, 13, 17, 33, 65, 1023, 4099];

/// Distance from 1 to the next larger number of the backend's element.
pub(super) fn epsilon<B: AttributionBackend>() -> f64 {
    B::Element::DTYPE.epsilon()
}

/// Smallest normal number of the backend's element: what may be lost where results underflow, since devices may
/// flush subnormal numbers to zero.
pub(super) fn smallest<B: AttributionBackend>() -> f64 {
    match B::Element::DTYPE {
        Dtype::F32 => f64::from(f32::MIN_POSITIVE),
        Dtype::F64 => f64::MIN_POSITIVE,
    }
}

/// The value of an operation that must succeed.
pub(super) fn succeed<T>(what: impl Display, result: Result<T, BackendError>) -> T {
    result.unwrap_or_else(|error| panic!("{what}: expected a result, got the error: {error}"))
}

/// The array as the backend will hold it.
pub(super) fn rounded<B: AttributionBackend>(array: &Array) -> Array {
    array.map(|x| B::Element::from_f64(x).to_f64())
}

pub(super) fn upload<B: AttributionBackend>(backend: &B, array: &Array) -> B::Tensor {
    let values: Vec<_> = array.values.iter().map(|&value| B::Element::from_f64(value)).collect();
    succeed(format_args!("upload of {:?}", array.shape), backend.upload(&values, &array.shape))
}

pub(super) fn download<B: AttributionBackend>(backend: &B, what: impl Display, tensor: &B::Tensor) -> Vec<f64> {
    succeed(what, backend.download(tensor)).into_iter().map(Element::to_f64).collect()
}

/// The same tensor in every layout: as uploaded, and as permutations of tensors stored in another order. Rank 1 and
/// below have but one.
pub(super) fn layouts<B: AttributionBackend>(backend: &B, array: &Array) -> Vec<(&'static str, B::Tensor)> {
    let rank = array.shape.len();
    let mut layouts = vec![("contiguous", upload(backend, array))];
    if rank > 1 {
        layouts.push(("reversed", stored_as(backend, array, &(0..rank).rev().collect::<Vec<_>>())));
    }
    if rank > 2 {
        let mut axes: Vec<_> = (0..rank).collect();
        axes.swap(rank - 2, rank - 1);
        layouts.push(("transposed", stored_as(backend, array, &axes)));
    }
    layouts
}

/// The same tensor stored with its axes in the order `axes`, and permuted back.
fn stored_as<B: AttributionBackend>(backend: &B, array: &Array, axes: &[usize]) -> B::Tensor {
    let mut inverse = vec![0; axes.len()];
    for (at, &axis) in axes.iter().enumerate() {
        inverse[axis] = at;
    }
    let stored = truth::permute(array, axes);
    succeed(
        format_args!("permute of {:?} by {inverse:?}", stored.shape),
        backend.permute(&upload(backend, &stored), &inverse),
    )
}

/// Compares a tensor with what was expected, element by element; `tolerance` is asked for each position in
/// row-major order.
pub(super) fn compare<B: AttributionBackend>(
    backend: &B,
    what: impl Display,
    result: Result<B::Tensor, BackendError>,
    expected: &Array,
    tolerance: impl Fn(usize) -> f64,
) {
    let got = succeed(&what, result);
    assert_eq!(backend.shape(&got), expected.shape, "{what}: shape of the result");
    let values = download(backend, &what, &got);
    assert_eq!(values.len(), expected.values.len(), "{what}: number of elements downloaded");
    for (position, (&got, &expected_value)) in values.iter().zip(&expected.values).enumerate() {
        let tolerance = tolerance(position);
        // The first test is for infinities, whose difference is not a number.
        let agrees = got.to_bits() == expected_value.to_bits() || (got - expected_value).abs() <= tolerance;
        assert!(
            agrees,
            "{what}: at {:?} got {got:e}, expected {expected_value:e}, tolerance {tolerance:e}",
            expected.index(position)
        );
    }
}

/// Compares a tensor with what was expected, every bit but the sign of zero.
pub(super) fn compare_exact<B: AttributionBackend>(
    backend: &B,
    what: impl Display,
    result: Result<B::Tensor, BackendError>,
    expected: &Array,
) {
    compare(backend, what, result, expected, |_| 0.0);
}
