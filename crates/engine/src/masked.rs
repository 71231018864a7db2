//! The masked forward pass of all sets of a batch.

use std::collections::BTreeMap;
use std::ops::Range;

use tributary_backend::{AttributionBackend, BackendError};
use tributary_model::Layer;

use crate::Model;
use crate::batch::Batch;
use crate::forward::{Flow, Halt, Visitor, forward};
use crate::sequence::Sequence;
use crate::support::Supports;

/// Everything the masked forward pass of a batch computed that attributions need. All tensors are detached.
pub(crate) struct MaskedForward<T> {
    pub(crate) sequence: Sequence<T>,
    /// Token embeddings, `[sets, positions, d_model]`.
    pub(crate) embedding: T,
    /// Every decomposed layer.
    pub(crate) layers: BTreeMap<Layer, MaskedLayer<T>>,
    /// What is unembedded: the last residual stream, normalised, `[sets, positions, d_model]`.
    pub(crate) last: T,
    /// Numbers of sets and of positions.
    pub(crate) shape: [usize; 2],
}

/// Logits that are held at once, unless one set has more.
const LOGITS_AT_ONCE: usize = 1 << 22;

/// A decomposed layer, cut to the [support](crate::support) of the batch.
pub(crate) struct MaskedLayer<T> {
    /// The support, ascending: what the axis of components numbers.
    pub(crate) components: Vec<usize>,
    /// `[d_in, support]`
    pub(crate) v: T,
    /// `[support, d_out]`
    pub(crate) u: T,
    /// Causal importances, `[sets, positions, support]`.
    pub(crate) mask: T,
    /// Component activations, `[sets, positions, support]`: `pre` and, the detach being the identity on values, `post`.
    pub(crate) post: T,
    /// Output, `[sets, positions, d_out]`.
    pub(crate) output: T,
}

impl<T: Clone> MaskedForward<T> {
    /// The sets in groups whose logits are held at the same time.
    pub(crate) fn output_groups(&self, vocab: usize) -> impl Iterator<Item = Range<usize>> + use<T> {
        let [sets, positions] = self.shape;
        let at_once = (LOGITS_AT_ONCE / (positions * vocab)).max(1);
        (0..sets).step_by(at_once).map(move |start| start..(start + at_once).min(sets))
    }

    /// Runs the batch through the decomposed model up to the unembedding, every component scaled by its causal
    /// importance.
    pub(crate) fn run<B: AttributionBackend<Tensor = T>>(
        model: &Model<B>,
        batch: &Batch<'_>,
        supports: Supports,
    ) -> Result<Self, BackendError> {
        let sequence = Sequence::new(model, batch.positions())?;
        let embedding = model.embed(&batch.tokens())?;
        let mut recorder = Recorder { model, batch, embedding, supports, layers: BTreeMap::new() };
        match forward(model, &sequence, &mut recorder) {
            Err(Halt::Reached(last)) => {
                let Recorder { embedding, layers, .. } = recorder;
                Ok(Self { sequence, embedding, layers, last, shape: [batch.sets().len(), batch.positions()] })
            }
            Err(Halt::Failed(error)) => Err(error),
            Ok(_) => unreachable!("the recorder halts before the logits"),
        }
    }
}

struct Recorder<'a, B: AttributionBackend> {
    model: &'a Model<B>,
    batch: &'a Batch<'a>,
    embedding: B::Tensor,
    supports: Supports,
    layers: BTreeMap<Layer, MaskedLayer<B::Tensor>>,
}

impl<B: AttributionBackend> Visitor<B> for Recorder<'_, B> {
    fn embedding(&mut self) -> Flow<B> {
        Ok(self.embedding.clone())
    }

    fn layer(&mut self, layer: Layer, input: impl FnOnce(&mut Self) -> Flow<B>) -> Flow<B> {
        let x = input(self)?;
        if layer.is_output() {
            return Err(Halt::Reached(x));
        }
        let model = self.model;
        let Some(components) = self.supports.remove(&layer) else { return Ok(model.apply_linear(layer, &x)?) };
        let b = &model.backend;
        let weights = &model.components[&layer];
        let v = b.select(&weights.v, 1, &components)?;
        let u = b.select(&weights.u, 0, &components)?;
        let mask = self.batch.mask(model, layer, &components)?;
        let post = b.detach(&b.matmul(&x, &v)?);
        let output = model.write(layer, &u, &post, &mask)?;
        self.layers.insert(layer, MaskedLayer { components, v, u, mask, post, output: output.clone() });
        Ok(output)
    }
}
