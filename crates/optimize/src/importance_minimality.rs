//! What it costs that components are alive.

/// Importance minimality of SPD on one prompt, of `S` positions:
///
/// ```text
/// sum over layers l and components c of  m + beta m log2(1 + T)      T = sum_s (u[l, s, c] + 1e-12)^p      m = T / S
/// ```
///
/// with `u` the [counted](crate::sigmoid::upper_leaky) importance. Every component and position is in the sum; where `u` is not
/// asked for it is 0, which adds `1e-12^p`, 0.00025 at p = 0.3. (`spd/losses.py` and `optim_cis.py` of SPD.)
#[derive(Clone, Debug, PartialEq)]
pub struct ImportanceMinimality {
    /// For each entry the component it is of, numbered through all layers.
    columns: Vec<u32>,
    /// For each component the number of positions without an entry.
    without: Vec<u32>,
    positions: usize,
}

const EPSILON: f64 = 1e-12;

impl ImportanceMinimality {
    /// Of entries of `components` components on a prompt of `positions`; each entry is of the component that `columns` says.
    ///
    /// # Panics
    ///
    /// When a component has more entries than there are positions.
    pub fn new(columns: Vec<u32>, components: usize, positions: usize) -> Self {
        let mut without = vec![positions as u32; components];
        for &column in &columns {
            let left = without[column as usize].checked_sub(1);
            without[column as usize] = left.expect("an entry for each position at most");
        }
        Self { columns, without, positions }
    }

    /// Number of positions of the prompt.
    pub fn positions(&self) -> usize {
        self.positions
    }

    /// Its value for the counted importance `u` of each entry, and adds `factor` times its derivative by each to `gradient`.
    pub fn add_gradient(&self, u: &[f64], p: f64, beta: f64, factor: f64, gradient: &mut [f64]) -> f64 {
        let floor = EPSILON.powf(p);
        let mut sums: Vec<f64> = self.without.iter().map(|&without| f64::from(without) * floor).collect();
        for (&column, &u) in self.columns.iter().zip(u) {
            sums[column as usize] += (u + EPSILON).powf(p);
        }
        let positions = self.positions as f64;
        let value = sums.iter().map(|&sum| sum / positions * (1.0 + beta * (1.0 + sum).log2())).sum();
        // By T, of T / S (1 + beta log2(1 + T)).
        let by_sum = |sum: f64| {
            let of_logarithm = sum / ((1.0 + sum) * std::f64::consts::LN_2);
            (1.0 + beta * ((1.0 + sum).log2() + of_logarithm)) / positions
        };
        let by_sums: Vec<f64> = sums.iter().map(|&sum| by_sum(sum)).collect();
        for ((&column, &u), gradient) in self.columns.iter().zip(u).zip(gradient) {
            *gradient += factor * by_sums[column as usize] * p * (u + EPSILON).powf(p - 1.0);
        }
        value
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tributary_testing::config;

    use super::*;

    fn value(minimality: &ImportanceMinimality, u: &[f64], p: f64, beta: f64) -> f64 {
        minimality.add_gradient(u, p, beta, 0.0, &mut vec![0.0; u.len()])
    }

    #[test]
    fn absent_entries_count_as_0() {
        let (u, positions, components) = ([0.5, 0.25, 1.0], 2, 5);
        let minimality = ImportanceMinimality::new(vec![1, 1, 4], components, positions);
        let dense = [[0.0, 0.0], [0.5, 0.25], [0.0, 0.0], [0.0, 0.0], [1.0, 0.0]];
        for (p, beta) in [(0.3, 0.0), (2.0, 0.5), (1.0, 1.0)] {
            let expected: f64 = dense
                .iter()
                .map(|of_component| {
                    let sum: f64 = of_component.iter().map(|u: &f64| (u + 1e-12).powf(p)).sum();
                    let mean = sum / 2.0;
                    mean + beta * mean * (1.0 + sum).log2()
                })
                .sum();
            assert!((value(&minimality, &u, p, beta) - expected).abs() < 1e-14 * expected, "{p} {beta}");
        }
    }

    proptest! {
        #![proptest_config(config(64))]

        #[test]
        fn its_gradient_is_a_difference_quotient(
            u in prop::collection::vec(0.01_f64..1.2, 6),
            columns in prop::collection::vec(0_u32..3, 6),
            p in 0.2_f64..2.0,
            beta in 0.0_f64..2.0,
        ) {
            let minimality = ImportanceMinimality::new(columns, 4, 6);
            let mut gradient = vec![0.0; 6];
            minimality.add_gradient(&u, p, beta, 1.0, &mut gradient);
            for at in 0..6 {
                let moved = |by: f64| {
                    let mut moved = u.clone();
                    moved[at] += by;
                    value(&minimality, &moved, p, beta)
                };
                let step = 1e-5 * u[at];
                let quotient = (moved(step) - moved(-step)) / (2.0 * step);
                // Third derivatives of u^p are at most some tens by u^2 of the first, times 1e-10 u^2; rounding of the value,
                // some tens times 1e-16, by a step of 1e-7 at the least.
                prop_assert!((gradient[at] - quotient).abs() <= 1e-7 * quotient.abs().max(1.0), "{} {quotient}", gradient[at]);
            }
        }
    }
}
