//! Sums and maxima of many numbers, and what is made of them row by row.
//!
//! They are taken in lanes that are brought together at the end, so that a compiler can make vectors of them and additions
//! do not wait for one another; in a fixed number of lanes, so that every machine rounds alike. They are compiled once more
//! for machines with wider registers.

use multiversion::multiversion;
use tributary_backend::Element;

use crate::exponential::exp;

const LANES: usize = 16;

/// Folds pairs of elements, of which the i-th goes to lane i modulo [`LANES`].
#[expect(clippy::inline_always, reason = "it has to become part of functions that are compiled for wider registers")]
#[inline(always)]
fn fold<A: Copy, L: Copy, R: Copy>(initial: A, lhs: &[L], rhs: &[R], step: impl Fn(A, L, R) -> A) -> [A; LANES] {
    let mut lanes = [initial; LANES];
    let ((lhs, lhs_rest), (rhs, rhs_rest)) = (lhs.as_chunks::<LANES>(), rhs.as_chunks::<LANES>());
    for (lhs, rhs) in lhs.iter().zip(rhs) {
        lanes = std::array::from_fn(|lane| step(lanes[lane], lhs[lane], rhs[lane]));
    }
    for (lane, (&l, &r)) in lanes.iter_mut().zip(lhs_rest.iter().zip(rhs_rest)) {
        *lane = step(*lane, l, r);
    }
    lanes
}

/// The sum of the products of two slices of one length.
#[multiversion(targets("x86_64+avx2"))]
pub(crate) fn dot<E: Element>(lhs: &[E], rhs: &[E]) -> E {
    dot_inlined(lhs, rhs)
}

#[expect(clippy::inline_always, reason = "it has to become part of functions that are compiled for wider registers")]
#[inline(always)]
fn dot_inlined<E: Element>(lhs: &[E], rhs: &[E]) -> E {
    let lanes = fold(E::default(), lhs, rhs, |sum, l, r| sum + l * r);
    lanes.into_iter().fold(E::default(), |sum, lane| sum + lane)
}

/// A masked layer of rank-one components at one position: for each (slot, factor) of `factors`,
///
/// ```text
/// post[slot] = <x, readers[slot]>        written += post[slot] * factor * writers[slot]
/// ```
#[multiversion(targets("x86_64+avx2"))]
pub(crate) fn act<E: Element>(
    factors: &[(u32, E)],
    x: &[E],
    readers: &[E],
    writers: &[E],
    post: &mut [E],
    written: &mut [E],
) {
    for &(slot, factor) in factors {
        let slot = slot as usize;
        let value = dot_inlined(x, &readers[slot * x.len()..][..x.len()]);
        post[slot] = value;
        let value = value * factor;
        let writer = &writers[slot * written.len()..][..written.len()];
        for (written, &weight) in written.iter_mut().zip(writer) {
            *written = *written + value * weight;
        }
    }
}

/// `scaled[i] = values[i] * factors[i]`
#[multiversion(targets("x86_64+avx2"))]
pub(crate) fn scale<E: Element>(scaled: &mut [E], values: &[E], factors: &[E]) {
    for (scaled, (&value, &factor)) in scaled.iter_mut().zip(values.iter().zip(factors)) {
        *scaled = value * factor;
    }
}

/// As [`dot`] in float64, whatever the elements, and with `shift` taken off each element of `rhs`.
#[multiversion(targets("x86_64+avx2"))]
pub(crate) fn dot_shifted<L: Element, R: Element>(lhs: &[L], rhs: &[R], shift: f64) -> f64 {
    fold(0.0, lhs, rhs, |sum, l, r| sum + l.to_f64() * (r.to_f64() - shift)).into_iter().sum()
}

/// The sum of a slice.
#[multiversion(targets("x86_64+avx2"))]
pub(crate) fn sum(values: &[f64]) -> f64 {
    fold(0.0, values, values, |sum, value, _| sum + value).into_iter().sum()
}

/// Sets each of `results` to the exponential of a value less `shift`.
#[multiversion(targets("x86_64+avx2"))]
pub(crate) fn exponentials<E: Element>(results: &mut [f64], values: &[E], shift: f64) {
    for (result, value) in results.iter_mut().zip(values) {
        *result = exp(value.to_f64() - shift);
    }
}

/// The largest element that is a number; -inf when none is.
pub(crate) fn largest<E: Element>(values: &[E]) -> E {
    let larger = |a: E, b: E| if b > a { b } else { a };
    let lowest = E::from_f64(f64::NEG_INFINITY);
    fold(lowest, values, values, |largest, value, _| larger(largest, value)).into_iter().fold(lowest, larger)
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "sums of small whole numbers are exact in any order")]
mod tests {
    use super::*;

    #[test]
    fn lanes_hold_every_element() {
        for length in [0, 1, 15, 16, 17, 100] {
            let values: Vec<f64> = (0..length).map(f64::from).collect();
            let floats: Vec<f32> = values.iter().map(|&value| value as f32).collect();
            let squares: f64 = values.iter().map(|value| value * value).sum();
            assert_eq!(dot(&values, &values), squares);
            assert_eq!(dot_shifted(&floats, &values, 0.0), squares);
            assert_eq!(dot_shifted(&floats, &values, 1.0), squares - values.iter().sum::<f64>());
            assert_eq!(sum(&values), values.iter().sum::<f64>());
            assert_eq!(largest(&values), if length == 0 { f64::NEG_INFINITY } else { f64::from(length) - 1.0 });
        }
        assert_eq!(largest(&[f64::NAN, -1.0, f64::NAN]), -1.0);
    }
}
