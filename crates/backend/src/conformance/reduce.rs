//! Sums and maxima along an axis.

#![allow(clippy::missing_panics_doc, reason = "a check fails by panicking")]

use super::array::Array;
use super::check::{LENGTHS, compare, compare_exact, epsilon, layouts, rounded, upload};
use super::generator::Generator;
use super::truth;
use crate::{AttributionBackend, Reduce};

fn operands<B: AttributionBackend>(seed: u64) -> Vec<Array> {
    let mut shapes = vec![vec![3, 5, 7], vec![2, 3, 4, 5], vec![1, 1], vec![64, 129], vec![2, 1, 3, 2, 3]];
    for length in LENGTHS {
        shapes.extend([vec![length], vec![3, length], vec![length, 3]]);
    }
    let mut generator = Generator::new(seed);
    shapes.iter().map(|shape| generator.array::<B::Element>(shape, -1.0..1.0)).collect()
}

/// Sums along every axis, at every length and layout.
///
/// A sum of n terms in any order is off by at most `n * epsilon/2 * sum(|term|)`, in the backend and in the truth.
pub fn sum<B: AttributionBackend>(backend: &B) {
    for array in operands::<B>(21) {
        for (layout, tensor) in layouts(backend, &array) {
            for axis in 0..array.shape.len() {
                let expected = truth::sum(&array, axis);
                let magnitude = truth::sum(&array.abs(), axis);
                let terms = array.shape[axis] as f64;
                let what = format!("sum of {layout} {:?} along {axis}", array.shape);
                compare(backend, what, backend.reduce(Reduce::Sum, &tensor, axis), &expected, |position| {
                    terms * epsilon::<B>() * magnitude.values[position]
                });
            }
        }
    }
}

/// A sum of no terms is 0; a sum along another axis of an empty tensor is empty.
pub fn sum_of_an_empty_axis_is_zero<B: AttributionBackend>(backend: &B) {
    for shape in [&[0][..], &[2, 0], &[0, 2], &[2, 0, 3], &[0, 0]] {
        let array = Array::new(shape, Vec::new());
        for (layout, tensor) in layouts(backend, &array) {
            for axis in 0..shape.len() {
                let what = format!("sum of {layout} {shape:?} along {axis}");
                compare_exact(backend, what, backend.reduce(Reduce::Sum, &tensor, axis), &truth::sum(&array, axis));
            }
        }
    }
}

/// Maxima along every axis, at every length and layout; among negative numbers too.
pub fn max<B: AttributionBackend>(backend: &B) {
    for array in operands::<B>(22) {
        let negative = array.map(|x| -x.abs() - 1.0);
        for array in [array, rounded::<B>(&negative)] {
            for (layout, tensor) in layouts(backend, &array) {
                for axis in 0..array.shape.len() {
                    let what = format!("max of {layout} {:?} along {axis}", array.shape);
                    compare_exact(backend, what, backend.reduce(Reduce::Max, &tensor, axis), &truth::max(&array, axis));
                }
            }
        }
    }
}

/// `-inf` loses against every number and is the maximum of itself.
pub fn max_of_infinities<B: AttributionBackend>(backend: &B) {
    for length in LENGTHS {
        let array = Array::from_fn(&[4, length], |index| match index {
            [0, _] => f64::NEG_INFINITY,
            [1, at] if at + 1 < length => f64::NEG_INFINITY,
            [2, 0] => f64::INFINITY,
            _ => -1e30,
        });
        let array = rounded::<B>(&array);
        let max = backend.reduce(Reduce::Max, &upload(backend, &array), 1);
        compare_exact(backend, format_args!("max of infinities [4, {length}] along 1"), max, &truth::max(&array, 1));
    }
}
