//! Matrix products.

#![allow(clippy::missing_panics_doc, reason = "a check fails by panicking")]

use super::array::Array;
use super::check::{compare, epsilon, layouts, upload};
use super::generator::Generator;
use super::truth;
use crate::{AttributionBackend, BackendError};

/// An inner product of length k, in any order and fused or not, is off by at most `k * epsilon/2 * sum(|a||b|)`
/// (Higham 2002, section 3.1), in the backend and in the truth. Nothing is summed for k = 0, so zero is exact.
fn compare_product<B: AttributionBackend>(
    backend: &B,
    what: &str,
    got: Result<B::Tensor, BackendError>,
    lhs: &Array,
    rhs: &Array,
) {
    let terms = lhs.shape[lhs.shape.len() - 1] as f64;
    let magnitude = truth::matmul(&lhs.abs(), &rhs.abs());
    compare(backend, what, got, &truth::matmul(lhs, rhs), |position| {
        terms * epsilon::<B>() * magnitude.values[position]
    });
}

/// Operands of these shapes in every combination of layouts.
fn check_layouts<B: AttributionBackend>(backend: &B, seed: u64, lhs: &[usize], rhs: &[usize]) {
    let mut generator = Generator::new(seed);
    let lhs = generator.array::<B::Element>(lhs, -1.0..1.0);
    let rhs = generator.array::<B::Element>(rhs, -1.0..1.0);
    let rhs_layouts = layouts(backend, &rhs);
    for (lhs_layout, lhs_tensor) in layouts(backend, &lhs) {
        for (rhs_layout, rhs_tensor) in &rhs_layouts {
            let what = format!("matmul of {lhs_layout} {:?} and {rhs_layout} {:?}", lhs.shape, rhs.shape);
            compare_product(backend, &what, backend.matmul(&lhs_tensor, rhs_tensor), &lhs, &rhs);
        }
    }
}

/// Every combination of sizes around the widths of registers and blocks, contiguous and transposed.
pub fn sizes<B: AttributionBackend>(backend: &B) {
    for m in [1, 3, 17, 64, 129] {
        for k in [1, 3, 17, 64, 129] {
            for n in [1, 3, 17, 64, 129] {
                let mut generator = Generator::new(31);
                let lhs = generator.array::<B::Element>(&[m, k], -1.0..1.0);
                let rhs = generator.array::<B::Element>(&[k, n], -1.0..1.0);
                let got = backend.matmul(&upload(backend, &lhs), &upload(backend, &rhs));
                compare_product(backend, &format!("matmul of [{m}, {k}] and [{k}, {n}]"), got, &lhs, &rhs);
            }
        }
    }
    for [m, k, n] in [[1, 1, 1], [1, 5, 7], [5, 1, 7], [7, 5, 1], [2, 8, 13], [33, 17, 65]] {
        check_layouts(backend, 32, &[m, k], &[k, n]);
    }
}

/// Sums longer than a block.
pub fn long_sums<B: AttributionBackend>(backend: &B) {
    check_layouts(backend, 33, &[2, 4099], &[4099, 3]);
}

/// Leading axes broadcast, missing ones are taken as length 1, and layouts mix.
pub fn batches<B: AttributionBackend>(backend: &B) {
    let shapes: &[(&[usize], &[usize])] = &[
        (&[2, 3, 5], &[2, 5, 7]),
        (&[2, 3, 5], &[5, 7]),
        (&[3, 5], &[2, 5, 7]),
        (&[1, 3, 5], &[4, 5, 7]),
        (&[4, 3, 5], &[1, 5, 7]),
        (&[2, 3, 3, 5], &[3, 5, 2]),
        (&[2, 1, 3, 5], &[4, 5, 2]),
        (&[2, 3, 17, 8], &[2, 3, 8, 17]),
        (&[2, 3, 4, 1], &[2, 3, 1, 5]),
        (&[2, 3, 1, 4], &[2, 1, 4, 1]),
        (&[2, 1, 3, 4, 5], &[2, 4, 1, 5, 2]),
        (&[2, 1, 3, 4, 5], &[1, 4, 3, 5, 2]),
        (&[1, 1, 3, 4, 5], &[2, 1, 5, 2]),
        (&[5, 2], &[2, 1, 3, 2, 4]),
    ];
    for &(lhs, rhs) in shapes {
        check_layouts(backend, 34, lhs, rhs);
    }
}

/// A product over no columns is zero; one with no rows, columns or batch items is empty.
pub fn empty<B: AttributionBackend>(backend: &B) {
    let shapes: &[(&[usize], &[usize])] = &[
        (&[3, 0], &[0, 5]),
        (&[0, 3], &[3, 5]),
        (&[3, 5], &[5, 0]),
        (&[0, 0], &[0, 0]),
        (&[2, 3, 0], &[0, 5]),
        (&[0, 3, 4], &[4, 5]),
        (&[0, 3, 4], &[1, 4, 5]),
        (&[2, 0, 4], &[2, 4, 5]),
        (&[2, 1, 3, 0], &[4, 0, 5]),
    ];
    for &(lhs, rhs) in shapes {
        check_layouts(backend, 35, lhs, rhs);
    }
}
