//! Gradients against difference quotients.

#![allow(clippy::missing_panics_doc, reason = "a check fails by panicking")]

use super::array::Array;
use super::check::{compare, epsilon, layouts, succeed, upload};
use super::generator::Generator;
use super::truth;
use crate::{AttributionBackend, BackendError, Binary, Reduce, Unary};

/// Step of the difference quotients, a power of two so that moving an operand by it is exact.
const STEP: f64 = 1.0 / 1024.0;

/// How far the difference quotient of an output may be from its derivative.
///
/// Five points leave `STEP^4 / 30` times the fifth derivative, which none of the functions here lets exceed 250
/// (`2/x` at 1 has 240): 7.6e-12. Rounding an output of magnitude 4 by 16 units leaves `1.5 * 16 * 4 * 2^-53 / STEP`:
/// 1.1e-11.
const QUOTIENT_ERROR: f64 = 2e-11;

/// Roundings on one path from an output back to a leaf's element, including those of the forward values that the
/// derivative is made of; the longest, of the tanh GELU, has some 30.
const ROUNDINGS: f64 = 32.0;

/// The derivative of each output of `function` with respect to one element of one leaf.
fn derivatives(function: &impl Fn(&[Array]) -> Array, leaves: &[Array], leaf: usize, element: usize) -> Vec<f64> {
    let at = |offset: f64| {
        let mut moved = leaves.to_vec();
        moved[leaf].values[element] += offset;
        function(&moved).values
    };
    let (near, far) = ([at(STEP), at(-STEP)], [at(2.0 * STEP), at(-2.0 * STEP)]);
    (0..near[0].len())
        .map(|output| (8.0 * (near[0][output] - near[1][output]) - (far[0][output] - far[1][output])) / (12.0 * STEP))
        .collect()
}

/// Compares the gradients of `sum(cotangent * function(leaves))`, for a random cotangent and for leaves in every
/// layout, with difference quotients of `truth`.
///
/// Each output that depends on an element contributes its share of the error: its cotangent times the error of the
/// quotient and the roundings of the path, weighted by the derivative or by 1 (intermediate values such as
/// probabilities may exceed the derivative, but not 1), and one rounding more for each term of the sum. Where no
/// output depends on the element, the gradient is exactly 0.
fn check<B: AttributionBackend>(
    backend: &B,
    what: &str,
    leaves: &[Array],
    truth: impl Fn(&[Array]) -> Array,
    function: impl Fn(&[B::Tensor]) -> Result<B::Tensor, BackendError>,
) {
    let outputs = truth(leaves);
    let cotangent = Generator::new(60).array::<B::Element>(&outputs.shape, -1.0..1.0);
    let mut expected = Vec::new();
    for leaf in 0..leaves.len() {
        let (mut gradient, mut tolerances) = (Vec::new(), Vec::new());
        for element in 0..leaves[leaf].values.len() {
            let derivatives = derivatives(&truth, leaves, leaf, element);
            let affected = derivatives.iter().filter(|&&derivative| derivative != 0.0).count() as f64;
            let mut sum = 0.0;
            let mut tolerance = 0.0;
            for (derivative, cotangent) in derivatives.iter().zip(&cotangent.values) {
                if *derivative != 0.0 {
                    let rounding = (ROUNDINGS + affected) * epsilon::<B>() * (1.0 + derivative.abs());
                    sum += derivative * cotangent;
                    tolerance += cotangent.abs() * (rounding + QUOTIENT_ERROR);
                }
            }
            gradient.push(sum);
            tolerances.push(tolerance);
        }
        expected.push((Array::new(&leaves[leaf].shape, gradient), tolerances));
    }

    let cotangent = upload(backend, &cotangent);
    // Leaf by leaf the layouts differ in number with the rank; the last of the shorter ones stands for the rest.
    let layouts: Vec<_> = leaves.iter().map(|leaf| layouts(backend, leaf)).collect();
    let most = layouts.iter().map(Vec::len).max().unwrap_or(1);
    for at in 0..most {
        let chosen: Vec<_> = layouts.iter().map(|layouts| layouts[at.min(layouts.len() - 1)].clone()).collect();
        let tensors: Vec<_> = chosen.iter().map(|(_, tensor)| tensor.clone()).collect();
        let gradients = backend.grad(&tensors, |leaves| backend.sum_all(&backend.mul(&function(leaves)?, &cotangent)?));
        let gradients = succeed(format_args!("gradient of {what}"), gradients);
        assert_eq!(gradients.len(), leaves.len(), "gradient of {what}: number of gradients");
        for (leaf, (gradient, (expected, tolerances))) in gradients.into_iter().zip(&expected).enumerate() {
            let what = format!("gradient of {what}, leaf {leaf} ({} {:?})", chosen[leaf].0, expected.shape);
            compare(backend, what, Ok(gradient), expected, |position| tolerances[position]);
        }
    }
}

