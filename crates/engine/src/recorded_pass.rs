//! A forward pass of the decomposed model, and what it records.

use std::collections::BTreeMap;
use std::sync::Arc;

use tributary_backend::{AttributionBackend, BackendError, Element};
use tributary_model::{Layer, Role};

use crate::Model;
use crate::acting::{Acting, ActingWeights};
use crate::deltas::Deltas;
use crate::forward::{Flow, Halt, Visitor, forward};
use crate::last::Last;
use crate::model::add_constant;
use crate::pass::{Delta, Edit, Masks, Pass};
use crate::sequence::Sequence;
use crate::support::Supports;
use crate::transpose::transpose;

/// Everything a forward pass computed that attributions need. All tensors are detached.
pub(crate) struct RecordedPass<T> {
    pub(crate) sequence: Sequence<T>,
    /// Token embeddings, `[sets, positions, d_model]`.
    pub(crate) embedding: T,
    /// Every decomposed layer.
    pub(crate) layers: BTreeMap<Layer, RecordedLayer<T>>,
    /// What is unembedded.
    pub(crate) last: Last<T>,
    /// Numbers of sets and of positions.
    pub(crate) shape: [usize; 2],
    /// What gradients pass through beside components; `None` where they do not.
    pub(crate) deltas: Option<Arc<Deltas<T>>>,
}

/// A decomposed layer, cut to the [support](crate::support) of the batch.
pub(crate) struct RecordedLayer<T> {
    /// The support, ascending: what the axis of components numbers.
    pub(crate) components: Vec<usize>,
    /// `V`, transposed, `[support, d_in]`.
    pub(crate) readers: T,
    /// `[support, d_out]`
    pub(crate) u: T,
    /// What each component was multiplied by, `[sets, positions, support]`; `None` where that is 1 everywhere.
    pub(crate) mask: Option<T>,
    /// Component activations, `[sets, positions, support]`: `pre` and, the detach being the identity on values, `post`. Where
    /// the mask is 0 they may be missing, and 0.
    pub(crate) post: T,
    /// What is added whatever the activations of the support: the bias, and where there is a delta that and the components
    /// outside the support.
    constant: Option<T>,
    /// Output, `[sets, positions, d_out]`; of a decomposed unembedding what [`kept`](Self::kept) gives.
    pub(crate) output: T,
}

impl<T: Clone> RecordedPass<T> {
    /// Runs the prompts, token ids of equal number, through the decomposed model up to the unembedding, as `pass` says.
    /// Components outside the `supports` must have no part in it, a mask of 0 and no edit, unless there is a delta and all masks
    /// are 1: then they are a part of what is constant.
    pub(crate) fn run<B: AttributionBackend<Tensor = T>>(
        model: &Model<B>,
        tokens: &[&[u32]],
        pass: &Pass<'_>,
        supports: Supports,
    ) -> Result<Self, BackendError> {
        let positions = tokens[0].len();
        let sequence = Sequence::new(model, positions)?;
        let embedding = edited_embedding(&model.backend, model.embed(tokens)?, pass.edits)?;
        let mut recorder = Recorder { model, pass, tokens, embedding, supports, layers: BTreeMap::new() };
        match forward(model, &sequence, &mut recorder) {
            Err(Halt::Reached(rows)) => {
                let Recorder { embedding, layers, .. } = recorder;
                let unembedding = model.architecture.unembedding().and_then(|layer| layers.get(&layer));
                let last = match unembedding {
                    Some(recorded) => Last {
                        rows,
                        matrix: model.backend.permute(&recorded.u, &[1, 0])?,
                        constant: recorded.constant.clone(),
                        contrasts: Arc::default(),
                    },
                    None => Last::of_target(model, rows),
                };
                Ok(Self { sequence, embedding, layers, last, shape: [tokens.len(), positions], deltas: None })
            }
            Err(Halt::Failed(error)) => Err(error),
            Ok(_) => unreachable!("the recorder halts before the logits"),
        }
    }

    /// The residual stream before anything but the embedding has written to it, `[sets, positions, d_model]`.
    pub(crate) fn first_stream<B: AttributionBackend<Tensor = T>>(&self, model: &Model<B>) -> Result<T, BackendError> {
        let decomposed = model.architecture.token_embedding();
        let embedding = decomposed.map_or(&self.embedding, |layer| &self.layers[&layer].output);
        self.sequence.wpe.as_ref().map_or_else(|| Ok(embedding.clone()), |wpe| model.backend.add(embedding, wpe))
    }

