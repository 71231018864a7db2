//! A target layer as a function of all that goes into it.

use std::collections::BTreeMap;
use std::sync::Arc;

use tributary_backend::{AttributionBackend, BackendError};
use tributary_model::{Layer, Role};

use crate::Model;
use crate::deltas::Deltas;
use crate::forward::{Flow, Halt, Visitor, forward};
use crate::recorded_pass::RecordedPass;

/// A target layer as a function of its sources, and of what is held constant beside them.
///
/// Its gradient is that of a [`Segment`](crate::segment::Segment). Its values also follow what passes through deltas, where a
/// segment has the recorded ones.
pub(super) struct Function<'a, B: AttributionBackend> {
    pub(super) model: &'a Model<B>,
    pub(super) recorded: &'a RecordedPass<B::Tensor>,
    pub(super) sources: Vec<Layer>,
    pub(super) target: Layer,
    /// `[d_in, components]`: the wanted columns of what reads the target's input.
    pub(super) reader: B::Tensor,
    /// Whether what no component holds is a part of the forward pass.
    pub(super) has_deltas: bool,
    /// Where what varies passes through that.
    pub(super) through: Option<&'a Arc<Deltas<B::Tensor>>>,
}

/// What is held constant, by kind: what each is multiplied by, `[items, 1, 1]`.
pub(super) struct Constants<T> {
    /// Biases and learned positions.
    pub(super) biases: T,
    /// What no component holds of the weights of the sources, where it does not vary.
    pub(super) deltas: T,
    /// What the components of other layers write, where deltas are passed through.
    pub(super) others: T,
}

impl<B: AttributionBackend> Function<'_, B> {
    /// `pre` of the target's wanted components, `[items, positions, components]`, for `leaves` `[items, positions, _]` in the
    /// sources' order.
    pub(super) fn evaluate(
        &self,
        leaves: &[B::Tensor],
        constants: Option<&Constants<B::Tensor>>,
    ) -> Result<B::Tensor, BackendError> {
        let leaves = self.sources.iter().copied().zip(leaves).collect();
        match forward(self.model, &self.recorded.sequence, &mut Evaluation { function: self, leaves, constants }) {
            Err(Halt::Reached(pre)) => Ok(pre),
            Err(Halt::Failed(error)) => Err(error),
            Ok(_) => unreachable!("{} lies before the logits or is them", self.target),
        }
    }
}

struct Evaluation<'a, B: AttributionBackend> {
    function: &'a Function<'a, B>,
    leaves: BTreeMap<Layer, &'a B::Tensor>,
    constants: Option<&'a Constants<B::Tensor>>,
}

impl<B: AttributionBackend> Evaluation<'_, B> {
    fn scaled(
        &self,
        value: &B::Tensor,
        kind: impl Fn(&Constants<B::Tensor>) -> &B::Tensor,
    ) -> Result<B::Tensor, BackendError> {
        let b = &self.function.model.backend;
        self.constants.map_or_else(|| Ok(value.clone()), |constants| b.mul(value, kind(constants)))
    }

    fn bias(&self, layer: Layer) -> Option<&B::Tensor> {
        self.function.model.linear.get(&layer).and_then(|linear| linear.bias.as_ref())
    }

    /// What a decomposed layer writes whose components have the activations `post`.
    fn written(&mut self, layer: Layer, post: &B::Tensor, input: impl FnOnce(&mut Self) -> Flow<B>) -> Flow<B> {
        let Function { model, recorded, through, has_deltas, .. } = self.function;
        let (b, recorded) = (&model.backend, &recorded.layers[&layer]);
        let mut written = b.matmul(&recorded.kept(b, post)?, &recorded.u)?;
        if !self.leaves.contains_key(&layer) {
            written = self.scaled(&written, |constants| &constants.others)?;
        }
        let bias = self.bias(layer).cloned();
        if let Some(bias) = &bias {
            written = b.add(&written, &self.scaled(bias, |constants| &constants.biases)?)?;
        }
        match through.and_then(|deltas| deltas.get(layer)) {
            Some(delta) => {
                let x = input(self)?;
                Ok(b.add(&written, &b.matmul(&x, delta)?)?)
            }
            None => match recorded.constant() {
                Some(constant) if *has_deltas => {
                    let delta = bias.map_or_else(|| Ok(constant.clone()), |bias| b.sub(constant, &bias))?;
                    Ok(b.add(&written, &self.scaled(&delta, |constants| &constants.deltas)?)?)
                }
                _ => Ok(written),
            },
        }
    }
}

impl<B: AttributionBackend> Visitor<B> for Evaluation<'_, B> {
    fn embedding(&mut self) -> Flow<B> {
        let Function { model, recorded, .. } = self.function;
        match model.architecture.token_embedding().filter(|layer| recorded.layers.contains_key(layer)) {
            Some(layer) => match self.leaves.get(&layer).copied() {
                Some(post) => self.written(layer, post, |_| unreachable!("an embedding reads no stream")),
                None => Ok(self.scaled(&recorded.layers[&layer].output, |constants| &constants.others)?),
            },
            None => match self.leaves.get(&Layer::wte()).copied() {
                Some(embedding) => Ok(embedding.clone()),
                None => Ok(self.scaled(&recorded.embedding, |constants| &constants.others)?),
            },
        }
    }

    fn layer(&mut self, layer: Layer, input: impl FnOnce(&mut Self) -> Flow<B>) -> Flow<B> {
        let Function { model, recorded, target, reader, through, .. } = self.function;
        let b = &model.backend;
        if layer == *target {
            let x = input(self)?;
            return Err(Halt::Reached(b.matmul(&x, reader)?));
        }
        if let Some(post) = self.leaves.get(&layer).copied() {
            return match layer.role() {
                Role::Unembedding => Ok(recorded.layers[&layer].kept(b, post)?),
                _ => self.written(layer, post, input),
            };
        }
        match recorded.layers.get(&layer) {
            // Past the target the input has to be asked for, since the target lies somewhere before it.
            Some(of_layer) if layer < *target && through.is_some() => {
                let post = of_layer.post.clone();
                self.written(layer, &post, input)
            }
            // Not on the way to the target, but computed before it.
            Some(of_layer) if layer < *target => Ok(self.scaled(&of_layer.output, |constants| &constants.others)?),
            _ => {
                let x = input(self)?;
                let Some(linear) = model.linear.get(&layer) else { return Ok(model.apply_linear(layer, &x)?) };
                let written = b.matmul(&x, linear.weight())?;
                match &linear.bias {
                    Some(bias) => Ok(b.add(&written, &self.scaled(bias, |constants| &constants.biases)?)?),
                    None => Ok(written),
                }
            }
        }
    }

    fn constant(&mut self, value: &B::Tensor) -> Result<B::Tensor, BackendError> {
        self.scaled(value, |constants| &constants.biases)
    }
}
