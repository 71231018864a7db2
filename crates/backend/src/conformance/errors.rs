//! Shapes that do not go together give an error, never a panic.

#![allow(clippy::missing_panics_doc, reason = "a check fails by panicking")]

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::array::Array;
use super::check::{self, compare, succeed};
use crate::{AttributionBackend, BackendError, Binary, Element, Reduce};

fn filled<B: AttributionBackend>(backend: &B, shape: &[usize]) -> B::Tensor {
    check::upload(backend, &Array::from_fn(shape, |_| 1.0))
}

/// Checks that the operation gives [`BackendError::Shape`], which lists `shape` first.
fn expect_shape_error<T>(what: &str, shape: &[usize], operation: impl FnOnce() -> Result<T, BackendError>) {
    let Ok(result) = catch_unwind(AssertUnwindSafe(operation)) else {
        panic!("{what}: expected BackendError::Shape, got a panic");
    };
    match result {
        Err(BackendError::Shape { shapes, .. }) => {
            let got = shapes.first().map(Vec::as_slice);
            assert_eq!(got, Some(shape), "{what}: the first shape that the error lists");
        }
        Err(error) => panic!("{what}: expected BackendError::Shape, got the error: {error}"),
        Ok(_) => panic!("{what}: expected BackendError::Shape, got a result"),
    }
}

/// Too few and too many values for a shape, and a shape without axes.
pub fn upload<B: AttributionBackend>(backend: &B) {
    let values = [B::Element::from_f64(1.0); 5];
    for shape in [&[2, 3][..], &[4], &[0], &[]] {
        let what = format!("upload of 5 values to {shape:?}");
        expect_shape_error(&what, shape, || backend.upload(&values, shape));
        expect_shape_error(&what, shape, || backend.upload_vec(values.to_vec(), shape));
    }
    expect_shape_error("upload of 1 value to []", &[], || backend.upload(&values[..1], &[]));
}

/// Lengths that do not broadcast.
pub fn binary<B: AttributionBackend>(backend: &B) {
    let shapes: &[(&[usize], &[usize])] =
        &[(&[2, 3], &[2]), (&[3], &[4]), (&[2, 3], &[3, 2]), (&[2], &[0]), (&[2, 0], &[3])];
    for &(lhs, rhs) in shapes {
        for operation in Binary::ALL {
            for (lhs, rhs) in [(lhs, rhs), (rhs, lhs)] {
                let (left, right) = (filled(backend, lhs), filled(backend, rhs));
                let what = format!("{operation} of {lhs:?} and {rhs:?}");
                expect_shape_error(&what, lhs, || backend.binary(operation, &left, &right));
            }
        }
    }
}

/// Axes that are not there, and the maximum of nothing.
pub fn reduce<B: AttributionBackend>(backend: &B) {
    for operation in [Reduce::Sum, Reduce::Max] {
        for (shape, axis) in [(&[2, 3][..], 2), (&[2, 3], usize::MAX)] {
            let x = filled(backend, shape);
            let what = format!("{operation} of {shape:?} along {axis}");
            expect_shape_error(&what, shape, || backend.reduce(operation, &x, axis));
        }
    }
    for (shape, axis) in [(&[0][..], 0), (&[2, 0], 1), (&[0, 2], 0), (&[0, 0], 1)] {
        let x = filled(backend, shape);
        expect_shape_error(&format!("max of {shape:?} along {axis}"), shape, || backend.reduce(Reduce::Max, &x, axis));
    }
}

/// Inner lengths that differ, operands that are no matrices, leading axes that do not broadcast.
pub fn matmul<B: AttributionBackend>(backend: &B) {
    let shapes: &[(&[usize], &[usize])] = &[
        (&[2, 3], &[2, 3]),
        (&[2, 3], &[1, 3]),
        (&[2, 1], &[3, 2]),
        (&[2, 0], &[1, 2]),
        (&[3], &[3, 2]),
        (&[2, 3], &[3]),
        (&[3], &[3]),
        (&[2, 2, 3], &[3, 3, 2]),
        (&[2, 1, 2, 3], &[3, 1, 3, 2]),
        (&[2, 2, 3], &[0, 3, 2]),
    ];
    for &(lhs, rhs) in shapes {
        let (left, right) = (filled(backend, lhs), filled(backend, rhs));
        expect_shape_error(&format!("matmul of {lhs:?} and {rhs:?}"), lhs, || backend.matmul(&left, &right));
    }
}

/// Another number of elements.
pub fn reshape<B: AttributionBackend>(backend: &B) {
    for (from, to) in [(&[2, 3][..], &[5][..]), (&[2, 3], &[]), (&[1], &[]), (&[2, 3], &[0, 6]), (&[0], &[1])] {
        let x = filled(backend, from);
        expect_shape_error(&format!("reshape of {from:?} to {to:?}"), from, || backend.reshape(&x, to));
    }
}

/// Axes that are missing, repeated or not there.
pub fn permute<B: AttributionBackend>(backend: &B) {
    for (shape, axes) in [
        (&[2, 3][..], &[0][..]),
        (&[2, 3], &[]),
        (&[2, 3], &[0, 0]),
        (&[2, 3], &[0, 2]),
        (&[2, 3], &[0, 1, 2]),
        (&[2, 3], &[0, usize::MAX]),
    ] {
        let x = filled(backend, shape);
        expect_shape_error(&format!("permute of {shape:?} by {axes:?}"), shape, || backend.permute(&x, axes));
    }
}