/// Operands that keep away from poles and branch points: in `[1, 2]` the difference quotient moves past 1 by two
/// steps at most.
fn operand<B: AttributionBackend>(seed: u64, shape: &[usize]) -> Array {
    Generator::new(seed).array::<B::Element>(shape, 1.0..2.0)
}

fn signed_operand<B: AttributionBackend>(seed: u64, shape: &[usize]) -> Array {
    Generator::new(seed).array::<B::Element>(shape, -2.0..2.0)
}

/// Every unary operation.
pub fn unary<B: AttributionBackend>(backend: &B) {
    for shape in [&[1][..], &[7], &[2, 3, 5]] {
        for operation in Unary::ALL {
            let x = match operation {
                Unary::Sqrt => operand::<B>(61, shape),
                _ => signed_operand::<B>(61, shape),
            };
            check(
                backend,
                &operation.to_string(),
                &[x],
                |leaves| leaves[0].map(|x| truth::unary(operation, x)),
                |leaves| backend.unary(operation, &leaves[0]),
            );
        }
    }
}

/// Both operands of every binary operation, and each while the other is a constant.
fn check_binary<B: AttributionBackend>(backend: &B, lhs: &[usize], rhs: &[usize]) {
    let (lhs, rhs) = (signed_operand::<B>(62, lhs), operand::<B>(63, rhs));
    let (left, right) = (upload(backend, &lhs), upload(backend, &rhs));
    for operation in Binary::ALL {
        let what = format!("{operation} of {:?} and {:?}", lhs.shape, rhs.shape);
        check(
            backend,
            &what,
            &[lhs.clone(), rhs.clone()],
            |leaves| truth::binary(operation, &leaves[0], &leaves[1]),
            |leaves| backend.binary(operation, &leaves[0], &leaves[1]),
        );
        check(
            backend,
            &format!("{what}, the right one a constant"),
            std::slice::from_ref(&lhs),
            |leaves| truth::binary(operation, &leaves[0], &rhs),
            |leaves| backend.binary(operation, &leaves[0], &right),
        );
        check(
            backend,
            &format!("{what}, the left one a constant"),
            std::slice::from_ref(&rhs),
            |leaves| truth::binary(operation, &lhs, &leaves[0]),
            |leaves| backend.binary(operation, &left, &leaves[0]),
        );
    }
}

/// Every binary operation on operands of one shape.
pub fn binary<B: AttributionBackend>(backend: &B) {
    for shape in [&[1][..], &[7], &[2, 3, 2]] {
        check_binary(backend, shape, shape);
    }
}

/// The gradient of a broadcast operand has the operand's shape: it is summed over the axes that repeat.
pub fn binary_sums_over_broadcast_axes<B: AttributionBackend>(backend: &B) {
    let shapes: &[(&[usize], &[usize])] = &[
        (&[5], &[1]),
        (&[2, 3], &[3]),
        (&[2, 3], &[2, 1]),
        (&[2, 1], &[1, 3]),
        (&[1, 1], &[1]),
        (&[2, 1, 3], &[4, 1]),
        (&[2, 1, 3, 1], &[1, 2, 1, 2]),
        (&[2, 3, 2], &[1, 1, 1]),
        (&[1, 2, 1], &[3, 1, 2, 2]),
    ];
    for &(lhs, rhs) in shapes {
        check_binary(backend, lhs, rhs);
        check_binary(backend, rhs, lhs);
    }
}

