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

use tributary_backend::{AttributionBackend, BackendError, Element};
use tributary_model::{Layer, Pair};

use super::Context;
use super::edges::{Edges, LayerEntries};
use crate::EngineError;
use crate::model::NormTensors;

/// The residual stream as it grows, and who wrote to it.
pub(crate) struct ResidualReads<'a, B: AttributionBackend> {
    context: &'a Context<'a, B>,
    /// `[sets, positions, d_model]`
    stream: B::Tensor,
    /// Token embeddings, centred, `[sets, positions, d_model]`.
    embedding: B::Tensor,
    /// Rows of `U` of the support of each writer so far, centred: `[support, d_model]`.
    written: Vec<(Layer, B::Tensor)>,
}

impl<'a, B: AttributionBackend> ResidualReads<'a, B> {
    pub(crate) fn new(context: &'a Context<'a, B>) -> Result<Self, BackendError> {
        let (model, forward) = (context.model, context.forward);
        let embedding = &forward.embedding;
        let stream = match &forward.sequence.wpe {
            Some(wpe) => model.backend.add(embedding, wpe)?,
            None => embedding.clone(),
        };
        Ok(Self { context, stream, embedding: model.centre(embedding)?, written: Vec::new() })
    }

    /// Adds the output of `layer` to the stream.
    pub(crate) fn write(&mut self, layer: Layer) -> Result<(), BackendError> {
        let Context { model, forward, .. } = self.context;
        let recorded = &forward.layers[&layer];
        self.stream = model.backend.add(&self.stream, &recorded.output)?;
        self.written.push((layer, model.centre(&recorded.u)?));
        Ok(())
    }

    /// Attributions of everything written so far to each of `targets`, which read behind `norm`.
    pub(crate) fn read(
        &self,
        norm: &NormTensors<B::Tensor>,
        targets: &[Layer],
        edges: &mut Edges<'_, '_, B::Element>,
    ) -> Result<(), EngineError> {
        let model = self.context.model;
        let b = &model.backend;
        let (x, deviation) = model.standardise(&self.stream)?;
        let inverse: Vec<f64> = b.download(&deviation)?.iter().map(|deviation| 1.0 / deviation.to_f64()).collect();
        // wte: one source at every position, whose vector is the embedding there.
        let against_x = b.download(&b.sum(&b.mul(&self.embedding, &x)?, 2)?)?;
        let embedding = EmbeddingRead { inverse: &inverse, against_x: &against_x };
        let mut sources = Vec::with_capacity(self.written.len());
        for (layer, rows) in &self.written {
            sources.push(SourceRead::new(self.context, *layer, rows, &x, &inverse)?);
        }
        for &layer in targets {
            let target = Target::new(self.context, norm, layer)?;
            if target.is_dead() {
                continue;
            }
            let virtual_weights = b.download(&b.matmul(&self.embedding, &target.readers)?)?;
            embedding.put(self.context, &target, &virtual_weights, edges)?;
            let readers = b.permute(&target.readers, &[1, 0])?;
            for (source, (_, rows)) in sources.iter().zip(&self.written) {
                if !source.is_dead() {
                    let virtual_weights = b.download(&b.matmul(&readers, &b.permute(rows, &[1, 0])?)?)?;
                    source.put(&target, &virtual_weights, edges)?;
                }
            }
        }
        Ok(())
    }
}

/// A target layer of a read.
struct Target<'a, B: AttributionBackend> {
    layer: Layer,
    entries: &'a LayerEntries<'a, B::Element>,
    /// `gamma * V`, `[d_model, components]`.
    readers: B::Tensor,
    /// `[set][row]`: `<g, x> / d`.
    against_x: Vec<Vec<B::Element>>,
}

impl<'a, B: AttributionBackend> Target<'a, B> {
    fn new(context: &'a Context<'_, B>, norm: &NormTensors<B::Tensor>, layer: Layer) -> Result<Self, BackendError> {
        let Context { model, forward, targets, .. } = context;
        let (b, d) = (&model.backend, model.architecture.d_model);
        let entries = &*targets[&layer];
        let selected = match forward.layers.get(&layer) {
            Some(recorded) => recorded.v.clone(),
            None => model.reader(layer, &entries.components)?,
        };
        let readers = b.mul(&selected, &b.reshape(&norm.weight, &[d, 1])?)?;
        // `pre` is `<g, x>` and what the norm's bias adds to it.
        let constant = match &norm.bias {
            Some(bias) => b.download(&b.matmul(&b.reshape(bias, &[1, d])?, &selected)?)?,
            None => vec![B::Element::default(); entries.components.len()],
        };
        let scale = B::Element::from_f64(1.0 / d as f64);
        let of_set = |(pre, places): (&Vec<B::Element>, &Vec<u32>)| {
            pre.iter().zip(places).map(|(&pre, &place)| (pre - constant[place as usize]) * scale).collect()
        };
        let against_x = entries.pre.iter().zip(&entries.places).map(of_set).collect();
        Ok(Self { layer, entries, readers, against_x })
    }

