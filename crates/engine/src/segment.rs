//! The piece of the forward pass between the sources of a target and the target.

use std::collections::BTreeMap;

use tributary_backend::{AttributionBackend, BackendError};
use tributary_model::{Layer, Role};

use crate::Model;
use crate::forward::{Flow, Halt, Visitor, forward};
use crate::recorded_pass::RecordedPass;

/// A target layer as a function of its sources.
///
/// Only what lies between the nearest detaches is computed: sources give their leaves, other decomposed layers the
/// outputs the masked forward pass recorded.
pub(crate) struct Segment<'a, B: AttributionBackend> {
    model: &'a Model<B>,
    forward: &'a RecordedPass<B::Tensor>,
    sources: Vec<Layer>,
    target: Layer,
    /// `[d_in, components]`: the wanted columns of what reads the target's input.
    reader: B::Tensor,
}

impl<'a, B: AttributionBackend> Segment<'a, B> {
    /// The `components` of `target` as a function of the layers in `sources`.
    pub(crate) fn new(
        model: &'a Model<B>,
        forward: &'a RecordedPass<B::Tensor>,
        sources: Vec<Layer>,
        target: Layer,
        components: &[usize],
    ) -> Result<Self, BackendError> {
        let reader = forward.reader(model, target, components)?;
        Ok(Self { model, forward, sources, target, reader })
    }

    /// What each source gave in the masked forward pass: component activations, or embeddings.
    pub(crate) fn leaves(&self) -> Vec<B::Tensor> {
        self.sources
            .iter()
            .map(|source| self.forward.layers.get(source).map_or(&self.forward.embedding, |layer| &layer.post).clone())
            .collect()
    }

    /// `pre` of the target's wanted components, `[sets, positions, components]`, for `leaves` in the sources' order.
    pub(crate) fn evaluate(&self, leaves: &[B::Tensor]) -> Result<B::Tensor, BackendError> {
        let leaves = self.sources.iter().copied().zip(leaves).collect();
        match forward(self.model, &self.forward.sequence, &mut Evaluation { segment: self, leaves }) {
            Err(Halt::Reached(pre)) => Ok(pre),
            Err(Halt::Failed(error)) => Err(error),
            Ok(_) => unreachable!("{} lies before the logits or is them", self.target),
        }
    }
}

struct Evaluation<'a, B: AttributionBackend> {
    segment: &'a Segment<'a, B>,
    leaves: BTreeMap<Layer, &'a B::Tensor>,
}

impl<B: AttributionBackend> Evaluation<'_, B> {
    /// The output of a decomposed layer, which depends on its input where gradients pass through the delta.
    fn with_delta(&mut self, layer: Layer, output: B::Tensor, input: impl FnOnce(&mut Self) -> Flow<B>) -> Flow<B> {
        let Segment { model, forward, .. } = self.segment;
        let Some(deltas) = &forward.deltas else { return Ok(output) };
        let x = input(self)?;
        Ok(model.backend.add(&output, &deltas.gradient_alone(&model.backend, layer, &x)?)?)
    }
}

impl<B: AttributionBackend> Visitor<B> for Evaluation<'_, B> {
    fn embedding(&mut self) -> Flow<B> {
        let Segment { model, forward, .. } = self.segment;
        if let Some(layer) = model.architecture.token_embedding() {
            let recorded = &forward.layers[&layer];
            return match self.leaves.get(&layer) {
                Some(post) => Ok(recorded.write(&model.backend, post)?),
                None => Ok(recorded.output.clone()),
            };
        }
        Ok(B::Tensor::clone(self.leaves.get(&Layer::wte()).copied().unwrap_or(&forward.embedding)))
    }

    fn layer(&mut self, layer: Layer, input: impl FnOnce(&mut Self) -> Flow<B>) -> Flow<B> {
        let Segment { model, forward, target, reader, .. } = self.segment;
        if layer == *target {
            let x = input(self)?;
            return Err(Halt::Reached(model.backend.matmul(&x, reader)?));
        }
        let b = &model.backend;
        if let Some(post) = self.leaves.get(&layer) {
            let recorded = &forward.layers[&layer];
            return match layer.role() {
                Role::Unembedding => Ok(recorded.kept(b, post)?),
                _ => self.with_delta(layer, recorded.write(b, post)?, input),
            };
        }
        match forward.layers.get(&layer) {
            // Past the target the input has to be asked for, since the target lies somewhere before it.
            Some(recorded) if layer < *target => self.with_delta(layer, recorded.output.clone(), input),
            _ => {
                let x = input(self)?;
                Ok(model.apply_linear(layer, &x)?)
            }
        }
    }
}
