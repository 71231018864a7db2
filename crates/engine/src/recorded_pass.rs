//! A forward pass of the decomposed model, and what it records.

use std::collections::BTreeMap;
use std::ops::Range;

use tributary_backend::{AttributionBackend, BackendError, Element};
use tributary_model::Layer;

use crate::Model;
use crate::forward::{Flow, Halt, Visitor, forward};
use crate::pass::{Delta, Edit, Pass};
use crate::sequence::Sequence;
use crate::support::Supports;

/// Everything a forward pass computed that attributions need. All tensors are detached.
pub(crate) struct RecordedPass<T> {
    pub(crate) sequence: Sequence<T>,
    /// Token embeddings, `[sets, positions, d_model]`.
    pub(crate) embedding: T,
    /// Every decomposed layer.
    pub(crate) layers: BTreeMap<Layer, RecordedLayer<T>>,
    /// What is unembedded: the last residual stream, normalised, `[sets, positions, d_model]`.
    pub(crate) last: T,
    /// Numbers of sets and of positions.
    pub(crate) shape: [usize; 2],
}

/// Logits that are held at once, unless one set has more.
const LOGITS_AT_ONCE: usize = 1 << 22;

/// A decomposed layer, cut to the [support](crate::support) of the batch.
pub(crate) struct RecordedLayer<T> {
    /// The support, ascending: what the axis of components numbers.
    pub(crate) components: Vec<usize>,
    /// `[d_in, support]`
    pub(crate) v: T,
    /// `[support, d_out]`
    pub(crate) u: T,
    /// What each component was multiplied by, `[sets, positions, support]`; `None` where that is 1 everywhere.
    pub(crate) mask: Option<T>,
    /// Component activations, `[sets, positions, support]`: `pre` and, the detach being the identity on values, `post`.
    pub(crate) post: T,
    /// What is added whatever the activations: the bias, and the delta where there is one.
    constant: Option<T>,
    /// Output, `[sets, positions, d_out]`.
    pub(crate) output: T,
}

impl<T: Clone> RecordedPass<T> {
    /// The sets in groups whose logits are held at the same time.
    pub(crate) fn output_groups(&self, vocab: usize) -> impl Iterator<Item = Range<usize>> + use<T> {
        let [sets, positions] = self.shape;
        let at_once = (LOGITS_AT_ONCE / (positions * vocab)).max(1);
        (0..sets).step_by(at_once).map(move |start| start..(start + at_once).min(sets))
    }

    /// Runs the prompts, token ids of equal number, through the decomposed model up to the unembedding, as `pass` says.
    /// Components outside the `supports` must have no part in it: a mask of 0 and no edit.
    pub(crate) fn run<B: AttributionBackend<Tensor = T>>(
        model: &Model<B>,
        tokens: &[&[u32]],
        pass: &Pass<'_>,
        supports: Supports,
    ) -> Result<Self, BackendError> {
        let positions = tokens[0].len();
        let sequence = Sequence::new(model, positions)?;
        let embedding = model.embed(tokens)?;
        let mut recorder = Recorder { model, pass, embedding, supports, layers: BTreeMap::new() };
        match forward(model, &sequence, &mut recorder) {
            Err(Halt::Reached(last)) => {
                let Recorder { embedding, layers, .. } = recorder;
                Ok(Self { sequence, embedding, layers, last, shape: [tokens.len(), positions] })
            }
            Err(Halt::Failed(error)) => Err(error),
            Ok(_) => unreachable!("the recorder halts before the logits"),
        }
    }
}

impl<T: Clone> RecordedLayer<T> {
    /// What the layer gives when its component activations are `post`, `[sets, positions, support]`.
    pub(crate) fn write<B: AttributionBackend<Tensor = T>>(&self, b: &B, post: &T) -> Result<T, BackendError> {
        let kept = self.mask.as_ref().map_or(Ok(post.clone()), |mask| b.mul(post, mask))?;
        let written = b.matmul(&kept, &self.u)?;
        self.constant.as_ref().map_or(Ok(written.clone()), |constant| b.add(&written, constant))
    }
}

struct Recorder<'a, B: AttributionBackend> {
    model: &'a Model<B>,
    pass: &'a Pass<'a>,
    embedding: B::Tensor,
    supports: Supports,
    layers: BTreeMap<Layer, RecordedLayer<B::Tensor>>,
}

impl<B: AttributionBackend> Recorder<'_, B> {
    fn record(
        &self,
        layer: Layer,
        x: &B::Tensor,
        components: Vec<usize>,
    ) -> Result<RecordedLayer<B::Tensor>, BackendError> {
        let (model, b) = (self.model, &self.model.backend);
        let weights = &model.components[&layer];
        let v = b.select(&weights.v, 1, &components)?;
        let u = b.select(&weights.u, 0, &components)?;
        let mask = self.pass.masks.upload(model, layer, &components)?;
        let pre = b.detach(&b.matmul(x, &v)?);
        let constant = match self.pass.delta {
            Delta::None => model.linear[&layer].bias.clone(),
            // x W^T + b - (x V) U: all components are in the support where there is a delta.
            Delta::Stopped => {
                let all = b.matmul(&b.matmul(x, &weights.v)?, &weights.u)?;
                Some(b.detach(&b.sub(&model.apply_linear(layer, x)?, &all)?))
            }
        };
        let post = self.edited(layer, pre, &components)?;
        let mut recorded = RecordedLayer { components, v, u, mask, post, constant, output: x.clone() };
        recorded.output = recorded.write(b, &recorded.post)?;
        Ok(recorded)
    }

    /// Activations `[items, positions, support]` with the edits of a layer made.
    fn edited(&self, layer: Layer, pre: B::Tensor, components: &[usize]) -> Result<B::Tensor, BackendError> {
        let b = &self.model.backend;
        let edits: Vec<&Edit> = self.pass.edits.iter().filter(|edit| edit.layer == layer).collect();
        if edits.is_empty() {
            return Ok(pre);
        }
        let shape = b.shape(&pre);
        let mut values = b.download(&pre)?;
        for edit in edits {
            if let Ok(place) = components.binary_search(&edit.component) {
                values[(edit.item * shape[1] + edit.position) * shape[2] + place] = B::Element::from_f64(edit.value);
            }
        }
        b.upload(&values, &shape)
    }
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
        let Some(components) = self.supports.remove(&layer) else { return Ok(self.model.apply_linear(layer, &x)?) };
        let recorded = self.record(layer, &x, components)?;
        let output = recorded.output.clone();
        self.layers.insert(layer, recorded);
        Ok(output)
    }
}
