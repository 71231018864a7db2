//! The masked forward pass of all sets of a batch.

use std::collections::BTreeMap;

use tributary_backend::{AttributionBackend, BackendError};

use crate::batch::Batch;
use crate::forward::{Flow, Halt, Visitor, forward};
use crate::sequence::Sequence;
use crate::{Layer, Model};

/// Everything the masked forward pass of a batch computed that attributions need. All tensors are detached.
pub(crate) struct MaskedForward<T> {
    pub(crate) sequence: Sequence<T>,
    /// Token embeddings, `[sets, positions, d_model]`.
    pub(crate) embedding: T,
    /// Causal importances of every decomposed layer, `[sets, positions, components]`.
    pub(crate) masks: BTreeMap<Layer, T>,
    /// Component activations of every decomposed layer, `[sets, positions, components]`: `pre` and, the detach being
    /// the identity on values, `post`.
    pub(crate) activations: BTreeMap<Layer, T>,
    /// Output of every decomposed layer, `[sets, positions, d_out]`.
    pub(crate) outputs: BTreeMap<Layer, T>,
    /// `[sets, positions, vocab]`
    pub(crate) logits: T,
}

impl<T: Clone> MaskedForward<T> {
    /// Runs the batch through the decomposed model, every component scaled by its causal importance.
    pub(crate) fn run<B: AttributionBackend<Tensor = T>>(
        model: &Model<B>,
        batch: &Batch<'_>,
    ) -> Result<Self, BackendError> {
        let sequence = Sequence::new(model, batch.positions())?;
        let mut recorder = Recorder {
            model,
            embedding: model.embed(&batch.tokens())?,
            masks: batch.masks(model)?,
            activations: BTreeMap::new(),
            outputs: BTreeMap::new(),
        };
        match forward(model, &sequence, &mut recorder) {
            Ok(logits) => {
                let Recorder { embedding, masks, activations, outputs, .. } = recorder;
                Ok(Self { sequence, embedding, masks, activations, outputs, logits })
            }
            Err(Halt::Failed(error)) => Err(error),
            Err(Halt::Reached(_)) => unreachable!("the recorder runs to the logits"),
        }
    }
}

struct Recorder<'a, B: AttributionBackend> {
    model: &'a Model<B>,
    embedding: B::Tensor,
    masks: BTreeMap<Layer, B::Tensor>,
    activations: BTreeMap<Layer, B::Tensor>,
    outputs: BTreeMap<Layer, B::Tensor>,
}

impl<B: AttributionBackend> Visitor<B> for Recorder<'_, B> {
    fn embedding(&mut self) -> Flow<B> {
        Ok(self.embedding.clone())
    }

    fn layer(&mut self, layer: Layer, input: impl FnOnce(&mut Self) -> Flow<B>) -> Flow<B> {
        let x = input(self)?;
        let Some(mask) = self.masks.get(&layer) else { return Ok(self.model.apply_linear(layer, &x)?) };
        let b = &self.model.backend;
        let pre = b.matmul(&x, self.model.reader(layer))?;
        let post = b.detach(&pre);
        let output = self.model.write(layer, &post, mask)?;
        self.activations.insert(layer, post);
        self.outputs.insert(layer, output.clone());
        Ok(output)
    }
}
