//! The methods with a default, which a backend may override.

#![allow(clippy::missing_panics_doc, reason = "a check fails by panicking")]

use super::array::Array;
use super::check::{compare, compare_exact, download, epsilon, layouts, rounded, smallest, succeed, upload};
use super::generator::Generator;
use super::truth;
use crate::{AttributionBackend, Binary, Unary};

const SHAPES: [&[usize]; 6] = [&[1], &[7], &[3, 17], &[2, 3, 5], &[2, 3, 4, 5], &[4, 129]];

/// Tensors of zeros and single numbers.
pub fn zeros_and_scalar<B: AttributionBackend>(backend: &B) {
    for shape in [&[5][..], &[2, 3], &[0, 3]] {
        compare_exact(backend, format_args!("zeros {shape:?}"), backend.zeros(shape), &Array::from_fn(shape, |_| 0.0));
    }
    compare_exact(backend, "scalar -1.5", backend.scalar(-1.5), &Array::new(&[1], vec![-1.5]));
}

/// `add`, `sub`, `mul` and `div`, each rounding once (a quotient within two units in the last place).
pub fn named_binary_operations<B: AttributionBackend>(backend: &B) {
    let mut generator = Generator::new(51);
    let lhs = generator.array::<B::Element>(&[2, 3, 5], -2.0..2.0);
    let rhs = generator.array::<B::Element>(&[3, 1], 1.0..2.0);
    let (left, right) = (upload(backend, &lhs), upload(backend, &rhs));
    for (operation, got) in [
        (Binary::Add, backend.add(&left, &right)),
        (Binary::Sub, backend.sub(&left, &right)),
        (Binary::Mul, backend.mul(&left, &right)),
        (Binary::Div, backend.div(&left, &right)),
    ] {
        let expected = truth::binary(operation, &lhs, &rhs);
        compare(backend, format_args!("{operation} of [2, 3, 5] and [3, 1]"), got, &expected, |position| {
            2.0 * epsilon::<B>() * expected.values[position].abs()
        });
    }
}

/// `add_scalar` and `scale`: the number is rounded to the element, then the operation rounds once.
pub fn scalar_arguments<B: AttributionBackend>(backend: &B) {
    for shape in SHAPES {
        let array = Generator::new(52).array::<B::Element>(shape, -2.0..2.0);
        for (layout, tensor) in layouts(backend, &array) {
            for value in [0.0, 1.0, -0.3, 1e3] {
                let sum = array.map(|x| x + value);
                let what = format!("add_scalar of {layout} {shape:?} and {value}");
                compare(backend, what, backend.add_scalar(&tensor, value), &sum, |position| {
                    epsilon::<B>() * (sum.values[position].abs() + value.abs())
                });
                let product = array.map(|x| x * value);
                let what = format!("scale of {layout} {shape:?} by {value}");
                compare(backend, what, backend.scale(&tensor, value), &product, |position| {
                    2.0 * epsilon::<B>() * product.values[position].abs()
                });
            }
        }
    }
}

/// `sum`, `sum_all` and `mean`. A sum of n terms is off by at most `n * epsilon/2 * sum(|term|)` in the backend and
/// in the truth; a mean rounds `1/n` and the product besides.
pub fn sums_and_mean<B: AttributionBackend>(backend: &B) {
    for shape in SHAPES {
        let array = Generator::new(53).array::<B::Element>(shape, -2.0..2.0);
        let elements = array.values.len();
        let flat = truth::reshape(&array, &[elements]);
        for (layout, tensor) in layouts(backend, &array) {
            let bound = elements as f64 * epsilon::<B>() * truth::sum(&flat.abs(), 0).values[0];
            let what = format!("sum_all of {layout} {shape:?}");
            compare(backend, what, backend.sum_all(&tensor), &truth::sum(&flat, 0), |_| bound);
            for (axis, &length) in shape.iter().enumerate() {
                let terms = length as f64;
                let magnitude = truth::sum(&array.abs(), axis);
                let what = format!("sum of {layout} {shape:?} along {axis}");
                compare(backend, what, backend.sum(&tensor, axis), &truth::sum(&array, axis), |position| {
                    terms * epsilon::<B>() * magnitude.values[position]
                });
                let what = format!("mean of {layout} {shape:?} along {axis}");
                compare(backend, what, backend.mean(&tensor, axis), &truth::mean(&array, axis), |position| {
                    (terms + 2.0) * epsilon::<B>() * magnitude.values[position] / terms
                });
            }
        }
    }
    let nothing = Array::new(&[0, 3], Vec::new());
    let sum = backend.sum_all(&upload(backend, &nothing));
    compare_exact(backend, "sum_all of [0, 3]", sum, &Array::new(&[1], vec![0.0]));
}

