//! Operations that move elements and compute nothing: every bit is kept.

#![allow(clippy::missing_panics_doc, reason = "a check fails by panicking")]

use super::array::Array;
use super::check::{LENGTHS, compare_exact, layouts, upload};
use super::generator::Generator;
use super::truth;
use crate::AttributionBackend;

/// Elements keep their row-major order, also when the operand is stored in another.
pub fn reshape<B: AttributionBackend>(backend: &B) {
    let shapes: &[(&[usize], &[usize])] = &[
        (&[6], &[2, 3]),
        (&[2, 3], &[6]),
        (&[2, 3], &[3, 2]),
        (&[2, 3], &[2, 3]),
        (&[2, 3], &[1, 2, 1, 3, 1]),
        (&[1, 2, 1, 3, 1], &[2, 3]),
        (&[3, 4, 5], &[3, 20]),
        (&[3, 4, 5], &[12, 5]),
        (&[3, 4, 5], &[5, 4, 3]),
        (&[2, 3, 4, 5], &[6, 20]),
        (&[2, 3, 4, 5], &[2, 3, 2, 2, 5]),
        (&[1], &[1, 1, 1]),
        (&[17, 65], &[65, 17]),
        (&[0], &[0, 3]),
        (&[0, 3], &[5, 0]),
        (&[2, 0, 3], &[0]),
    ];
    let mut generator = Generator::new(41);
    for &(from, to) in shapes {
        let array = generator.array::<B::Element>(from, -1.0..1.0);
        for (layout, tensor) in layouts(backend, &array) {
            let what = format!("reshape of {layout} {from:?} to {to:?}");
            compare_exact(backend, what, backend.reshape(&tensor, to), &truth::reshape(&array, to));
        }
    }
}

/// Every permutation of up to four axes, and some of five; also of permuted tensors.
pub fn permute<B: AttributionBackend>(backend: &B) {
    let mut generator = Generator::new(42);
    for shape in [&[7][..], &[2, 3], &[17, 65], &[3, 1, 5], &[3, 5, 7], &[2, 3, 4, 5], &[2, 0, 3]] {
        let array = generator.array::<B::Element>(shape, -1.0..1.0);
        for axes in permutations(shape.len()) {
            check_permute(backend, &array, &axes);
        }
    }
    let array = generator.array::<B::Element>(&[2, 3, 1, 4, 5], -1.0..1.0);
    for axes in [[0, 2, 1, 4, 3], [4, 3, 2, 1, 0], [1, 2, 3, 4, 0], [3, 0, 4, 2, 1]] {
        check_permute(backend, &array, &axes);
    }
}

fn check_permute<B: AttributionBackend>(backend: &B, array: &Array, axes: &[usize]) {
    for (layout, tensor) in layouts(backend, array) {
        let what = format!("permute of {layout} {:?} by {axes:?}", array.shape);
        compare_exact(backend, what, backend.permute(&tensor, axes), &truth::permute(array, axes));
    }
}

fn permutations(rank: usize) -> Vec<Vec<usize>> {
    if rank == 0 {
        return vec![Vec::new()];
    }
    let shorter = permutations(rank - 1);
    shorter
        .iter()
        .flat_map(|axes| {
            (0..rank).map(|at| {
                let mut longer = axes.clone();
                longer.insert(at, rank - 1);
                longer
            })
        })
        .collect()
}

/// Slices come in the order of the indices, repeated where these are.
pub fn select<B: AttributionBackend>(backend: &B) {
    let mut generator = Generator::new(43);
    for length in LENGTHS {
        let array = generator.array::<B::Element>(&[length], -1.0..1.0);
        let indices: Vec<_> = (0..2 * length).map(|_| generator.index(length)).collect();
        check_select(backend, &array, 0, &indices);
    }
    for shape in [&[2, 3][..], &[3, 5, 7], &[2, 3, 4, 5], &[17, 65]] {
        let array = generator.array::<B::Element>(shape, -1.0..1.0);
        for (axis, &length) in shape.iter().enumerate() {
            let last = length - 1;
            for indices in [vec![0], vec![last], vec![last, 0, last, last], (0..length).rev().collect()] {
                check_select(backend, &array, axis, &indices);
            }
        }
    }
}

/// A selection of no slices is empty along the axis and whole along the others.
pub fn select_of_nothing<B: AttributionBackend>(backend: &B) {
    for shape in [&[3][..], &[2, 3], &[3, 5, 7], &[0], &[2, 0]] {
        let array = Generator::new(44).array::<B::Element>(shape, -1.0..1.0);
        for axis in 0..shape.len() {
            check_select(backend, &array, axis, &[]);
        }
    }
}

/// A selection along an axis of a tensor that is empty along another.
pub fn select_from_empty<B: AttributionBackend>(backend: &B) {
    check_select(backend, &Array::new(&[3, 0], Vec::new()), 0, &[2, 0, 2, 1]);
    check_select(backend, &Array::new(&[0, 3, 2], Vec::new()), 1, &[1]);
}

fn check_select<B: AttributionBackend>(backend: &B, array: &Array, axis: usize, indices: &[usize]) {
    for (layout, tensor) in layouts(backend, array) {
        let what = format!("select of {} indices along {axis} of {layout} {:?}", indices.len(), array.shape);
        compare_exact(backend, what, backend.select(&tensor, axis, indices), &truth::select(array, axis, indices));
    }
}

/// Detaching keeps shape and values.
pub fn detach<B: AttributionBackend>(backend: &B) {
    for shape in [&[5][..], &[2, 3, 4], &[0, 3]] {
        let array = Generator::new(45).array::<B::Element>(shape, -1.0..1.0);
        let tensor = upload(backend, &array);
        compare_exact(backend, format_args!("detach of {shape:?}"), Ok(backend.detach(&tensor)), &array);
    }
}