/// Sums along every axis.
pub fn sum<B: AttributionBackend>(backend: &B) {
    let x = signed_operand::<B>(64, &[2, 3, 4]);
    for axis in 0..3 {
        check(
            backend,
            &format!("sum along {axis}"),
            std::slice::from_ref(&x),
            |leaves| truth::sum(&leaves[0], axis),
            |leaves| backend.reduce(Reduce::Sum, &leaves[0], axis),
        );
    }
}

/// Both operands of matrix products, with and without batches that broadcast.
pub fn matmul<B: AttributionBackend>(backend: &B) {
    let shapes: &[(&[usize], &[usize])] = &[
        (&[1, 1], &[1, 1]),
        (&[2, 3], &[3, 4]),
        (&[5, 1], &[1, 3]),
        (&[1, 5], &[5, 1]),
        (&[2, 2, 3], &[2, 3, 2]),
        (&[2, 2, 3], &[3, 4]),
        (&[2, 3], &[2, 3, 2]),
        (&[1, 2, 3], &[3, 3, 2]),
        (&[2, 1, 3, 2, 2], &[2, 2, 1, 2, 3]),
    ];
    for &(lhs, rhs) in shapes {
        let (lhs, rhs) = (signed_operand::<B>(65, lhs), signed_operand::<B>(66, rhs));
        check(
            backend,
            &format!("matmul of {:?} and {:?}", lhs.shape, rhs.shape),
            &[lhs, rhs],
            |leaves| truth::matmul(&leaves[0], &leaves[1]),
            |leaves| backend.matmul(&leaves[0], &leaves[1]),
        );
    }
}

/// A reshape, of permuted tensors too.
pub fn reshape<B: AttributionBackend>(backend: &B) {
    for (from, to) in [(&[2, 3, 4][..], &[4, 6][..]), (&[6], &[1, 2, 3]), (&[2, 3], &[6])] {
        check(
            backend,
            &format!("reshape to {to:?}"),
            &[signed_operand::<B>(67, from)],
            |leaves| truth::reshape(&leaves[0], to),
            |leaves| backend.reshape(&leaves[0], to),
        );
    }
}

/// A permutation that is not its own inverse.
pub fn permute<B: AttributionBackend>(backend: &B) {
    for axes in [[2, 0, 1], [1, 2, 0], [0, 2, 1]] {
        check(
            backend,
            &format!("permute by {axes:?}"),
            &[signed_operand::<B>(68, &[2, 3, 4])],
            |leaves| truth::permute(&leaves[0], &axes),
            |leaves| backend.permute(&leaves[0], &axes),
        );
    }
}

/// A selection along every axis; what was not selected gets exactly 0.
pub fn select<B: AttributionBackend>(backend: &B) {
    check_select(backend, &[2, 1]);
    check_select(backend, &[0]);
    check_select(backend, &[]);
}

/// An index that comes more than once gets the sum of its gradients.
pub fn select_accumulates_repeated_indices<B: AttributionBackend>(backend: &B) {
    check_select(backend, &[2, 0, 2, 2]);
    check_select(backend, &[1, 1]);
}

fn check_select<B: AttributionBackend>(backend: &B, indices: &[usize]) {
    for axis in 0..3 {
        check(
            backend,
            &format!("select of {indices:?} along {axis}"),
            &[signed_operand::<B>(69, &[3, 4, 3])],
            |leaves| truth::select(&leaves[0], axis, indices),
            |leaves| backend.select(&leaves[0], axis, indices),
        );
    }
}

/// What lies outside the range gets zeros.
pub fn narrow<B: AttributionBackend>(backend: &B) {
    for axis in 0..3 {
        for range in [0..3, 1..2, 1..3, 0..0] {
            check(
                backend,
                &format!("narrow to {range:?} along {axis}"),
                &[signed_operand::<B>(68, &[3, 4, 3])],
                |leaves| truth::select(&leaves[0], axis, &range.clone().collect::<Vec<_>>()),
                |leaves| backend.narrow(&leaves[0], axis, range.start, range.len()),
            );
        }
    }
}

/// Means along every axis.
pub fn mean<B: AttributionBackend>(backend: &B) {
    for axis in 0..3 {
        check(
            backend,
            &format!("mean along {axis}"),
            &[signed_operand::<B>(70, &[2, 3, 4])],
            |leaves| truth::mean(&leaves[0], axis),
            |leaves| backend.mean(&leaves[0], axis),
        );
    }
}

