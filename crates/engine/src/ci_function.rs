//! Causal-importance functions: how the model itself says what is alive.

use tributary_backend::{AttributionBackend, BackendError, Element};
use tributary_model::{Array, CiFunction, CiInput, CiLayers, Sigmoid};

use crate::EngineError;
use crate::upload::upload;

/// A causal-importance function, on a backend or in its file.
pub(crate) enum OwnCi<T> {
    Uploaded(CiNetwork<T>),
    Stored(CiFunction),
}

impl<T: Clone> OwnCi<T> {
    /// Leaves numbers that are in a file there where reading them again costs little beside using them, which is on a CPU.
    pub(crate) fn upload<B: AttributionBackend<Tensor = T>>(
        backend: &B,
        function: CiFunction,
    ) -> Result<Self, EngineError> {
        match function.layers {
            CiLayers::Stored(_) if backend.device().is_cpu() => Ok(Self::Stored(function)),
            _ => CiNetwork::upload(backend, function).map(Self::Uploaded),
        }
    }

    /// As [`CiNetwork::evaluate`].
    pub(crate) fn evaluate<B: AttributionBackend<Tensor = T>>(
        &self,
        b: &B,
        x: &T,
        v: &T,
    ) -> Result<Vec<f32>, EngineError> {
        Ok(match self {
            Self::Uploaded(network) => network.evaluate(b, x, v)?,
            Self::Stored(function) => CiNetwork::upload(b, function.clone())?.evaluate(b, x, v)?,
        })
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
    fn upload<B: AttributionBackend<Tensor = T>>(backend: &B, function: CiFunction) -> Result<Self, EngineError> {
        let layer = |(weight, bias): (Array, Array)| {
            let bias = upload(backend, bias)?;
            let bias = match backend.shape(&bias)[..] {
                [components, out] => backend.reshape(&bias, &[components, 1, out])?,
                _ => bias,
            };
            Ok((upload(backend, weight)?, bias))
        };
        let layers = match function.layers {
            CiLayers::Read(layers) => layers,
            CiLayers::Stored(stored) => stored.read().map_err(EngineError::Stored)?,
        };
        let layers = layers.into_iter().map(layer).collect::<Result<_, BackendError>>()?;
        Ok(Self { input: function.input, layers, sigmoid: function.sigmoid })
    }

    /// Causal importances `[rows, C]`, on the host, of a layer with input `x`, `[1, rows, d_in]`, and components reading it
    /// through `v`, `[d_in, C]`. Rows are positions, of one prompt or several.
    fn evaluate<B: AttributionBackend<Tensor = T>>(&self, b: &B, x: &T, v: &T) -> Result<Vec<f32>, BackendError> {
        // `[1, rows, width]` for a shared network; `[C, rows, width]`, its first axis perhaps still 1, for a
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
