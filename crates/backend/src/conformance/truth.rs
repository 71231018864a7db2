//! What each operation gives, in float64 and by plain loops.

use super::array::Array;
use crate::{Binary, Unary};

pub(super) fn unary(operation: Unary, x: f64) -> f64 {
    match operation {
        Unary::Neg => -x,
        Unary::Exp => x.exp(),
        Unary::Tanh => x.tanh(),
        Unary::Erf => erf(x),
        Unary::Sqrt => x.sqrt(),
    }
}

/// Error function, within 8 epsilon of float64: below 2 by the series of positive terms
/// `2/sqrt(pi) exp(-x^2) sum over n of 2^n x^(2n+1) / (2n+1)!!` (DLMF 7.6.2), above by the continued fraction
/// `erfc(x) = exp(-x^2)/sqrt(pi) * 1/(x + (1/2)/(x + (2/2)/(x + ...)))` (DLMF 7.9.1).
pub(super) fn erf(x: f64) -> f64 {
    use std::f64::consts::{FRAC_2_SQRT_PI, PI};
    let magnitude = x.abs();
    let square = x * x;
    let value = if magnitude < 2.0 {
        let mut term = magnitude;
        let mut sum = term;
        // At 2 the ratio of terms is 8 / (2n + 1): 60 of them leave less than 1e-30.
        for n in 1..60 {
            term *= 2.0 * square / f64::from(2 * n + 1);
            sum += term;
        }
        FRAC_2_SQRT_PI * (-square).exp() * sum
    } else if magnitude < 6.0 {
        let fraction = (1..120).rev().fold(magnitude, |tail, n| magnitude + f64::from(n) / 2.0 / tail);
        1.0 - (-square).exp() / PI.sqrt() / fraction
    } else if x.is_nan() {
        x
    } else {
        // erfc(6) is 2e-17, less than half an epsilon.
        1.0
    };
    value.copysign(x)
}

pub(super) fn scalar_binary(operation: Binary, lhs: f64, rhs: f64) -> f64 {
    match operation {
        Binary::Add => lhs + rhs,
        Binary::Sub => lhs - rhs,
        Binary::Mul => lhs * rhs,
        Binary::Div => lhs / rhs,
    }
}

pub(super) fn binary(operation: Binary, lhs: &Array, rhs: &Array) -> Array {
    Array::from_fn(&broadcast(&lhs.shape, &rhs.shape), |index| scalar_binary(operation, lhs.at(index), rhs.at(index)))
}

fn broadcast(lhs: &[usize], rhs: &[usize]) -> Vec<usize> {
    let (long, short) = if lhs.len() < rhs.len() { (rhs, lhs) } else { (lhs, rhs) };
    let mut shape = long.to_vec();
    for (length, &other) in shape.iter_mut().rev().zip(short.iter().rev()) {
        if *length == 1 {
            *length = other;
        }
    }
    shape
}

/// Folds `axis` to length 1.
pub(super) fn reduce(x: &Array, axis: usize, start: f64, fold: impl Fn(f64, f64) -> f64) -> Array {
    let mut shape = x.shape.clone();
    shape[axis] = 1;
    Array::from_fn(&shape, |index| {
        let mut index = index.to_vec();
        (0..x.shape[axis]).fold(start, |folded, at| {
            index[axis] = at;
            fold(folded, x.at(&index))
        })
    })
}

pub(super) fn sum(x: &Array, axis: usize) -> Array {
    reduce(x, axis, 0.0, |sum, x| sum + x)
}

pub(super) fn max(x: &Array, axis: usize) -> Array {
    reduce(x, axis, f64::NEG_INFINITY, f64::max)
}

pub(super) fn mean(x: &Array, axis: usize) -> Array {
    sum(x, axis).map(|sum| sum / x.shape[axis] as f64)
}

pub(super) fn matmul(lhs: &Array, rhs: &Array) -> Array {
    let (lhs_batch, lhs_matrix) = lhs.shape.split_at(lhs.shape.len() - 2);
    let (rhs_batch, rhs_matrix) = rhs.shape.split_at(rhs.shape.len() - 2);
    let (k, n) = (lhs_matrix[1], rhs_matrix[1]);
    let mut shape = broadcast(lhs_batch, rhs_batch);
    shape.extend([lhs_matrix[0], n]);
    let (row_axis, column_axis) = (shape.len() - 2, shape.len() - 1);
    Array::from_fn(&shape, |index| {
        let (mut row, mut column) = (index.to_vec(), index.to_vec());
        row[column_axis] = 0;
        column[row_axis] = 0;
        let (row, column) = (lhs.position(&row), rhs.position(&column));
        (0..k).fold(0.0, |sum, at| sum + lhs.values[row + at] * rhs.values[column + at * n])
    })
}

pub(super) fn reshape(x: &Array, shape: &[usize]) -> Array {
    Array::new(shape, x.values.clone())
}

pub(super) fn permute(x: &Array, axes: &[usize]) -> Array {
    let shape: Vec<usize> = axes.iter().map(|&axis| x.shape[axis]).collect();
    let mut source = vec![0; axes.len()];
    Array::from_fn(&shape, |index| {
        for (&axis, &at) in axes.iter().zip(index) {
            source[axis] = at;
        }
        x.at(&source)
    })
}

pub(super) fn select(x: &Array, axis: usize, indices: &[usize]) -> Array {
    let mut shape = x.shape.clone();
    shape[axis] = indices.len();
    Array::from_fn(&shape, |index| {
        let mut index = index.to_vec();
        index[axis] = indices[index[axis]];
        x.at(&index)
    })
}

pub(super) fn softmax(x: &Array, axis: usize) -> Array {
    let shifted = binary(Binary::Sub, x, &max(x, axis));
    let exp = shifted.map(f64::exp);
    binary(Binary::Div, &exp, &sum(&exp, axis))
}

pub(super) fn gelu_tanh(x: f64) -> f64 {
    0.5 * x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x * x * x)).tanh())
}

pub(super) fn gelu_erf(x: f64) -> f64 {
    0.5 * x * (1.0 + erf(x / std::f64::consts::SQRT_2))
}
