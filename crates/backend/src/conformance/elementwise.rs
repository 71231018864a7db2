//! Unary and binary operations.

#![allow(clippy::missing_panics_doc, reason = "a check fails by panicking")]

use super::array::Array;
use super::check::{LENGTHS, compare, compare_exact, epsilon, layouts, rounded, smallest, upload};
use super::generator::Generator;
use super::truth;
use crate::{AttributionBackend, Binary, Unary};

/// How far a unary operation may be off, in epsilons of the result.
///
/// Negation is exact. Square root rounds once; a device may spend two units in the last place on them.
/// Libraries keep exponential, tanh and erf within two units, and so does the standard library that the truth is
/// computed with; the truth's own erf takes 8 epsilons of float64.
fn unary_tolerance<B: AttributionBackend>(operation: Unary) -> f64 {
    match operation {
        Unary::Neg => 0.0,
        Unary::Sqrt => 2.0 * epsilon::<B>(),
        Unary::Exp | Unary::Tanh => 4.0 * epsilon::<B>(),
        Unary::Erf => 4.0 * epsilon::<B>() + 8.0 * f64::EPSILON,
    }
}

fn check_unary<B: AttributionBackend>(backend: &B, operation: Unary, operand: &Array) {
    let expected = operand.map(|x| truth::unary(operation, x));
    let relative = unary_tolerance::<B>(operation);
    for (layout, tensor) in layouts(backend, operand) {
        let what = format!("{operation} of {layout} {:?}", operand.shape);
        compare(backend, what, backend.unary(operation, &tensor), &expected, |position| {
            relative * expected.values[position].abs() + if relative > 0.0 { smallest::<B>() } else { 0.0 }
        });
    }
}

/// Every unary operation at every length and layout, on ordinary numbers.
pub fn unary<B: AttributionBackend>(backend: &B) {
    let mut generator = Generator::new(11);
    let lengths = LENGTHS.map(|length| vec![length]);
    for shape in lengths.iter().map(Vec::as_slice).chain([&[3, 5, 7][..], &[2, 3, 4, 5], &[17, 65], &[0], &[2, 0, 3]]) {
        for operation in Unary::ALL {
            let range = if operation == Unary::Sqrt { 0.0..4.0 } else { -4.0..4.0 };
            check_unary(backend, operation, &generator.array::<B::Element>(shape, range));
        }
    }
}

/// Relative accuracy over the whole range of arguments for which the result is a normal number.
pub fn unary_is_accurate_over_its_range<B: AttributionBackend>(backend: &B) {
    let mut generator = Generator::new(12);
    for (operation, range) in [
        (Unary::Neg, -1e30..1e30),
        // f32 holds exp from -87 to 88.
        (Unary::Exp, -85.0..85.0),
        (Unary::Tanh, -12.0..12.0),
        (Unary::Erf, -7.0..7.0),
        (Unary::Sqrt, 0.0..1e30),
    ] {
        check_unary(backend, operation, &generator.array::<B::Element>(&[2000], range));
    }
    let steps = (-30..=30).flat_map(|exponent| [10_f64.powi(exponent), 3.7 * 10_f64.powi(exponent)]);
    let steps = rounded::<B>(&Array::new(&[122], steps.collect()));
    check_unary(backend, Unary::Sqrt, &steps);
    // Far outside, the functions have settled at their limits.
    let far = Array::new(&[6], vec![20.0, -20.0, 100.0, -100.0, 1e30, -1e30]);
    check_unary(backend, Unary::Tanh, &rounded::<B>(&far));
    check_unary(backend, Unary::Erf, &rounded::<B>(&far));
}

/// Relative accuracy on arguments near zero, where `tanh(x)` is `x` and `erf(x)` is `2/sqrt(pi) x`: forms that
/// subtract from 1 have nothing left there.
pub fn unary_is_accurate_near_zero<B: AttributionBackend>(backend: &B) {
    let values = (0..=30).flat_map(|exponent| {
        let x = 0.73 * 10_f64.powi(-exponent);
        [x, -x]
    });
    let array = rounded::<B>(&Array::new(&[62], values.collect()));
    for operation in [Unary::Neg, Unary::Exp, Unary::Tanh, Unary::Erf] {
        check_unary(backend, operation, &array);
    }
    for operation in [Unary::Neg, Unary::Tanh, Unary::Erf, Unary::Sqrt] {
        let zero = Array::new(&[1], vec![0.0]);
        compare_exact(
            backend,
            format_args!("{operation} of zero"),
            backend.unary(operation, &upload(backend, &zero)),
            &zero,
        );
    }
}

/// Limits at the infinities.
pub fn unary_of_infinities<B: AttributionBackend>(backend: &B) {
    let infinities = Array::new(&[2], vec![f64::INFINITY, f64::NEG_INFINITY]);
    let tensor = upload(backend, &infinities);
    for operation in [Unary::Neg, Unary::Exp, Unary::Tanh, Unary::Erf] {
        let expected = infinities.map(|x| truth::unary(operation, x));
        compare_exact(backend, format_args!("{operation} of infinities"), backend.unary(operation, &tensor), &expected);
    }
}

/// Masked attention scores are `-inf`; their exponential is exactly 0, wherever they stand among other numbers.
pub fn exp_of_minus_infinity_is_zero<B: AttributionBackend>(backend: &B) {
    for length in LENGTHS {
        let array = Array::from_fn(&[length], |index| if index[0] % 3 == 2 { 0.0 } else { f64::NEG_INFINITY });
        let expected = array.map(|x| if x == 0.0 { 1.0 } else { 0.0 });
        let exp = backend.unary(Unary::Exp, &upload(backend, &array));
        compare_exact(backend, format_args!("exp of -inf in [{length}]"), exp, &expected);
    }
}