/// Softmax along every axis.
pub fn softmax<B: AttributionBackend>(backend: &B) {
    for axis in 0..3 {
        check(
            backend,
            &format!("softmax along {axis}"),
            &[signed_operand::<B>(71, &[2, 3, 4])],
            |leaves| truth::softmax(&leaves[0], axis),
            |leaves| backend.softmax(&leaves[0], axis),
        );
    }
}

/// Causal attention probabilities: nothing flows into a masked score, and nothing becomes NaN.
pub fn softmax_of_masked_logits<B: AttributionBackend>(backend: &B) {
    let mask = Array::from_fn(&[4, 4], |index| if index[1] > index[0] { f64::NEG_INFINITY } else { 0.0 });
    let mask_tensor = upload(backend, &mask);
    check(
        backend,
        "softmax of masked scores",
        &[signed_operand::<B>(72, &[2, 4, 4])],
        |leaves| truth::softmax(&truth::binary(Binary::Add, &leaves[0], &mask), 2),
        |leaves| backend.softmax(&backend.add(&leaves[0], &mask_tensor)?, 2),
    );
}

/// GELU in its tanh form.
pub fn gelu_tanh<B: AttributionBackend>(backend: &B) {
    check(
        backend,
        "gelu_tanh",
        &[signed_operand::<B>(73, &[3, 7])],
        |leaves| leaves[0].map(truth::gelu_tanh),
        |leaves| backend.gelu_tanh(&leaves[0]),
    );
}

/// GELU in its exact form.
pub fn gelu_erf<B: AttributionBackend>(backend: &B) {
    check(
        backend,
        "gelu_erf",
        &[signed_operand::<B>(74, &[3, 7])],
        |leaves| leaves[0].map(truth::gelu_erf),
        |leaves| backend.gelu_erf(&leaves[0]),
    );
}

/// Elements of a flattened tensor, some of them twice.
pub fn gather<B: AttributionBackend>(backend: &B) {
    let indices = [7, 0, 7, 11, 3];
    check(
        backend,
        "gather",
        &[signed_operand::<B>(75, &[3, 4])],
        |leaves| truth::select(&truth::reshape(&leaves[0], &[12]), 0, &indices),
        |leaves| backend.gather(&leaves[0], &indices),
    );
}

/// Operations together, as one head of attention puts them: `softmax(q k^T / 2 + mask) v`, with respect to all three.
pub fn attention<B: AttributionBackend>(backend: &B) {
    let operand = |seed| Generator::new(seed).array::<B::Element>(&[2, 3, 4], -1.0..1.0);
    let mask = Array::from_fn(&[3, 3], |index| if index[1] > index[0] { f64::NEG_INFINITY } else { 0.0 });
    let mask_tensor = upload(backend, &mask);
    check(
        backend,
        "attention",
        &[operand(76), operand(77), operand(78)],
        |leaves| {
            let scores = truth::matmul(&leaves[0], &truth::permute(&leaves[1], &[0, 2, 1])).map(|score| score / 2.0);
            truth::matmul(&truth::softmax(&truth::binary(Binary::Add, &scores, &mask), 2), &leaves[2])
        },
        |leaves| {
            let scores = backend.matmul(&leaves[0], &backend.permute(&leaves[1], &[0, 2, 1])?)?;
            let scores = backend.add(&backend.scale(&scores, 0.5)?, &mask_tensor)?;
            backend.matmul(&backend.softmax(&scores, 2)?, &leaves[2])
        },
    );
}

/// A leaf that takes part twice gets both gradients: `d/dx (x * tanh(x) + x)`.
pub fn leaf_used_twice<B: AttributionBackend>(backend: &B) {
    check(
        backend,
        "x * tanh(x) + x",
        &[signed_operand::<B>(79, &[2, 3])],
        |leaves| leaves[0].map(|x| x * x.tanh() + x),
        |leaves| {
            let x = &leaves[0];
            backend.add(&backend.mul(x, &backend.unary(Unary::Tanh, x)?)?, x)
        },
    );
    check(
        backend,
        "x * x with both operands the same tensor",
        &[signed_operand::<B>(80, &[2, 3])],
        |leaves| leaves[0].map(|x| x * x),
        |leaves| backend.mul(&leaves[0], &leaves[0]),
    );
}