/// Softmax along every axis.
pub fn softmax<B: AttributionBackend>(backend: &B) {
    for shape in SHAPES {
        let array = Generator::new(54).array::<B::Element>(shape, -5.0..5.0);
        for axis in 0..shape.len() {
            check_softmax(backend, &array, axis);
        }
    }
}

/// Logits whose exponentials alone would overflow, and differences that underflow to probability 0.
pub fn softmax_of_huge_logits<B: AttributionBackend>(backend: &B) {
    let rows = vec![1e4, 1e4 - 1.0, -1e4, 1e30, 1e30, 0.0, -1e30, -1e30, -1e30, 700.0, 0.0, -700.0];
    check_softmax(backend, &rounded::<B>(&Array::new(&[4, 3], rows)), 1);
}

/// Logits of `-inf` get probability 0, exactly, and leave the others as if they were not there.
pub fn softmax_of_masked_logits<B: AttributionBackend>(backend: &B) {
    let scores = Generator::new(55).array::<B::Element>(&[2, 17, 17], -5.0..5.0);
    let causal =
        Array::from_fn(&[2, 17, 17], |index| if index[2] > index[1] { f64::NEG_INFINITY } else { scores.at(index) });
    check_softmax(backend, &causal, 2);
    let probabilities = succeed("softmax", backend.softmax(&upload(backend, &causal), 2));
    let probabilities = download(backend, "softmax", &probabilities);
    for (position, (&probability, &logit)) in probabilities.iter().zip(&causal.values).enumerate() {
        assert!(
            logit.is_finite() || probability == 0.0,
            "softmax of [2, 17, 17] along 2: at {:?} the logit is -inf, expected exactly 0, got {probability:e}",
            causal.index(position)
        );
    }
}

/// The shift `d = max - x` rounds by half an epsilon of itself, which the exponential turns into a relative error;
/// the sum inherits the errors of its terms in proportion to their probabilities and adds n roundings; exponential
/// and quotient take up to two epsilons each, in the backend and in the truth.
fn check_softmax<B: AttributionBackend>(backend: &B, array: &Array, axis: usize) {
    let expected = truth::softmax(array, axis);
    let shift = truth::binary(Binary::Sub, &truth::max(array, axis), array);
    // A shift of infinity comes with probability 0 and rounds nothing.
    let shift = shift.map(|shift| if shift.is_finite() { shift } else { 0.0 });
    let shift_of_sum = truth::sum(&truth::binary(Binary::Mul, &shift, &expected), axis);
    let roundings = truth::binary(Binary::Add, &shift, &shift_of_sum).map(|x| x + array.shape[axis] as f64 + 8.0);
    for (layout, tensor) in layouts(backend, array) {
        let what = format!("softmax of {layout} {:?} along {axis}", array.shape);
        compare(backend, what, backend.softmax(&tensor, axis), &expected, |position| {
            epsilon::<B>() * roundings.values[position] * expected.values[position] + smallest::<B>()
        });
    }
}

/// GELU in its tanh form.
pub fn gelu_tanh<B: AttributionBackend>(backend: &B) {
    check_gelu(backend, "gelu_tanh", truth::gelu_tanh, |x| backend.gelu_tanh(x));
}

/// GELU in its exact form.
pub fn gelu_erf<B: AttributionBackend>(backend: &B) {
    check_gelu(backend, "gelu_erf", truth::gelu_erf, |x| backend.gelu_erf(x));
}

/// `1 + tanh` and `1 + erf` cancel on the left, so the error is absolute in them: the function's own (4 epsilons and
/// the truth's erf 8 of float64), its argument's (at most 6 roundings, each weighted by `|z f'(z)|`, which is below
/// 0.45 for tanh and 0.49 for erf) and the sum's, altogether below 16 epsilons; times `|x|/2`, and two products.
fn check_gelu<B: AttributionBackend>(
    backend: &B,
    name: &str,
    truth: impl Fn(f64) -> f64,
    gelu: impl Fn(&B::Tensor) -> Result<B::Tensor, crate::BackendError>,
) {
    let mut generator = Generator::new(56);
    for range in [-1e-3..1e-3, -1.0..1.0, -10.0..10.0, -1e3..1e3] {
        for shape in SHAPES {
            let array = generator.array::<B::Element>(shape, range.clone());
            let expected = array.map(&truth);
            for (layout, tensor) in layouts(backend, &array) {
                compare(backend, format_args!("{name} of {layout} {shape:?}"), gelu(&tensor), &expected, |position| {
                    epsilon::<B>() * (8.0 * array.values[position].abs() + 2.0 * expected.values[position].abs())
                });
            }
        }
    }
}