/// An axis that is not there, and indices beyond its end.
pub fn select<B: AttributionBackend>(backend: &B) {
    for (shape, axis, indices) in [
        (&[2, 3][..], 2, &[0][..]),
        (&[2, 3], 2, &[]),
        (&[2, 3], 1, &[3]),
        (&[2, 3], 0, &[0, 1, 2]),
        (&[2, 3], 0, &[usize::MAX]),
        (&[0, 3], 0, &[0]),
    ] {
        let x = filled(backend, shape);
        let what = format!("select of {indices:?} along {axis} of {shape:?}");
        expect_shape_error(&what, shape, || backend.select(&x, axis, indices));
    }
}

/// The derived methods pass on the errors of what they are made of.
pub fn derived<B: AttributionBackend>(backend: &B) {
    let x = filled(backend, &[2, 3]);
    let empty = filled(backend, &[2, 0]);
    expect_shape_error("softmax of [2, 3] along 2", &[2, 3], || backend.softmax(&x, 2));
    expect_shape_error("softmax of [2, 0] along 1", &[2, 0], || backend.softmax(&empty, 1));
    expect_shape_error("mean of [2, 3] along 2", &[2, 3], || backend.mean(&x, 2));
    expect_shape_error("sum of [2, 3] along 2", &[2, 3], || backend.sum(&x, 2));
    expect_shape_error("narrow of [2, 3] to 0..1 along 2", &[2, 3], || backend.narrow(&x, 2, 0, 1));
    expect_shape_error("narrow of [2, 3] to 2..4 along 1", &[2, 3], || backend.narrow(&x, 1, 2, 2));
    expect_shape_error("narrow of [2, 3] past all counting", &[2, 3], || backend.narrow(&x, 1, 1, usize::MAX));
    expect_shape_error("gather of element 6 of [2, 3]", &[6], || backend.gather(&x, &[6]));
    let cotangent = filled(backend, &[4]);
    expect_shape_error("vjp of [2, 3] with a cotangent [4]", &[2, 3], || {
        backend.vjp(std::slice::from_ref(&x), &cotangent, |leaves| Ok(leaves[0].clone()))
    });
}

/// Only of a single number is there a gradient.
pub fn not_a_single_number<B: AttributionBackend>(backend: &B) {
    for shape in [&[2, 3][..], &[2], &[0]] {
        let x = filled(backend, shape);
        expect_shape_error(&format!("grad of a function giving {shape:?}"), shape, || {
            backend.grad(std::slice::from_ref(&x), |leaves| Ok(leaves[0].clone()))
        });
        // The same when the function does not depend on the leaf.
        expect_shape_error(&format!("grad of a constant function giving {shape:?}"), shape, || {
            backend.grad(std::slice::from_ref(&x), |_| Ok(x.clone()))
        });
    }
}

/// Tracked tensors are checked as others are, the error comes out of `grad`, and the next call works.
pub fn inside_grad<B: AttributionBackend>(backend: &B) {
    type Function<'a, B> =
        &'a dyn Fn(&<B as AttributionBackend>::Tensor) -> Result<<B as AttributionBackend>::Tensor, BackendError>;
    let x = filled(backend, &[2, 3]);
    let row = filled(backend, &[4]);
    let functions: [(&str, Function<'_, B>); 8] = [
        ("add of [2, 3] and [4]", &|x| backend.add(x, &row)),
        ("matmul of [2, 3] and [2, 3]", &|x| backend.matmul(x, x)),
        ("sum along 2", &|x| backend.reduce(Reduce::Sum, x, 2)),
        ("reshape of [2, 3] to [5]", &|x| backend.reshape(x, &[5])),
        ("permute by [1, 1]", &|x| backend.permute(x, &[1, 1])),
        ("select of 3 along 1", &|x| backend.select(x, 1, &[3])),
        ("softmax along 2", &|x| backend.softmax(x, 2)),
        ("mean along 2", &|x| backend.mean(x, 2)),
    ];
    for (what, function) in functions {
        expect_shape_error(&format!("{what} inside grad"), &[2, 3], || {
            backend.grad(std::slice::from_ref(&x), |leaves| backend.sum_all(&function(&leaves[0])?))
        });
        let gradients = backend.grad(std::slice::from_ref(&x), |leaves| backend.sum_all(&leaves[0]));
        let gradients = succeed(format_args!("grad after a failed {what}"), gradients);
        let ones = Array::from_fn(&[2, 3], |_| 1.0);
        compare(backend, format_args!("grad after a failed {what}"), Ok(gradients[0].clone()), &ones, |_| 0.0);
    }
}

/// An error that the function gives of itself comes out unchanged.
pub fn of_the_function_itself<B: AttributionBackend>(backend: &B) {
    let error = BackendError::Unsupported { backend: "conformance", capability: "continue".to_owned() };
    let result = backend.grad(&[filled(backend, &[2])], |_| Err(error.clone()));
    assert_eq!(result.err(), Some(error), "grad of a function that fails: the error");
}
