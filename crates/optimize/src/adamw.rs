//! The optimiser.

use serde::{Deserialize, Serialize};

const BETAS: [f64; 2] = [0.9, 0.999];
const EPSILON: f64 = 1e-8;

/// `AdamW` (Loshchilov and Hutter 2019) without weight decay, with PyTorch's defaults: betas 0.9 and 0.999, epsilon 1e-8.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdamW {
    /// Means of the gradients, by parameter.
    pub first: Vec<f64>,
    /// Means of their squares.
    pub second: Vec<f64>,
    /// Updates made.
    pub updates: i32,
}

impl AdamW {
    /// For so many parameters.
    pub fn new(parameters: usize) -> Self {
        Self { first: vec![0.0; parameters], second: vec![0.0; parameters], updates: 0 }
    }

    /// Moves parameters against their gradient.
    ///
    /// # Panics
    ///
    /// When there are not as many gradients as parameters.
    pub fn update(&mut self, parameters: &mut [f64], gradient: &[f64], learning_rate: f64) {
        assert_eq!((parameters.len(), gradient.len()), (self.first.len(), self.first.len()));
        self.updates += 1;
        let [of_first, of_second] = BETAS.map(|beta| 1.0 - beta.powi(self.updates));
        let step = learning_rate / of_first;
        let means = self.first.iter_mut().zip(&mut self.second);
        for ((parameter, &gradient), (first, second)) in parameters.iter_mut().zip(gradient).zip(means) {
            *first = BETAS[0] * *first + (1.0 - BETAS[0]) * gradient;
            *second = BETAS[1] * *second + (1.0 - BETAS[1]) * gradient * gradient;
            *parameter -= step * *first / ((*second / of_second).sqrt() + EPSILON);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where the gradient is always the same both means are it and its square, corrected for their start: every step has the
    /// length of the learning rate.
    #[test]
    fn a_constant_gradient_moves_by_the_learning_rate() {
        let mut parameters = [1.0, -2.0, 0.5];
        let mut adam = AdamW::new(3);
        for step in 1..=10 {
            adam.update(&mut parameters, &[3.0, -0.25, 0.0], 0.01);
            let expected = [1.0 - 0.01 * f64::from(step), -2.0 + 0.01 * f64::from(step), 0.5];
            for (found, expected) in parameters.iter().zip(expected) {
                // Epsilon beside a gradient of 0.25 takes off 4e-8 of each step.
                assert!((found - expected).abs() < 1e-8, "{found} {expected}");
            }
        }
    }

    /// A bowl: the gradient is the difference quotient of its height, and the optimiser gets down.
    #[test]
    fn it_descends_by_difference_quotients() {
        let height = |x: &[f64]| (x[0] - 3.0).powi(2) + 10.0 * (x[1] + 1.0).powi(2);
        let mut parameters = [0.0, 0.0];
        let mut adam = AdamW::new(2);
        let before = height(&parameters);
        for _ in 0..2000 {
            let gradient = [0, 1].map(|at| {
                let moved = |by: f64| {
                    let mut moved = parameters;
                    moved[at] += by;
                    height(&moved)
                };
                (moved(1e-6) - moved(-1e-6)) / 2e-6
            });
            adam.update(&mut parameters, &gradient, 0.01);
        }
        assert!(height(&parameters) < 1e-6 * before, "{parameters:?}");
    }
}
