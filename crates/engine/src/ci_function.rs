//! Causal-importance functions: how the model itself says what is alive.

use tributary_backend::{AttributionBackend, BackendError, Element};

use crate::model::upload;
use crate::{Array, CiFunction, CiInput, Sigmoid};

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

/// A causal-importance function on a backend.
pub(crate) struct CiNetwork<T> {
    input: CiInput,
    /// Weights and biases, shaped to multiply and add to what flows through: see [`CiNetwork::evaluate`].
    layers: Vec<(T, T)>,
    sigmoid: Sigmoid,
}

impl<T: Clone> CiNetwork<T> {
    pub(crate) fn upload<B: AttributionBackend<Tensor = T>>(
        backend: &B,
        function: &CiFunction,
    ) -> Result<Self, BackendError> {
        let layer = |(weight, bias): &(Array, Array)| {
            let bias = upload(backend, bias)?;
            let bias = match backend.shape(&bias)[..] {
                [components, out] => backend.reshape(&bias, &[components, 1, out])?,
                _ => bias,
            };
            Ok((upload(backend, weight)?, bias))
        };
        let layers = function.layers.iter().map(layer).collect::<Result<_, BackendError>>()?;
        Ok(Self { input: function.input, layers, sigmoid: function.sigmoid })
    }

    /// Causal importances `[positions, C]`, on the host, of a layer with input `x`, `[1, positions, d_in]`, and
    /// components reading it through `v`, `[d_in, C]`.
    pub(crate) fn evaluate<B: AttributionBackend<Tensor = T>>(
        &self,
        b: &B,
        x: &T,
        v: &T,
    ) -> Result<Vec<f32>, BackendError> {
        // `[1, positions, width]` for a shared network; `[C, positions, width]`, its first axis perhaps still 1, for a
        // network per component.
        let mut hidden = match self.input {
            CiInput::SharedVector | CiInput::Vector => x.clone(),
            CiInput::Activation => b.permute(&b.matmul(x, v)?, &[2, 1, 0])?,
        };
        for (index, (weight, bias)) in self.layers.iter().enumerate() {
            if index > 0 {
                hidden = b.gelu_erf(&hidden)?;
            }
            hidden = b.add(&b.matmul(&hidden, weight)?, bias)?;
        }
        if self.input != CiInput::SharedVector {
            hidden = b.permute(&hidden, &[2, 1, 0])?;
        }
        Ok(b.download(&hidden)?.into_iter().map(|value| self.sigmoid.apply(value.to_f64()) as f32).collect())
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