/// Sum, difference and product round once, in the backend and in the truth: half an epsilon each. A device may spend
/// two units in the last place on a quotient.
fn binary_tolerance<B: AttributionBackend>(operation: Binary) -> f64 {
    match operation {
        Binary::Add | Binary::Sub | Binary::Mul => epsilon::<B>(),
        Binary::Div => 2.0 * epsilon::<B>(),
    }
}

fn check_binary<B: AttributionBackend>(backend: &B, lhs: &Array, rhs: &Array) {
    let (lhs_layouts, rhs_layouts) = (layouts(backend, lhs), layouts(backend, rhs));
    for operation in Binary::ALL {
        let expected = truth::binary(operation, lhs, rhs);
        let relative = binary_tolerance::<B>(operation);
        for (lhs_layout, lhs_tensor) in &lhs_layouts {
            for (rhs_layout, rhs_tensor) in &rhs_layouts {
                let what = format!("{operation} of {lhs_layout} {:?} and {rhs_layout} {:?}", lhs.shape, rhs.shape);
                compare(backend, what, backend.binary(operation, lhs_tensor, rhs_tensor), &expected, |position| {
                    relative * expected.values[position].abs()
                });
            }
        }
    }
}

fn check_binary_shapes<B: AttributionBackend>(backend: &B, seed: u64, shapes: &[(&[usize], &[usize])]) {
    let mut generator = Generator::new(seed);
    for (lhs, rhs) in shapes {
        let lhs = generator.array::<B::Element>(lhs, -4.0..4.0);
        let rhs = generator.array::<B::Element>(rhs, 0.5..4.0);
        check_binary(backend, &lhs, &rhs);
    }
}

/// Every binary operation at every length and layout, on tensors of one shape.
pub fn binary<B: AttributionBackend>(backend: &B) {
    for length in LENGTHS {
        check_binary_shapes(backend, 13, &[(&[length], &[length])]);
    }
    for shape in [&[3, 5, 7][..], &[17, 65], &[2, 3, 4, 5], &[1, 1, 1]] {
        check_binary_shapes(backend, 14, &[(shape, shape)]);
    }
}

/// Axes of length 1 repeat, in all positions and several at once; missing leading axes are taken as such.
pub fn binary_broadcasts<B: AttributionBackend>(backend: &B) {
    let shapes: &[(&[usize], &[usize])] = &[
        (&[7], &[1]),
        (&[2, 3], &[3]),
        (&[2, 3], &[1]),
        (&[2, 3], &[2, 1]),
        (&[2, 3], &[1, 3]),
        (&[2, 1], &[1, 3]),
        (&[1, 1], &[1]),
        (&[5, 1, 7], &[1, 3, 1]),
        (&[5, 1, 7], &[3, 1]),
        (&[5, 3, 7], &[5, 1, 1]),
        (&[5, 3, 7], &[1, 3, 1]),
        (&[1, 1, 1], &[2, 3, 5]),
        (&[2, 3, 5, 7], &[5, 1]),
        (&[2, 3, 5, 7], &[3, 1, 7]),
        (&[2, 1, 3, 1], &[1, 4, 1, 5]),
        (&[2, 1, 1, 3, 2], &[4, 1, 3, 1]),
        (&[17, 33], &[33]),
        (&[65, 129], &[65, 1]),
    ];
    for &(lhs, rhs) in shapes {
        check_binary_shapes(backend, 15, &[(lhs, rhs), (rhs, lhs)]);
    }
}

/// An axis of length 0 broadcasts with 0 and with 1, and gives nothing.
pub fn binary_of_empty<B: AttributionBackend>(backend: &B) {
    let shapes: &[(&[usize], &[usize])] =
        &[(&[0], &[0]), (&[0], &[1]), (&[2, 0, 3], &[3]), (&[2, 0], &[2, 1]), (&[0, 1], &[1, 5]), (&[3, 1], &[0])];
    for &(lhs, rhs) in shapes {
        check_binary_shapes(backend, 16, &[(lhs, rhs), (rhs, lhs)]);
    }
}

/// Both operands may be one tensor: `x - x` is 0 and `x / x` is 1, exactly.
pub fn binary_of_a_tensor_with_itself<B: AttributionBackend>(backend: &B) {
    let array = Generator::new(17).array::<B::Element>(&[3, 17], 1.0..2.0);
    for (layout, tensor) in layouts(backend, &array) {
        for operation in Binary::ALL {
            let expected = array.map(|x| truth::scalar_binary(operation, x, x));
            let relative = binary_tolerance::<B>(operation);
            let what = format!("{operation} of {layout} [3, 17] with itself");
            compare(backend, what, backend.binary(operation, &tensor, &tensor), &expected, |position| {
                relative * expected.values[position].abs()
            });
        }
    }
}

/// A mask of `-inf` added to scores leaves `-inf`, and nothing else is touched.
pub fn binary_of_infinities<B: AttributionBackend>(backend: &B) {
    let scores = Generator::new(18).array::<B::Element>(&[3, 4, 4], -4.0..4.0);
    let mask = Array::from_fn(&[4, 4], |index| if index[1] > index[0] { f64::NEG_INFINITY } else { 0.0 });
    let masked = backend.binary(Binary::Add, &upload(backend, &scores), &upload(backend, &mask));
    compare_exact(
        backend,
        "add of [3, 4, 4] and a mask [4, 4] of -inf",
        masked,
        &truth::binary(Binary::Add, &scores, &mask),
    );
}