    fn is_dead(&self) -> bool {
        self.entries.alive.iter().all(|set| set.is_empty())
    }
}

/// The embedding as a source, at one point where the stream is read.
struct EmbeddingRead<'a, E> {
    /// `1 / sigma`, `[sets, positions]`.
    inverse: &'a [f64],
    /// `<embedding, x>`, `[sets, positions]`.
    against_x: &'a [E],
}

impl<E: Element> EmbeddingRead<'_, E> {
    /// `virtual_weights` are `<embedding, g>`, `[sets, positions, target's components]`.
    fn put<B: AttributionBackend<Element = E>>(
        &self,
        context: &Context<'_, B>,
        target: &Target<'_, B>,
        virtual_weights: &[E],
        edges: &mut Edges<'_, '_, E>,
    ) -> Result<(), EngineError> {
        let pair = Pair { source: Layer::wte(), target: target.layer, crosses_positions: false };
        let width = target.entries.components.len();
        for (set, alive) in target.entries.alive.iter().enumerate() {
            let (places, through) = (&target.entries.places[set], &target.against_x[set]);
            let source = &context.sources[&Layer::wte()].alive[set];
            edges.put(&pair, set, source, alive, |position, values| {
                let at = set * alive.positions() + position;
                let inverse = E::from_f64(self.inverse[at]);
                let (rows, direct) = (alive.rows_at(position), &virtual_weights[at * width..][..width]);
                for (value, (&place, &through)) in
                    values.iter_mut().zip(places[rows.clone()].iter().zip(&through[rows]))
                {
                    *value = inverse * (direct[place as usize] - self.against_x[at] * through);
                }
            })?;
        }
        Ok(())
    }
}

/// A layer that wrote to the stream, at one point where it is read.
struct SourceRead<'a, E> {
    layer: Layer,
    entries: &'a LayerEntries<'a, E>,
    /// `[set][row]`: `post * mask / sigma`.
    weight: Vec<Vec<E>>,
    /// `[set][row]`: `<u, x>`.
    against_x: Vec<Vec<E>>,
}

impl<'a, E: Element> SourceRead<'a, E> {
    /// `rows` are those of `U`, `[support, d_model]`, and `x` the normalised stream, `[sets, positions, d_model]`.
    fn new<B: AttributionBackend<Element = E>>(
        context: &'a Context<'_, B>,
        layer: Layer,
        rows: &B::Tensor,
        x: &B::Tensor,
        inverse: &[f64],
    ) -> Result<Self, BackendError> {
        let b = &context.model.backend;
        let entries = &*context.sources[&layer];
        let width = entries.components.len();
        let products = b.download(&b.matmul(x, &b.permute(rows, &[1, 0])?)?)?;
        let (mut weight, mut against_x) = (Vec::new(), Vec::new());
        for (set, alive) in entries.alive.iter().enumerate() {
            let at = |position: u32| set * alive.positions() + position as usize;
            let positions = entries.positions[set].iter();
            let scaled = positions.clone().zip(&entries.weight[set]);
            weight.push(scaled.map(|(&position, &w)| w * E::from_f64(inverse[at(position)])).collect());
            let placed = positions.zip(&entries.places[set]);
            against_x.push(placed.map(|(&position, &place)| products[at(position) * width + place as usize]).collect());
        }
        Ok(Self { layer, entries, weight, against_x })
    }

    fn is_dead(&self) -> bool {
        self.entries.alive.iter().all(|set| set.is_empty())
    }

    /// `virtual_weights` are `<u, g>`, `[target's components, support]`.
    fn put<B: AttributionBackend<Element = E>>(
        &self,
        target: &Target<'_, B>,
        virtual_weights: &[E],
        edges: &mut Edges<'_, '_, E>,
    ) -> Result<(), EngineError> {
        let pair = Pair { source: self.layer, target: target.layer, crosses_positions: false };
        let width = self.entries.components.len();
        for (set, from) in self.entries.alive.iter().enumerate() {
            let to = &target.entries.alive[set];
            let (target_places, through) = (&target.entries.places[set], &target.against_x[set]);
            let (places, weight, against_x) = (&self.entries.places[set], &self.weight[set], &self.against_x[set]);
            edges.put(&pair, set, from, to, |position, values| {
                let sources = from.rows_at(position);
                let places = &places[sources.clone()];
                let (weight, against_x) = (&weight[sources.clone()], &against_x[sources.clone()]);
                for (row, values) in to.rows_at(position).zip(values.chunks_exact_mut(sources.len())) {
                    let direct = &virtual_weights[target_places[row] as usize * width..][..width];
                    let through = through[row];
                    let sources = places.iter().zip(weight).zip(against_x);
                    for (value, ((&place, &weight), &against_x)) in values.iter_mut().zip(sources) {
                        *value = weight * (direct[place as usize] - against_x * through);
                    }
                }
            })?;
        }
        Ok(())
    }
}
