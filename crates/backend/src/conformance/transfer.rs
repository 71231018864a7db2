//! Upload and download.

#![allow(clippy::missing_panics_doc, reason = "a check fails by panicking")]

use super::array::Array;
use super::check::{LENGTHS, compare_exact, layouts, succeed, upload};
use super::generator::Generator;
use crate::{AttributionBackend, Binary, Dtype, Element, Reduce, Unary};

/// What is uploaded comes back bit for bit, given for good or not: ordinary numbers, signed zeros, infinities, the
/// largest, the smallest and subnormal numbers.
pub fn round_trip_keeps_every_bit<B: AttributionBackend>(backend: &B) {
    let (largest, smallest) = match B::Element::DTYPE {
        Dtype::F32 => (f64::from(f32::MAX), f64::from(f32::MIN_POSITIVE)),
        Dtype::F64 => (f64::MAX, f64::MIN_POSITIVE),
    };
    let special = [0.0, -0.0, f64::INFINITY, f64::NEG_INFINITY, largest, -largest, smallest, smallest / 4.0, 1.0 / 3.0];
    let mut generator = Generator::new(1);
    for length in LENGTHS {
        let mut array = generator.array::<B::Element>(&[length], -1e3..1e3);
        for (value, special) in array.values.iter_mut().zip(special) {
            *value = B::Element::from_f64(special).to_f64();
        }
        let values = array.values.iter().map(|&value| B::Element::from_f64(value)).collect();
        let given = succeed(format_args!("upload_vec of [{length}]"), backend.upload_vec(values, &[length]));
        for (upload, tensor) in [("upload", upload(backend, &array)), ("upload_vec", given)] {
            let shared = succeed(format_args!("download_vec of [{length}]"), backend.download_vec(tensor.clone()));
            let copied = succeed(format_args!("download of [{length}]"), backend.download(&tensor));
            let taken = succeed(format_args!("download_vec of [{length}]"), backend.download_vec(tensor));
            for (way, got) in [("download_vec of a clone", shared), ("download", copied), ("download_vec", taken)] {
                assert_eq!(got.len(), length, "{way} after {upload} of [{length}]: number of elements");
                for (index, (got, expected)) in got.iter().map(|got| got.to_f64()).zip(&array.values).enumerate() {
                    assert!(
                        got.to_bits() == expected.to_bits(),
                        "{upload} and {way} of [{length}]: at [{index}] got {got:e}, expected {expected:e}, to the bit"
                    );
                }
            }
        }
    }
}

/// Tensors with an axis of length 0 keep their shape and hold nothing.
pub fn empty<B: AttributionBackend>(backend: &B) {
    for shape in [&[0][..], &[0, 3], &[3, 0], &[2, 0, 5], &[0, 0]] {
        let array = Array::new(shape, Vec::new());
        for (layout, tensor) in layouts(backend, &array) {
            compare_exact(backend, format_args!("download of {layout} {shape:?}"), Ok(tensor), &array);
        }
        compare_exact(backend, format_args!("upload_vec of {shape:?}"), backend.upload_vec(Vec::new(), shape), &array);
    }
}

/// Download gives row-major order whatever the layout underneath.
pub fn permuted_download_is_row_major<B: AttributionBackend>(backend: &B) {
    for shape in [&[2, 3][..], &[17, 33], &[3, 5, 7], &[2, 3, 4, 5], &[2, 1, 3, 2, 5]] {
        let array = Generator::new(2).array::<B::Element>(shape, -1.0..1.0);
        for (layout, tensor) in layouts(backend, &array) {
            compare_exact(backend, format_args!("download of {layout} {shape:?}"), Ok(tensor.clone()), &array);
            let taken = succeed(format_args!("download_vec of {layout} {shape:?}"), backend.download_vec(tensor));
            let taken: Vec<f64> = taken.into_iter().map(Element::to_f64).collect();
            assert_eq!(taken, array.values, "download_vec of {layout} {shape:?}");
        }
    }
}

/// No operation changes its operands, even when it could reuse their memory.
pub fn operands_stay_as_they_were<B: AttributionBackend>(backend: &B) {
    let array = Generator::new(3).array::<B::Element>(&[5, 5], 1.0..2.0);
    let tensor = upload(backend, &array);
    let unchanged = |operation: &str| {
        let what = format!("operand [5, 5] after {operation}");
        compare_exact(backend, what, Ok(tensor.clone()), &array);
    };
    for operation in Unary::ALL {
        succeed(operation, backend.unary(operation, &tensor));
        unchanged(&operation.to_string());
    }
    for operation in Binary::ALL {
        succeed(operation, backend.binary(operation, &tensor, &tensor));
        succeed(operation, backend.binary(operation, &tensor, &upload(backend, &Array::new(&[1], vec![3.0]))));
        unchanged(&operation.to_string());
    }
    for operation in [Reduce::Sum, Reduce::Max] {
        succeed(operation, backend.reduce(operation, &tensor, 0));
        unchanged(&operation.to_string());
    }
    succeed("matmul", backend.matmul(&tensor, &tensor));
    succeed("permute", backend.permute(&tensor, &[1, 0]));
    succeed("reshape", backend.reshape(&tensor, &[25]));
    succeed("select", backend.select(&tensor, 0, &[4, 0, 0]));
    unchanged("the operations on layouts");
    let scaled = succeed("scale", backend.scale(&succeed("reshape", backend.reshape(&tensor, &[25])), 2.0));
    drop(scaled);
    unchanged("scaling a reshape of it");
    let gradients = backend.grad(std::slice::from_ref(&tensor), |leaves| {
        backend.sum_all(&backend.mul(&leaves[0], &backend.unary(Unary::Exp, &leaves[0])?)?)
    });
    succeed("grad", gradients);
    unchanged("grad");
}