/// A leaf that the function does not use gets zeros of its own shape.
pub fn leaf_not_used<B: AttributionBackend>(backend: &B) {
    check(
        backend,
        "the second of three leaves",
        &[signed_operand::<B>(81, &[2, 3]), signed_operand::<B>(82, &[3]), signed_operand::<B>(83, &[4, 1])],
        |leaves| leaves[1].map(f64::exp),
        |leaves| backend.unary(Unary::Exp, &leaves[1]),
    );
}

/// A function that uses no leaf, or none but detached, has gradient zero.
pub fn constant_function<B: AttributionBackend>(backend: &B) {
    let constant = signed_operand::<B>(84, &[3]);
    let tensor = upload(backend, &constant);
    let leaves = [signed_operand::<B>(85, &[2, 3])];
    check(backend, "a captured tensor", &leaves, |_| constant.clone(), |_| Ok(tensor.clone()));
    check(backend, "a detached leaf", &leaves, |_| leaves[0].clone(), |leaves| Ok(backend.detach(&leaves[0])));
    let number = backend.grad(&[upload(backend, &leaves[0])], |_| backend.scalar(1.0));
    let number = succeed("gradient of a number made inside", number);
    compare(backend, "gradient of a number made inside", Ok(number[0].clone()), &leaves[0].map(|_| 0.0), |_| 0.0);
}

/// The gradient of a leaf with respect to itself is 1.
pub fn leaf_itself<B: AttributionBackend>(backend: &B) {
    for shape in [&[1][..], &[1, 1, 1]] {
        let one = Array::from_fn(shape, |_| 1.0);
        let gradients = backend.grad(&[upload(backend, &one.map(|_| 2.5))], |leaves| Ok(leaves[0].clone()));
        let gradients = succeed(format_args!("gradient of a leaf {shape:?} itself"), gradients);
        let what = format!("gradient of a leaf {shape:?} itself");
        compare(backend, what, Ok(gradients[0].clone()), &one, |_| 0.0);
    }
}

/// Without leaves there are no gradients, and no failure.
pub fn no_leaves<B: AttributionBackend>(backend: &B) {
    let gradients = succeed("gradient with no leaves", backend.grad(&[], |_| backend.scalar(1.0)));
    assert!(gradients.is_empty(), "gradient with no leaves: got {} gradients, expected none", gradients.len());
}

/// One tensor given as two leaves is two variables: of `a * exp(b)` at `a = b = x`, not of `x * exp(x)`.
pub fn one_tensor_as_two_leaves<B: AttributionBackend>(backend: &B) {
    let x = Array::new(&[1], vec![0.5]);
    let tensor = upload(backend, &x);
    let gradients = backend
        .grad(&[tensor.clone(), tensor], |leaves| backend.mul(&leaves[0], &backend.unary(Unary::Exp, &leaves[1])?));
    let gradients = succeed("gradient of a * exp(b), one tensor as both", gradients);
    let exp = 0.5_f64.exp();
    // An exponential and two products: 4 and 2 epsilons.
    let tolerance = 6.0 * epsilon::<B>() * exp;
    for (leaf, expected) in [exp, 0.5 * exp].into_iter().enumerate() {
        let what = format!("gradient of a * exp(b), one tensor as both, leaf {leaf}");
        compare(backend, what, Ok(gradients[leaf].clone()), &Array::new(&[1], vec![expected]), |_| tolerance);
    }
}

/// A tensor captured from outside is a constant, even the one that was given as leaf: `d/dx (x * captured x)` is the
/// captured x.
pub fn captured_tensor_is_constant<B: AttributionBackend>(backend: &B) {
    let x = signed_operand::<B>(86, &[2, 3]);
    let tensor = upload(backend, &x);
    let gradients =
        backend.grad(std::slice::from_ref(&tensor), |leaves| backend.sum_all(&backend.mul(&leaves[0], &tensor)?));
    let gradients = succeed("gradient of x * captured x", gradients);
    // A product with the cotangent 1 rounds nothing.
    compare(backend, "gradient of x * captured x", Ok(gradients[0].clone()), &x, |_| 0.0);
}