    /// What turns the input of a target layer into the activations of some of its components (`V`), or into the logits
    /// of some tokens: `[d_in, components]`.
    pub(crate) fn reader<B: AttributionBackend<Tensor = T>>(
        &self,
        model: &Model<B>,
        target: Layer,
        components: &[usize],
    ) -> Result<T, BackendError> {
        match model.components.get(&target) {
            Some(layer) => model.backend.select(&layer.v, 1, components),
            None => model.backend.permute(&self.last.readers(&model.backend, components)?, &[1, 0]),
        }
    }
}

impl<T: Clone> RecordedLayer<T> {
    /// What the layer gives when its component activations are `post`, `[sets, positions, support]`.
    pub(crate) fn write<B: AttributionBackend<Tensor = T>>(&self, b: &B, post: &T) -> Result<T, BackendError> {
        add_constant(b, b.matmul(&self.kept(b, post)?, &self.u)?, self.constant.as_ref())
    }

    /// What is added whatever the activations of the support.
    pub(crate) fn constant(&self) -> Option<&T> {
        self.constant.as_ref()
    }

    /// What of the component activations `post` is kept: `post * mask`.
    pub(crate) fn kept<B: AttributionBackend<Tensor = T>>(&self, b: &B, post: &T) -> Result<T, BackendError> {
        self.mask.as_ref().map_or(Ok(post.clone()), |mask| b.mul(post, mask))
    }
}

/// The transpose of `v`, `[d_in, support]`, its rows together: they are selected, and multiplied one by one. A CPU's library
/// would copy it element by element.
fn readers<B: AttributionBackend>(b: &B, v: B::Tensor) -> Result<B::Tensor, BackendError> {
    let [d_in, support] = b.shape(&v)[..] else { panic!("a matrix has two axes") };
    if b.device().is_cpu() {
        return b.upload_vec(transpose(&b.download_vec(v)?, [d_in, support]), &[support, d_in]);
    }
    b.select(&b.permute(&v, &[1, 0])?, 0, &(0..support).collect::<Vec<_>>())
}

/// Token embeddings, `[items, positions, d_model]`, with the edits of them made.
fn edited_embedding<B: AttributionBackend>(
    b: &B,
    embedding: B::Tensor,
    edits: &[Edit],
) -> Result<B::Tensor, BackendError> {
    if edits.iter().all(|edit| !edit.layer.is_embedding()) {
        return Ok(embedding);
    }
    let shape = b.shape(&embedding);
    let mut values = b.download(&embedding)?;
    for edit in edits.iter().filter(|edit| edit.layer.is_embedding()) {
        let row = (edit.item * shape[1] + edit.position) * shape[2];
        values[row..row + shape[2]].fill(B::Element::from_f64(edit.value));
    }
    b.upload_vec(values, &shape)
}

