//! What a backend says of itself.

#![allow(clippy::missing_panics_doc, reason = "a check fails by panicking")]

use super::array::Array;
use super::check::{compare, compare_exact, download, epsilon, succeed, upload};
use super::generator::Generator;
use super::truth;
use crate::{AttributionBackend, Dtype, Element, Unary};

/// The device's dtype is that of the tensors, and backend and device have names.
pub fn dtype<B: AttributionBackend>(backend: &B) {
    let device = backend.device();
    assert_eq!(device.dtype, B::Element::DTYPE, "dtype of the device against that of the tensors");
    assert!(!device.backend.is_empty() && !device.device.is_empty(), "a name is missing in {device:?}");
}

/// Factors that need more than half of the element's digits: `1 + 2^-12` in f32, which TF32 (10 bits) and bfloat16
/// (7 bits) round to 1; `1 + 2^-28` in f64, which f32 rounds to 1.
pub fn full_precision_products<B: AttributionBackend>(backend: &B) {
    let offset = match B::Element::DTYPE {
        Dtype::F32 => 2_f64.powi(-12),
        Dtype::F64 => 2_f64.powi(-28),
    };
    for size in [1, 8, 64, 129] {
        let lhs = Array::from_fn(&[size, size], |index| if index[1] % 2 == 0 { 1.0 + offset } else { -1.0 });
        let rhs = Array::from_fn(&[size, size], |_| 1.0 + offset);
        let product = backend.matmul(&upload(backend, &lhs), &upload(backend, &rhs));
        // The terms nearly cancel, so the rounding of `size` terms of magnitude 1 in the backend and in the truth
        // stands against sums of about `size / 2 * offset`.
        let what = format!("matmul of [{size}, {size}] with factors 1 + {offset:e}");
        let tolerance = size as f64 * epsilon::<B>() * size as f64 * (1.0 + offset).powi(2);
        compare(backend, what, product, &truth::matmul(&lhs, &rhs), |_| tolerance);
    }
}

/// Sums that pass 2048 one by one, where a half-precision accumulator stalls. Whole numbers below 2^24 add without
/// rounding.
pub fn full_precision_sums<B: AttributionBackend>(backend: &B) {
    let length = 5001;
    let ones = Array::from_fn(&[3, length], |_| 1.0);
    let column = Array::from_fn(&[length, 3], |_| 1.0);
    let product = backend.matmul(&upload(backend, &ones), &upload(backend, &column));
    let expected = Array::from_fn(&[3, 3], |_| length as f64);
    compare_exact(backend, format_args!("matmul of ones [3, {length}] and [{length}, 3]"), product, &expected);
    let sum = backend.sum(&upload(backend, &ones), 1);
    compare_exact(backend, format_args!("sum of ones [3, {length}] along 1"), sum, &truth::sum(&ones, 1));
}

/// A backend that calls itself deterministic gives the same bits on every run.
pub fn determinism<B: AttributionBackend>(backend: &B) {
    if !backend.device().capabilities.deterministic {
        return;
    }
    let mut generator = Generator::new(101);
    let lhs = generator.array::<B::Element>(&[2, 129, 257], -1.0..1.0);
    let rhs = generator.array::<B::Element>(&[257, 65], -1.0..1.0);
    let indices: Vec<_> = (0..500).map(|_| generator.index(129)).collect();
    let run = || {
        let (lhs, rhs) = (upload(backend, &lhs), upload(backend, &rhs));
        let product = succeed("matmul", backend.matmul(&lhs, &rhs));
        let softmax = succeed("softmax", backend.softmax(&product, 1));
        let sum = succeed("sum_all", backend.sum_all(&lhs));
        let mut tensors = succeed(
            "grad",
            backend.grad(&[lhs, rhs], |leaves| {
                let product = backend.unary(Unary::Tanh, &backend.matmul(&leaves[0], &leaves[1])?)?;
                backend.sum_all(&backend.select(&product, 1, &indices)?)
            }),
        );
        tensors.extend([product, softmax, sum]);
        tensors.iter().map(|tensor| download(backend, "download", tensor)).collect::<Vec<_>>()
    };
    let names = ["gradient of lhs", "gradient of rhs", "matmul", "softmax", "sum_all"];
    let first = run();
    for repeat in 1..5 {
        for ((name, first), again) in names.iter().zip(&first).zip(run()) {
            let differing = first.iter().zip(&again).filter(|(a, b)| a.to_bits() != b.to_bits()).count();
            assert_eq!(differing, 0, "{name}: elements whose bits differ in run {repeat} from the first run");
        }
    }
}