/// No gradient flows through `detach`, at a leaf or in the middle of the function, while other paths stay open.
pub fn detach_cuts_the_path<B: AttributionBackend>(backend: &B) {
    let x = signed_operand::<B>(87, &[2, 3]);
    check(
        backend,
        "x * detach(x)",
        std::slice::from_ref(&x),
        |leaves| truth::binary(Binary::Mul, &leaves[0], &x),
        |leaves| backend.mul(&leaves[0], &backend.detach(&leaves[0])),
    );
    let tanh = x.map(f64::tanh);
    check(
        backend,
        "exp(x) + exp(detach(tanh(x)))",
        std::slice::from_ref(&x),
        |leaves| truth::binary(Binary::Add, &leaves[0].map(f64::exp), &tanh.map(f64::exp)),
        |leaves| {
            let cut = backend.detach(&backend.unary(Unary::Tanh, &leaves[0])?);
            backend.add(&backend.unary(Unary::Exp, &leaves[0])?, &backend.unary(Unary::Exp, &cut)?)
        },
    );
}

/// A leaf with an axis of length 0 gets an empty gradient of its shape, and does not disturb the others.
pub fn empty_leaf<B: AttributionBackend>(backend: &B) {
    let empty = Array::new(&[0, 3], Vec::new());
    let other = signed_operand::<B>(88, &[3]);
    check(
        backend,
        "sum([0, 3]) + tanh([3])",
        &[empty, other],
        |leaves| {
            let sum = truth::reshape(&truth::sum(&leaves[0], 0), &[3]);
            truth::binary(Binary::Add, &sum, &leaves[1].map(f64::tanh))
        },
        |leaves| {
            let sum = backend.reshape(&backend.sum(&leaves[0], 0)?, &[3])?;
            backend.add(&sum, &backend.unary(Unary::Tanh, &leaves[1])?)
        },
    );
}

/// Many calls on the same tensors: nothing of one is left in the next.
pub fn many_calls_in_a_row<B: AttributionBackend>(backend: &B) {
    let x = signed_operand::<B>(89, &[2, 3]);
    let weights = signed_operand::<B>(90, &[3, 2]);
    let weights_tensor = upload(backend, &weights);
    for call in 0..50 {
        check(
            backend,
            &format!("tanh(x) w in call {call}"),
            std::slice::from_ref(&x),
            |leaves| truth::matmul(&leaves[0].map(f64::tanh), &weights),
            |leaves| backend.matmul(&backend.unary(Unary::Tanh, &leaves[0])?, &weights_tensor),
        );
    }
}

/// A gradient is a tensor like any other: it is a constant to the next call, and may be its leaf.
pub fn gradients_are_untracked<B: AttributionBackend>(backend: &B) {
    let x = signed_operand::<B>(91, &[2, 3]);
    let tensor = upload(backend, &x);
    let gradients =
        backend.grad(&[tensor], |leaves| backend.scale(&backend.sum_all(&backend.mul(&leaves[0], &leaves[0])?)?, 0.5));
    // The gradient of x^2/2 is x: doubling and halving are exact.
    let gradient = succeed("gradient of x * x / 2", gradients).remove(0);
    compare(backend, "gradient of x * x / 2", Ok(gradient.clone()), &x, |_| 0.0);
    let second =
        backend.grad(std::slice::from_ref(&gradient), |leaves| backend.sum_all(&backend.mul(&leaves[0], &gradient)?));
    let second = succeed("gradient with a gradient as leaf and as constant", second);
    compare(backend, "gradient with a gradient as leaf and as constant", Ok(second[0].clone()), &x, |_| 0.0);
}

/// A single number may come with any number of axes of length 1.
pub fn single_number_of_any_rank<B: AttributionBackend>(backend: &B) {
    let x = signed_operand::<B>(92, &[4]);
    for shape in [&[1][..], &[1, 1], &[1, 1, 1]] {
        let gradients =
            backend.grad(&[upload(backend, &x)], |leaves| backend.reshape(&backend.sum(&leaves[0], 0)?, shape));
        let what = format!("gradient of a sum of shape {shape:?}");
        let gradients = succeed(&what, gradients);
        compare(backend, what, Ok(gradients[0].clone()), &x.map(|_| 1.0), |_| 0.0);
    }
}