struct Recorder<'a, B: AttributionBackend> {
    model: &'a Model<B>,
    pass: &'a Pass<'a>,
    tokens: &'a [&'a [u32]],
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
        let u = b.select(&weights.u, 0, &components)?;
        let readers = readers(b, b.select(&weights.v, 1, &components)?)?;
        let constant = match self.pass.delta {
            Delta::None => model.linear.get(&layer).and_then(|linear| linear.bias.clone()),
            // Below.
            Delta::Stopped if matches!(self.pass.masks, Masks::Ones) => None,
            // x W^T + b - (x V) U: all components are in the support.
            Delta::Stopped => {
                let all = b.matmul(&b.matmul(x, &weights.v)?, &weights.u)?;
                Some(b.detach(&b.sub(&model.apply_linear(layer, x)?, &all)?))
            }
        };
        let [items, positions, d_in] = b.shape(x)[..] else { panic!("a layer's input has three axes") };
        let acting = self.pass.masks.acting(layer, &components);
        let mask = self.mask(acting.as_ref(), [items, positions, components.len()])?;
        let is_unembedding = layer.role() == Role::Unembedding;
        let alone = |acting: &Acting<B::Element>| self.only_what_acts() && !is_unembedding && acting.is_little();
        if let Some(acting) = acting.filter(alone) {
            let [support, d_out] = b.shape(&u)[..] else { panic!("a matrix has two axes") };
            let (reader_rows, writers) = (b.download(&readers)?, b.download(&u)?);
            let weights = ActingWeights { readers: &reader_rows, writers: &writers, d_in, d_out };
            let (post, written) = acting.evaluate(&b.download(x)?, &weights);
            let post = b.upload_vec(post, &[items, positions, support])?;
            let output = add_constant(b, b.upload_vec(written, &[items, positions, d_out])?, constant.as_ref())?;
            return Ok(RecordedLayer { components, readers, u, mask, post, constant, output });
        }
        let pre = b.detach(&b.matmul(x, &b.permute(&readers, &[1, 0])?)?);
        if self.pass.delta == Delta::Stopped && matches!(self.pass.masks, Masks::Ones) {
            // What the target model gives.
            let whole = model.apply_linear_closely(layer, x)?;
            let constant = Some(b.detach(&b.sub(&whole, &b.matmul(&pre, &u)?)?));
            let is_edited = self.pass.edits.iter().any(|edit| edit.layer == layer);
            let post = self.edited(layer, pre, &components)?;
            let mut recorded = RecordedLayer { components, readers, u, mask, post, constant, output: whole };
            if is_unembedding {
                recorded.output = recorded.post.clone();
            } else if is_edited {
                recorded.output = recorded.write(b, &recorded.post)?;
            }
            return Ok(recorded);
        }
        let post = self.edited(layer, pre, &components)?;
        let mut recorded = RecordedLayer { components, readers, u, mask, post, constant, output: x.clone() };
        let written = if is_unembedding { recorded.kept(b, &recorded.post) } else { recorded.write(b, &recorded.post) };
        recorded.output = written?;
        Ok(recorded)
    }

    /// Records a decomposed embedding, which reads no stream: the activation of a component is its number for the token.
    fn record_embedding(&self, layer: Layer, components: Vec<usize>) -> Result<RecordedLayer<B::Tensor>, BackendError> {
        let (model, b) = (self.model, &self.model.backend);
        let weights = &model.components[&layer];
        let of_tokens = model.token_activations(layer, self.tokens)?;
        let u = b.select(&weights.u, 0, &components)?;
        let constant = match self.pass.delta {
            Delta::None => None,
            Delta::Stopped if matches!(self.pass.masks, Masks::Ones) => {
                Some(b.sub(&self.embedding, &b.matmul(&b.select(&of_tokens, 2, &components)?, &u)?)?)
            }
            Delta::Stopped => Some(b.sub(&self.embedding, &b.matmul(&of_tokens, &weights.u)?)?),
        };
        let [items, positions, _] = b.shape(&of_tokens)[..] else { panic!("activations have three axes") };
        let acting = self.pass.masks.acting(layer, &components);
        let mask = self.mask(acting.as_ref(), [items, positions, components.len()])?;
        let post = self.edited(layer, b.select(&of_tokens, 2, &components)?, &components)?;
        let readers = readers(b, b.select(&weights.v, 1, &components)?)?;
        let mut recorded = RecordedLayer { components, readers, u, mask, post, constant, output: of_tokens };
        recorded.output = recorded.write(b, &recorded.post)?;
        Ok(recorded)
    }

    /// The factors of what acts and of what does not; `None` where all are 1.
    fn mask(&self, acting: Option<&Acting<B::Element>>, shape: [usize; 3]) -> Result<Option<B::Tensor>, BackendError> {
        acting.map(|acting| self.model.backend.upload_vec(acting.mask(), &shape)).transpose()
    }

    /// Whether nothing but what acts is of interest, and a CPU may compute that alone.
    fn only_what_acts(&self) -> bool {
        let Self { model, pass, supports, .. } = self;
        model.backend.device().is_cpu() && !supports.zero_is_alive && pass.delta == Delta::None && pass.edits.is_empty()
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
            if let Ok(slot) = components.binary_search(&edit.component) {
                values[(edit.item * shape[1] + edit.position) * shape[2] + slot] = B::Element::from_f64(edit.value);
            }
        }
        b.upload(&values, &shape)
    }
}

impl<B: AttributionBackend> Visitor<B> for Recorder<'_, B> {
    fn embedding(&mut self) -> Flow<B> {
        let decomposed = self.model.architecture.token_embedding();
        let Some((layer, components)) =
            decomposed.and_then(|layer| Some((layer, self.supports.layers.remove(&layer)?)))
        else {
            return Ok(self.embedding.clone());
        };
        let recorded = self.record_embedding(layer, components)?;
        let output = recorded.output.clone();
        self.layers.insert(layer, recorded);
        Ok(output)
    }

    fn layer(&mut self, layer: Layer, input: impl FnOnce(&mut Self) -> Flow<B>) -> Flow<B> {
        let x = input(self)?;
        if layer.is_output() {
            return Err(Halt::Reached(x));
        }
        let Some(components) = self.supports.layers.remove(&layer) else {
            return Ok(self.model.apply_linear(layer, &x)?);
        };
        let recorded = self.record(layer, &x, components)?;
        let output = recorded.output.clone();
        self.layers.insert(layer, recorded);
        Ok(output)
    }
}