/// Ranges along every axis: whole, empty, at both ends and within; also of tensors that are empty along another axis.
pub fn narrow<B: AttributionBackend>(backend: &B) {
    let mut generator = Generator::new(59);
    for shape in SHAPES.into_iter().chain([&[0, 3][..], &[2, 0, 3]]) {
        let array = generator.array::<B::Element>(shape, -1.0..1.0);
        for (axis, &length) in shape.iter().enumerate() {
            for range in
                [0..length, 0..0, length..length, 0..length / 2, length / 2..length, length / 3..length.div_ceil(2)]
            {
                let expected = truth::select(&array, axis, &range.clone().collect::<Vec<_>>());
                for (layout, tensor) in layouts(backend, &array) {
                    let what = format!("narrow of {layout} {shape:?} to {range:?} along {axis}");
                    let got = backend.narrow(&tensor, axis, range.start, range.len());
                    compare_exact(backend, &what, got, &expected);
                    // What was narrowed is a tensor as any other: its elements move and are computed with.
                    let doubled = backend.narrow(&tensor, axis, range.start, range.len()).and_then(|narrowed| {
                        let flat = backend.reshape(&narrowed, &[expected.values.len()])?;
                        backend.add(&flat, &flat)
                    });
                    let twice = truth::reshape(&expected.map(|x| 2.0 * x), &[expected.values.len()]);
                    compare_exact(backend, format_args!("{what}, flattened and doubled"), doubled, &twice);
                }
            }
        }
    }
}

/// Elements of the flattened tensor, whatever its layout.
pub fn gather<B: AttributionBackend>(backend: &B) {
    let mut generator = Generator::new(57);
    for shape in SHAPES {
        let array = generator.array::<B::Element>(shape, -1.0..1.0);
        let elements = array.values.len();
        let indices: Vec<_> = (0..elements + 3).map(|_| generator.index(elements)).collect();
        for indices in [&indices[..], &[]] {
            let expected = truth::select(&truth::reshape(&array, &[elements]), 0, indices);
            for (layout, tensor) in layouts(backend, &array) {
                let what = format!("gather of {} elements of {layout} {shape:?}", indices.len());
                compare_exact(backend, what, backend.gather(&tensor, indices), &expected);
            }
        }
    }
}

/// The vector-Jacobian product of `exp(x) * y` with a cotangent: `c * exp(x) * y` for x and `c * exp(x)` for y,
/// summed over the axis along which y broadcasts.
pub fn vjp<B: AttributionBackend>(backend: &B) {
    let mut generator = Generator::new(58);
    let x = generator.array::<B::Element>(&[3, 5], -1.0..1.0);
    let y = generator.array::<B::Element>(&[5], -1.0..1.0);
    let cotangent = generator.array::<B::Element>(&[3, 5], -1.0..1.0);
    let weighted = truth::binary(Binary::Mul, &cotangent, &x.map(f64::exp));
    let expected = [truth::binary(Binary::Mul, &weighted, &y), truth::reshape(&truth::sum(&weighted, 0), &[5])];
    let magnitude = truth::sum(&weighted.abs(), 0);
    let leaves = [upload(backend, &x), upload(backend, &y)];
    let gradients = backend.vjp(&leaves, &upload(backend, &cotangent), |leaves| {
        backend.mul(&backend.unary(Unary::Exp, &leaves[0])?, &leaves[1])
    });
    let gradients = succeed("vjp", gradients);
    assert_eq!(gradients.len(), 2, "vjp with two leaves: number of gradients");
    // Exponential (4 epsilons with the truth's), two products, and three terms over the broadcast axis.
    for (leaf, (gradient, expected)) in gradients.into_iter().zip(&expected).enumerate() {
        compare(backend, format_args!("vjp of exp([3, 5]) * [5], leaf {leaf}"), Ok(gradient), expected, |position| {
            let magnitude = if leaf == 0 { expected.values[position].abs() } else { magnitude.values[position] };
            10.0 * epsilon::<B>() * magnitude
        });
    }
}
