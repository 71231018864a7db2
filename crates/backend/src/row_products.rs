//! Dot products of a few rows with a few rows, where they lie.
//!
//! A library's matrix product is faster on large matrices, but wants its operands gathered first. What is alive at a
//! position is a dozen rows, and gathering them takes longer than multiplying them.
//!
//! As in a library's product, machines with other registers round otherwise.

use pulp::{Arch, Simd, WithSimd};

/// Targets and sources whose products are taken at once: as many as sixteen registers hold.
const BLOCK: (usize, usize) = (3, 4);

/// The function of one floating-point type, with the names that pulp gives its operations.
macro_rules! row_products {
    ($element:ident, $vector:ident, $splat:ident, $mul_add:ident, $sum:ident, $split:ident) => {
        pub(crate) fn $element(products: &mut [$element], targets: &[&[$element]], sources: &[&[$element]]) {
            struct RowProducts<'a>(&'a mut [$element], &'a [&'a [$element]], &'a [&'a [$element]]);

            impl WithSimd for RowProducts<'_> {
                type Output = ();

                #[inline(always)]
                fn with_simd<S: Simd>(self, simd: S) {
                    let Self(products, targets, sources) = self;
                    if sources.is_empty() {
                        return;
                    }
                    let blocks = targets.chunks(BLOCK.0).zip(products.chunks_mut(BLOCK.0 * sources.len()));
                    for (targets, products) in blocks {
                        match *targets {
                            [a, b, c] => with_targets(simd, products, [a, b, c], sources),
                            [a, b] => with_targets(simd, products, [a, b], sources),
                            [a] => with_targets(simd, products, [a], sources),
                            _ => unreachable!("chunks of at most three, none empty"),
                        }
                    }
                }
            }

            #[inline(always)]
            fn with_targets<S: Simd, const T: usize>(
                simd: S,
                products: &mut [$element],
                targets: [&[$element]; T],
                all: &[&[$element]],
            ) {
                for (start, sources) in (0..).step_by(BLOCK.1).zip(all.chunks(BLOCK.1)) {
                    let rest = &mut products[start..];
                    match *sources {
                        [a, b, c, d] => put(rest, all.len(), block(simd, targets, [a, b, c, d])),
                        [a, b, c] => put(rest, all.len(), block(simd, targets, [a, b, c])),
                        [a, b] => put(rest, all.len(), block(simd, targets, [a, b])),
                        [a] => put(rest, all.len(), block(simd, targets, [a])),
                        _ => unreachable!("chunks of at most four, none empty"),
                    }
                }
            }

            #[inline(always)]
            fn put<const T: usize, const N: usize>(
                products: &mut [$element],
                stride: usize,
                block: [[$element; N]; T],
            ) {
                for (products, of_target) in products.chunks_mut(stride).zip(block) {
                    products[..N].copy_from_slice(&of_target);
                }
            }

            #[inline(always)]
            fn block<S: Simd, const T: usize, const N: usize>(
                simd: S,
                targets: [&[$element]; T],
                sources: [&[$element]; N],
            ) -> [[$element; N]; T] {
                let width = targets[0].len();
                let targets = targets.map(|row| S::$split(&row[..width]));
                let sources = sources.map(|row| S::$split(&row[..width]));
                // Loops, not `map`: what is not compiled into this function is compiled for narrower registers.
                let mut sums = [[simd.$splat(0.0); N]; T];
                let mut of_sources = [simd.$splat(0.0); N];
                for at in 0..targets[0].0.len() {
                    for (of_source, (source, _)) in of_sources.iter_mut().zip(&sources) {
                        *of_source = source[at];
                    }
                    for (sums, (target, _)) in sums.iter_mut().zip(&targets) {
                        for (sum, &of_source) in sums.iter_mut().zip(&of_sources) {
                            *sum = simd.$mul_add(target[at], of_source, *sum);
                        }
                    }
                }
                let mut products = [[0.0; N]; T];
                for (products, sums) in products.iter_mut().zip(&sums) {
                    for (product, &sum) in products.iter_mut().zip(sums) {
                        *product = simd.$sum(sum);
                    }
                }
                for (products, (_, target)) in products.iter_mut().zip(targets) {
                    for (product, (_, source)) in products.iter_mut().zip(sources) {
                        for (&of_target, &of_source) in target.iter().zip(source) {
                            *product += of_target * of_source;
                        }
                    }
                }
                products
            }

            Arch::new().dispatch(RowProducts(products, targets, sources));
        }
    };
}

row_products!(f32, f32s, splat_f32s, mul_add_e_f32s, reduce_sum_f32s, as_simd_f32s);
row_products!(f64, f64s, splat_f64s, mul_add_e_f64s, reduce_sum_f64s, as_simd_f64s);

#[cfg(test)]
mod tests {
    use super::*;

    fn views<E>(rows: &[Vec<E>]) -> Vec<&[E]> {
        rows.iter().map(Vec::as_slice).collect()
    }

    /// Every remainder of the blocks, and widths around the lengths of vectors.
    #[test]
    fn products_of_every_number_of_rows() {
        for width in [0, 1, 3, 4, 7, 8, 9, 16, 33] {
            for n_targets in 0..8 {
                for n_sources in 0..10 {
                    let number = |row: usize, at: usize| ((row * 7 + at * 3) % 11) as f64 - 5.0;
                    let rows = |first: usize, rows: usize| -> Vec<Vec<f64>> {
                        (first..first + rows).map(|row| (0..width).map(|at| number(row, at)).collect()).collect()
                    };
                    let (targets, sources) = (rows(0, n_targets), rows(100, n_sources));
                    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
                    let expected: Vec<f64> =
                        targets.iter().flat_map(|target| sources.iter().map(|source| dot(target, source))).collect();

                    let mut products = vec![f64::NAN; n_targets * n_sources];
                    f64(&mut products, &views(&targets), &views(&sources));
                    assert_eq!(products, expected, "{n_targets} x {n_sources} rows of {width}");

                    let narrow = |rows: &[Vec<f64>]| -> Vec<Vec<f32>> {
                        rows.iter().map(|row| row.iter().map(|&value| value as f32).collect()).collect()
                    };
                    let (targets, sources) = (narrow(&targets), narrow(&sources));
                    let mut products = vec![f32::NAN; n_targets * n_sources];
                    f32(&mut products, &views(&targets), &views(&sources));
                    assert!(products.iter().map(|&product| f64::from(product)).eq(expected));
                }
            }
        }
    }
}
