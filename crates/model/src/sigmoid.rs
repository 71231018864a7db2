//! From the last layer of a causal-importance function to a causal importance.

/// How the last layer of a causal-importance function becomes a causal importance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sigmoid {
    /// `leaky_hard`, `hard`: `clamp(x, 0, 1)`. (They differ in their gradients only, which are not used here.)
    Hard,
    /// `normal`: `1 / (1 + e^-x)`.
    Normal,
    /// `upper_leaky_hard`: 0 below 0, `x` up to 1, `1 + 0.01 (x - 1)` above.
    UpperLeakyHard,
    /// `swish_hard`: `1/2 + (x' - 1/2) s(-10 (x' - 1/2)) - x' s(10 x') + (x' + 1/2) s(10 (x' + 1/2)) - x' s(-10 x')`
    /// with `x' = x - 1/2` and `s` the logistic function.
    SwishHard,
}

impl Sigmoid {
    /// The causal importance for the value `x` of a function's last layer.
    pub fn apply(self, x: f64) -> f64 {
        let logistic = |x: f64| 1.0 / (1.0 + (-x).exp());
        match self {
            Self::Hard => x.clamp(0.0, 1.0),
            Self::Normal => logistic(x),
            Self::UpperLeakyHard if x > 1.0 => 1.0 + 0.01 * (x - 1.0),
            Self::UpperLeakyHard => x.max(0.0),
            Self::SwishHard => {
                let swish = |x: f64| x * logistic(10.0 * x);
                let mirrored = |x: f64| x * logistic(-10.0 * x);
                let x = x - 0.5;
                0.5 + mirrored(x - 0.5) - swish(x) + swish(x + 0.5) - mirrored(x)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sigmoids_saturate_where_they_should() {
        let check = |sigmoid: Sigmoid, x: f64, expected: f64| {
            assert!((sigmoid.apply(x) - expected).abs() < 1e-15, "{sigmoid:?} of {x}");
        };
        for (x, expected) in [(-0.5, 0.0), (0.25, 0.25), (3.0, 1.0)] {
            check(Sigmoid::Hard, x, expected);
        }
        for (x, expected) in [(-0.5, 0.0), (0.25, 0.25), (1.0, 1.0), (3.0, 1.02)] {
            check(Sigmoid::UpperLeakyHard, x, expected);
        }
        check(Sigmoid::Normal, 0.0, 0.5);
        // Symmetric about (1/2, 1/2), and close to the hard sigmoid away from its corners.
        for x in [-2.0, -0.3, 0.1, 0.5, 0.77, 2.0] {
            assert!((Sigmoid::SwishHard.apply(x) + Sigmoid::SwishHard.apply(1.0 - x) - 1.0).abs() < 1e-12);
        }
        assert!((Sigmoid::SwishHard.apply(-2.0)).abs() < 1e-6 && (Sigmoid::SwishHard.apply(3.0) - 1.0).abs() < 1e-6);
    }
}
