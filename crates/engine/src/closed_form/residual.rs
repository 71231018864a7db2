//! Reads of the residual stream: every writer before a norm, to what reads behind it.
//!
//! With `x` the normalised stream (before weight `gamma`), `sigma` what it was divided by, `u` a source's row of `U` (the
//! embedding, for `wte`) and `g = gamma * V[:, c_out]` (for `output`, `gamma * unembedding`):
//!
//! ```text
//! A = post * mask / sigma * (<u, g> - <u, x> <g, x> / d)
//! ```
//!
//! where LayerNorm takes the mean of `u` off first. `<u, g>` is made of weights alone.

use std::collections::BTreeMap;

use tributary_backend::{AttributionBackend, BackendError, Element};

use super::{Context, PairValues, edges};
use crate::model::NormTensors;
use crate::{Layer, Pair};

/// The residual stream as it grows, and who wrote to it.
pub(super) struct ResidualReads<'a, B: AttributionBackend> {
    context: &'a Context<'a, B>,
    /// `[sets, positions, d_model]`
    stream: B::Tensor,
    /// Token embeddings, centred, `[sets, positions, d_model]`.
    embedding: B::Tensor,
    /// Rows of `U` of the alive union of each writer so far, centred: `[union, d_model]`.
    written: Vec<(Layer, B::Tensor)>,
}

impl<'a, B: AttributionBackend> ResidualReads<'a, B> {
    pub(super) fn new(context: &'a Context<'a, B>) -> Result<Self, BackendError> {
        let (model, forward) = (context.model, context.forward);
        let embedding = &forward.embedding;
        let stream = match &forward.sequence.wpe {
            Some(wpe) => model.backend.add(embedding, wpe)?,
            None => embedding.clone(),
        };
        Ok(Self { context, stream, embedding: model.centre(embedding)?, written: Vec::new() })
    }

    /// Adds the output of `layer` to the stream.
    pub(super) fn write(&mut self, layer: Layer) -> Result<(), BackendError> {
        let Context { model, forward, sources, .. } = self.context;
        let b = &model.backend;
        self.stream = b.add(&self.stream, &forward.outputs[&layer])?;
        let rows = b.select(&model.components[&layer].u, 0, &sources[&layer].union)?;
        self.written.push((layer, model.centre(&rows)?));
        Ok(())
    }

    /// Attributions of everything written so far to each of `targets`, which read behind `norm`.
    pub(super) fn read(
        &self,
        norm: &NormTensors<B::Tensor>,
        targets: &[Layer],
        found: &mut BTreeMap<(Layer, Layer), PairValues<B::Element>>,
    ) -> Result<(), BackendError> {
        let model = self.context.model;
        let b = &model.backend;
        let (x, deviation) = model.standardise(&self.stream)?;
        let read = Read {
            context: self.context,
            inverse: b.download(&deviation)?.iter().map(|d| 1.0 / d.to_f64()).collect(),
            positions: b.shape(&x)[1],
        };
        let targets: Vec<Target<B>> =
            targets.iter().map(|&layer| Target::new(self.context, norm, layer)).collect::<Result<_, _>>()?;

        // wte: one source at every position, whose vector is the embedding there.
        let against_x = b.download(&b.sum(&b.mul(&self.embedding, &x)?, 2)?)?;
        for target in &targets {
            let virtual_weights = b.download(&b.matmul(&self.embedding, &target.readers)?)?;
            found.insert((Layer::Wte, target.layer), read.embedding_attributions(target, &virtual_weights, &against_x));
        }
        for (source, rows) in &self.written {
            let columns = b.permute(rows, &[1, 0])?;
            let against_x = b.download(&b.matmul(&x, &columns)?)?;
            for target in &targets {
                let readers = b.permute(&target.readers, &[1, 0])?;
                let virtual_weights = b.download(&b.matmul(&readers, &columns)?)?;
                found.insert(
                    (*source, target.layer),
                    read.layer_attributions(*source, target, &virtual_weights, &against_x),
                );
            }
        }
        Ok(())
    }
}

/// A target layer of a read.
struct Target<B: AttributionBackend> {
    layer: Layer,
    /// `gamma * V` of the alive union, `[d_model, union]`.
    readers: B::Tensor,
    /// `[set][row]`: `<g, x> / d`.
    against_x: Vec<Vec<B::Element>>,
}

impl<B: AttributionBackend> Target<B> {
    fn new(context: &Context<'_, B>, norm: &NormTensors<B::Tensor>, layer: Layer) -> Result<Self, BackendError> {
        let model = context.model;
        let (b, d) = (&model.backend, model.architecture.d_model);
        let entries = &context.targets[&layer];
        let selected = b.select(model.reader(layer), 1, &entries.union)?;
        let readers = b.mul(&selected, &b.reshape(&norm.weight, &[d, 1])?)?;
        // `pre` is `<g, x>` and what the norm's bias adds to it.
        let constant = match &norm.bias {
            Some(bias) => b.download(&b.matmul(&b.reshape(bias, &[1, d])?, &selected)?)?,
            None => vec![B::Element::default(); entries.union.len()],
        };
        let scale = B::Element::from_f64(1.0 / d as f64);
        let of_set = |set: usize| entries.map(set, |_, place, row| (entries.pre[set][row] - constant[place]) * scale);
        Ok(Self { layer, readers, against_x: (0..entries.alive.len()).map(of_set).collect() })
    }
}

/// One point where the residual stream is read.
struct Read<'a, B: AttributionBackend> {
    context: &'a Context<'a, B>,
    /// `1 / sigma`, `[sets, positions]`.
    inverse: Vec<f64>,
    positions: usize,
}

impl<B: AttributionBackend> Read<'_, B> {
    /// `virtual_weights` are `<embedding, g>`, `[sets, positions, target union]`; `against_x` `<embedding, x>`,
    /// `[sets, positions]`.
    fn embedding_attributions(
        &self,
        target: &Target<B>,
        virtual_weights: &[B::Element],
        against_x: &[B::Element],
    ) -> PairValues<B::Element> {
        let entries = &self.context.targets[&target.layer];
        let of_set = |set: usize| {
            entries.map(set, |position, place, row| {
                let at = set * self.positions + position;
                let direct = virtual_weights[at * entries.union.len() + place];
                let through_norm = against_x[at] * target.against_x[set][row];
                B::Element::from_f64(self.inverse[at]) * (direct - through_norm)
            })
        };
        (0..entries.alive.len()).map(of_set).collect()
    }

    /// `virtual_weights` are `<u, g>`, `[target union, source union]`; `against_x` `<u, x>`,
    /// `[sets, positions, source union]`.
    fn layer_attributions(
        &self,
        source: Layer,
        target: &Target<B>,
        virtual_weights: &[B::Element],
        against_x: &[B::Element],
    ) -> PairValues<B::Element> {
        let (from, to) = (&self.context.sources[&source], &self.context.targets[&target.layer]);
        let width = from.union.len();
        let pair = Pair { source, target: target.layer, crosses_positions: false };
        let of_set = |set: usize| {
            let at = |position: usize| set * self.positions + position;
            let weight = from
                .map(set, |position, _, row| from.weight[set][row] * B::Element::from_f64(self.inverse[at(position)]));
            let against_x = from.map(set, |position, place, _| against_x[at(position) * width + place]);
            edges::values(&pair, &from.alive[set], &to.alive[set], |_, e, t| {
                let direct = virtual_weights[to.places[set][t] * width + from.places[set][e]];
                weight[e] * (direct - against_x[e] * target.against_x[set][t])
            })
        };
        (0..from.alive.len()).map(of_set).collect()
    }
}
