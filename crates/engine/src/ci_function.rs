//! Causal-importance functions: how the model itself says what is alive.

use tributary_backend::{AttributionBackend, BackendError, Element};
use tributary_model::{Array, CiFunction, CiInput, CiLayers, Sigmoid};

use crate::EngineError;
use crate::upload::upload;

/// Elements of the hidden layers of networks of single components that are held at once: as many as a cache holds.
const HELD: usize = 1 << 20;

/// A causal-importance function, on a backend or in its file.
pub(crate) struct OwnCi<T> {
    /// Of the weights.
    shapes: Vec<Vec<usize>>,
    network: Network<T>,
}

enum Network<T> {
    Uploaded(CiNetwork<T>),
    Stored(CiFunction),
}

impl<T: Clone> OwnCi<T> {
    /// Leaves numbers that are in a file there where reading them again costs little beside using them, which is on a CPU.
    pub(crate) fn upload<B: AttributionBackend<Tensor = T>>(
        backend: &B,
        function: CiFunction,
    ) -> Result<Self, EngineError> {
        let shapes = function.layers.shapes();
        let network = match function.layers {
            CiLayers::Stored(_) if backend.device().is_cpu() => Network::Stored(function),
            _ => CiNetwork::upload(backend, function).map(Network::Uploaded)?,
        };
        Ok(Self { shapes, network })
    }

    fn widest(&self) -> usize {
        self.shapes.iter().filter_map(|shape| shape.last()).max().copied().unwrap_or(1)
    }

    /// Elements that [`evaluate`](Self::evaluate) holds for so many rows, the result left out.
    pub(crate) fn working_set(&self, rows: usize) -> usize {
        let (input, read) = match &self.network {
            Network::Uploaded(network) => (network.input, 0),
            // As it is read, and on the backend.
            Network::Stored(function) => {
                (function.input, 2 * self.shapes.iter().map(|shape| shape.iter().product::<usize>()).sum::<usize>())
            }
        };
        let networks = match (input, self.shapes.first()) {
            (CiInput::Vector | CiInput::Activation, Some(shape)) => self.at_once(rows).min(shape[0]),
            _ => 1,
        };
        let hidden = rows * self.widest() * networks;
        // A layer and the steps of its nonlinearity.
        read + 6 * hidden
    }

    /// As [`CiNetwork::evaluate`].
    pub(crate) fn evaluate<B: AttributionBackend<Tensor = T>>(
        &self,
        b: &B,
        x: &T,
        v: &T,
    ) -> Result<Vec<f32>, EngineError> {
        let at_once = self.at_once(b.shape(x)[1]);
        Ok(match &self.network {
            Network::Uploaded(network) => network.evaluate(b, x, v, at_once)?,
            Network::Stored(function) => CiNetwork::upload(b, function.clone())?.evaluate(b, x, v, at_once)?,
        })
    }

    /// How many networks of single components are evaluated at once.
    fn at_once(&self, rows: usize) -> usize {
        (HELD / (rows * self.widest()).max(1)).max(1)
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
    /// through `v`, `[d_in, C]`. Rows are positions, of one prompt or several. Of networks of single components, `at_once` are
    /// evaluated at a time.
    fn evaluate<B: AttributionBackend<Tensor = T>>(
        &self,
        b: &B,
        x: &T,
        v: &T,
        at_once: usize,
    ) -> Result<Vec<f32>, BackendError> {
        let [_, rows, _] = b.shape(x)[..] else { panic!("the input of a causal-importance function has three axes") };
        let components = b.shape(v)[1];
        if self.input == CiInput::SharedVector {
            let hidden = self.through(b, x.clone(), |tensor| Ok(tensor.clone()))?;
            return Ok(b.download(&hidden)?.into_iter().map(|value| self.importance(value)).collect());
        }
        // Of each component, `[C, rows, 1]`, or the same for all, `[1, rows, d_in]`.
        let input = match self.input {
            CiInput::Activation => b.permute(&b.matmul(x, v)?, &[2, 1, 0])?,
            _ => x.clone(),
        };
        let mut importances = vec![0.0; rows * components];
        for first in (0..components).step_by(at_once) {
            let count = at_once.min(components - first);
            let part = |tensor: &T| match b.shape(tensor)[0] {
                of_all if of_all == 1 || count == of_all => Ok(tensor.clone()),
                _ => b.narrow(tensor, 0, first, count),
            };
            let values = b.download(&self.through(b, part(&input)?, part)?)?;
            for (component, values) in (first..).zip(values.chunks_exact(rows)) {
                for (row, &value) in values.iter().enumerate() {
                    importances[row * components + component] = self.importance(value);
                }
            }
        }
        Ok(importances)
    }

    fn importance<E: Element>(&self, value: E) -> f32 {
        self.sigmoid.apply(value.to_f64()) as f32
    }

    /// What the layers make of `hidden`; `part` takes those of the networks that it goes through.
    fn through<B: AttributionBackend<Tensor = T>>(
        &self,
        b: &B,
        mut hidden: T,
        part: impl Fn(&T) -> Result<T, BackendError>,
    ) -> Result<T, BackendError> {
        for (index, (weight, bias)) in self.layers.iter().enumerate() {
            if index > 0 {
                hidden = b.gelu_erf(&hidden)?;
            }
            hidden = b.add(&b.matmul(&hidden, &part(weight)?)?, &part(bias)?)?;
        }
        Ok(hidden)
    }
}
