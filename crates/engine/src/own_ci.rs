//! Causal-importance functions: how the model itself says what is alive.

use std::collections::BTreeMap;

use tributary_backend::{AttributionBackend, Element};
use tributary_model::{CiFunction, CiInput, CiNetwork, Layer, Sigmoid};

use crate::EngineError;
use global::{GlobalMlp, GlobalTransformer};
use layerwise::LayerNetwork;
use part::Part;

mod global;
mod layerwise;
mod part;

/// The causal-importance function of a model, on a backend or in its file.
pub(crate) struct OwnCi<T> {
    networks: Networks<T>,
    sigmoid: Sigmoid,
}

enum Networks<T> {
    Layerwise(CiInput, BTreeMap<Layer, Part<T>>),
    SharedMlp(GlobalMlp<T>),
    SharedTransformer(GlobalTransformer<T>),
    Unknown(String),
}

/// What of a forward pass a function of all layers reads: the input of every decomposed layer, `[prompts, positions, d_in]`.
pub(crate) type Inputs<T> = BTreeMap<Layer, T>;

impl<T: Clone> OwnCi<T> {
    /// `widths` are input width and number of components of every decomposed layer.
    ///
    /// Leaves numbers that are in a file there where reading them again costs little beside using them, which is on a CPU.
    pub(crate) fn upload<B: AttributionBackend<Tensor = T>>(
        backend: &B,
        function: CiFunction,
        widths: &BTreeMap<Layer, (usize, usize)>,
    ) -> Result<Self, EngineError> {
        let networks = match function.network {
            CiNetwork::Layerwise { input, layers } => {
                let layers = layers.into_iter().map(|(layer, arrays)| Ok((layer, Part::upload(backend, arrays)?)));
                Networks::Layerwise(input, layers.collect::<Result<_, EngineError>>()?)
            }
            CiNetwork::SharedMlp(layers) => Networks::SharedMlp(GlobalMlp::upload(backend, layers, widths)?),
            CiNetwork::SharedTransformer(transformer) => {
                Networks::SharedTransformer(GlobalTransformer::upload(backend, transformer, widths)?)
            }
            CiNetwork::Unknown { reason } => Networks::Unknown(reason),
        };
        Ok(Self { networks, sigmoid: function.sigmoid })
    }

    /// Why it cannot be evaluated; `None` where it can.
    pub(crate) fn unknown(&self) -> Option<&str> {
        match &self.networks {
            Networks::Unknown(reason) => Some(reason),
            _ => None,
        }
    }

    /// Whether it reads the inputs of all layers together.
    pub(crate) fn is_global(&self) -> bool {
        matches!(self.networks, Networks::SharedMlp(_) | Networks::SharedTransformer(_))
    }

    /// Elements that it holds for so many prompts, the result left out.
    pub(crate) fn working_set(&self, prompts: usize, positions: usize) -> usize {
        let rows = prompts * positions;
        match &self.networks {
            Networks::Layerwise(input, layers) => {
                layers.values().map(|part| LayerNetwork { input: *input, part }.working_set(rows)).max().unwrap_or(0)
            }
            Networks::SharedMlp(network) => network.working_set(rows),
            Networks::SharedTransformer(network) => network.working_set(prompts, positions),
            Networks::Unknown(_) => 0,
        }
    }

    /// What becomes causal importances by the [sigmoid](Self::importances), `[rows, C]`, on the host, of a layer with input `x`,
    /// `[1, rows, d_in]`, and components reading it through `v`, `[d_in, C]`, or being it where there is no `v`; `None` of a
    /// function of all layers. Rows are positions, of one prompt or several.
    pub(crate) fn of_layer<B: AttributionBackend<Tensor = T>>(
        &self,
        b: &B,
        layer: Layer,
        x: &T,
        v: Option<&T>,
    ) -> Result<Option<Vec<B::Element>>, EngineError> {
        let Networks::Layerwise(input, layers) = &self.networks else { return Ok(None) };
        let Some(part) = layers.get(&layer) else { return Ok(None) };
        Ok(Some(LayerNetwork { input: *input, part }.evaluate(b, x, v)?))
    }

    /// The same of every layer of a function of all layers; nothing of others.
    pub(crate) fn of_all<B: AttributionBackend<Tensor = T>>(
        &self,
        b: &B,
        inputs: &Inputs<T>,
    ) -> Result<BTreeMap<Layer, Vec<B::Element>>, EngineError> {
        if inputs.is_empty() {
            return Ok(BTreeMap::new());
        }
        match &self.networks {
            Networks::SharedMlp(network) => network.evaluate(b, inputs),
            Networks::SharedTransformer(network) => network.evaluate(b, inputs),
            Networks::Layerwise(..) | Networks::Unknown(_) => Ok(BTreeMap::new()),
        }
    }

    /// Causal importances, of what the function gives before its sigmoid.
    pub(crate) fn importances<E: Element>(&self, before_sigmoid: &[E]) -> Vec<f32> {
        before_sigmoid.iter().map(|value| self.sigmoid.apply(value.to_f64()) as f32).collect()
    }
}
