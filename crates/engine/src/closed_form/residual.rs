//! Reads of the residual stream: every writer before a norm, to what reads behind it.
//!
//! With `x` the normalised stream (before weight `gamma`), `sigma` what it was divided by, `u` a source's row of `U` (the
//! embedding, for `wte`) and `g = gamma * V[:, c_out]` (for `output`, `gamma * unembedding`):
//!
//! ```text
//! A = post * mask / sigma * (<u, g> - <u, x> <g, x> / d)
//! ```
//!
//! where LayerNorm takes the mean of `u` off first, and `post * mask` is 1 for `wte`.
//!
//! `<u, g>` is made of weights alone: it can be computed once for all positions, for every source with every target of the
//! supports, or position by position for what is alive there. [`at_positions`] decides.

use tributary_backend::{AttributionBackend, BackendError, Element};
use tributary_model::{AliveEntries, Layer, Pair};

use super::context::Context;
use super::products::{Rows, costs, products};
use super::row_matrix::RowMatrix;
use crate::EngineError;
use crate::edges::{CHUNK, Edges, LayerEntries, chunks};
use crate::model::NormTensors;

/// The residual stream as it grows, and who wrote to it.
pub(crate) struct ResidualReads<'a, B: AttributionBackend> {
    context: &'a Context<'a, B>,
    /// `[sets, positions, d_model]`
    stream: B::Tensor,
    /// The embedding first.
    written: Vec<Writer<'a, B>>,
}

/// A layer that wrote to the stream.
struct Writer<'a, B: AttributionBackend> {
    layer: Layer,
    entries: &'a LayerEntries<'a, B::Element>,
    /// What its entries write, centred where the norms do that: of a decomposed layer `U` of the support,
    /// `[support, d_model]`; of `wte` the embeddings, `[sets * positions, d_model]`.
    rows: RowMatrix<B>,
    /// `[set][row]`: which of `rows` each entry writes.
    matrix_rows: Vec<Vec<u32>>,
}

impl<'a, B: AttributionBackend> ResidualReads<'a, B> {
    pub(crate) fn new(context: &'a Context<'a, B>) -> Result<Self, BackendError> {
        let (model, forward) = (context.model, context.forward);
        let (b, d) = (&model.backend, model.architecture.d_model);
        let stream = forward.first_stream(model)?;
        if let Some(layer) = model.architecture.token_embedding() {
            let mut reads = Self { context, stream, written: Vec::new() };
            reads.wrote(layer)?;
            return Ok(reads);
        }
        let [sets, positions] = forward.shape;
        let rows = RowMatrix::new(b.reshape(&model.centre(&forward.embedding)?, &[sets * positions, d])?);
        let matrix_rows = (0..sets).map(|set| (0..positions).map(|s| (set * positions + s) as u32).collect()).collect();
        let wte = Writer { layer: Layer::wte(), entries: &*context.sources[&Layer::wte()], rows, matrix_rows };
        Ok(Self { context, stream, written: vec![wte] })
    }

    /// Adds the output of `layer` to the stream.
    pub(crate) fn write(&mut self, layer: Layer) -> Result<(), BackendError> {
        let Context { model, forward, .. } = self.context;
        self.stream = model.backend.add(&self.stream, &forward.layers[&layer].output)?;
        self.wrote(layer)
    }

    /// Adds `layer` to those that wrote.
    fn wrote(&mut self, layer: Layer) -> Result<(), BackendError> {
        let Context { model, forward, sources, .. } = self.context;
        let (recorded, entries) = (&forward.layers[&layer], &*sources[&layer]);
        let (rows, matrix_rows) = (RowMatrix::new(model.centre(&recorded.u)?), entries.slots.clone());
        self.written.push(Writer { layer, entries, rows, matrix_rows });
        Ok(())
    }

    /// Attributions of everything written so far to each of `targets`, which read behind `norm`.
    pub(crate) fn read(
        &self,
        norm: &NormTensors<B::Tensor>,
        targets: &[Layer],
        edges: &mut Edges<'_, '_, B::Element>,
    ) -> Result<(), EngineError> {
        let Context { model, forward, .. } = self.context;
        let (b, d) = (&model.backend, model.architecture.d_model);
        let (x, deviation) = model.standardise(&self.stream)?;
        let x = RowMatrix::new(b.reshape(&x, &[forward.shape.iter().product(), d])?);
        let inverse: Vec<f64> = b.download(&deviation)?.iter().map(|deviation| 1.0 / deviation.to_f64()).collect();
        let sources = self.written.iter().filter(|writer| writer.entries.alive.iter().any(|set| !set.is_empty()));
        let sources = sources.map(|writer| Source::new(b, writer, &x, &inverse)).collect::<Result<Vec<_>, _>>()?;
        for &layer in targets {
            let target = Target::new(self.context, norm, layer)?;
            if !target.is_dead() {
                sources.iter().try_for_each(|source| source.put(b, &target, edges))?;
            }
        }
        Ok(())
    }
}

/// A target layer of a read.
struct Target<'a, B: AttributionBackend> {
    layer: Layer,
    entries: &'a LayerEntries<'a, B::Element>,
    /// `gamma * V`, transposed, `[components, d_model]`.
    readers: RowMatrix<B>,
    /// `[set][row]`: `<g, x> / d`.
    against_x: Vec<Vec<B::Element>>,
}

impl<'a, B: AttributionBackend> Target<'a, B> {
    fn new(context: &'a Context<'_, B>, norm: &NormTensors<B::Tensor>, layer: Layer) -> Result<Self, BackendError> {
        let Context { model, forward, targets, .. } = context;
        let (b, d) = (&model.backend, model.architecture.d_model);
        let entries = &*targets[&layer];
        let selected = match forward.layers.get(&layer) {
            Some(recorded) => recorded.readers.clone(),
            None => forward.last.readers(b, &entries.components)?,
        };
        let readers = RowMatrix::new(b.mul(&selected, &norm.weight)?);
        // `pre` is `<g, x>` and what the norm's bias adds to it.
        let constant = match &norm.bias {
            Some(bias) => b.download_vec(b.matmul(&b.reshape(bias, &[1, d])?, &b.permute(&selected, &[1, 0])?)?)?,
            None => vec![B::Element::default(); entries.components.len()],
        };
        let scale = B::Element::from_f64(1.0 / d as f64);
        let of_set = |(pre, slots): (&Vec<B::Element>, &Vec<u32>)| {
            pre.iter().zip(slots).map(|(&pre, &slot)| (pre - constant[slot as usize]) * scale).collect()
        };
        let against_x = entries.pre.iter().zip(&entries.slots).map(of_set).collect();
        Ok(Self { layer, entries, readers, against_x })
    }

    fn is_dead(&self) -> bool {
        self.entries.alive.iter().all(|set| set.is_empty())
    }
}

/// A layer that wrote to the stream, at one point where it is read.
struct Source<'a, B: AttributionBackend> {
    writer: &'a Writer<'a, B>,
    /// `[set][row]`: `post * mask / sigma`.
    weight: Vec<Vec<B::Element>>,
    /// `[set][row]`: `<u, x>`.
    against_x: Vec<Vec<B::Element>>,
}

impl<'a, B: AttributionBackend> Source<'a, B> {
    /// `x` is the normalised stream, `[sets * positions, d_model]`, and `inverse` is `1 / sigma` at each of its rows.
    fn new(b: &B, writer: &'a Writer<'a, B>, x: &RowMatrix<B>, inverse: &[f64]) -> Result<Self, BackendError> {
        let entries = writer.entries;
        let (sets, positions) = (entries.alive.len(), entries.alive[0].positions());
        let every_position = AliveEntries::every_position(positions);
        let own = |set: usize| (set * positions..(set + 1) * positions).map(|row| row as u32).collect::<Vec<_>>();
        let everywhere = vec![&every_position; sets];
        let of_entries = |set: usize| entries.positions[set].iter().map(move |&s| set * positions + s as usize);
        let [width, _] = writer.rows.shape(b);
        let against_x = if writer.layer == Layer::wte() {
            let products = b.download_vec(b.sum(&b.mul(writer.rows.tensor(), x.tensor())?, 1)?)?;
            products.chunks_exact(positions).map(<[_]>::to_vec).collect()
        } else if at_positions(b, entries.alive, everywhere.iter().copied(), [width, sets * positions]) {
            let of_set = |set: usize| {
                let (alive, stream_rows) = (&*entries.alive[set], own(set));
                let sources = Rows { matrix: &writer.rows, alive, row_of_entry: &writer.matrix_rows[set] };
                let stream = Rows { matrix: x, alive: &every_position, row_of_entry: &stream_rows };
                let products = products(b, 0..positions, &sources, &stream, None)?;
                let mut values = Vec::with_capacity(alive.len());
                for position in (0..positions).filter(|&position| !alive.rows_at(position).is_empty()) {
                    let of_x = products.of_targets(position).next().unwrap_or_default();
                    values.extend_from_slice(&of_x[..alive.rows_at(position).len()]);
                }
                Ok(values)
            };
            (0..sets).map(of_set).collect::<Result<_, BackendError>>()?
        } else {
            let products = b.download_vec(b.matmul(x.tensor(), &b.permute(writer.rows.tensor(), &[1, 0])?)?)?;
            let of_set = |set: usize| {
                let indices = of_entries(set).zip(&writer.matrix_rows[set]);
                indices.map(|(of_x, &of_writer)| products[of_x * width + of_writer as usize]).collect()
            };
            (0..sets).map(of_set).collect()
        };
        let weight = |set: usize| {
            let inverse = of_entries(set).map(|row| B::Element::from_f64(inverse[row]));
            match &*entries.weight[set] {
                [] => inverse.collect(),
                weight => inverse.zip(weight).map(|(inverse, &weight)| weight * inverse).collect(),
            }
        };
        Ok(Self { writer, weight: (0..sets).map(weight).collect(), against_x })
    }

    fn put(&self, b: &B, target: &Target<'_, B>, edges: &mut Edges<'_, '_, B::Element>) -> Result<(), EngineError> {
        let Writer { layer, entries, rows, matrix_rows } = self.writer;
        let pair = Pair { source: *layer, target: target.layer, crosses_positions: false };
        let ([n_sources, _], [n_targets, _]) = (rows.shape(b), target.readers.shape(b));
        let wanted = target.entries.alive.iter().map(AsRef::as_ref);
        let virtual_weights = if at_positions(b, entries.alive, wanted, [n_sources, n_targets]) {
            None
        } else {
            Some(b.download_vec(b.matmul(target.readers.tensor(), &b.permute(rows.tensor(), &[1, 0])?)?)?)
        };
        for (set, from) in entries.alive.iter().enumerate() {
            let to = &target.entries.alive[set];
            let (target_slots, through) = (&target.entries.slots[set], &target.against_x[set]);
            let (matrix_rows, weight, against_x) = (&matrix_rows[set], &self.weight[set], &self.against_x[set]);
            if let Some(virtual_weights) = &virtual_weights {
                edges.put(&pair, set, from, to, |position, values| {
                    let sources = from.rows_at(position);
                    let (matrix_rows, weight) = (&matrix_rows[sources.clone()], &weight[sources.clone()]);
                    let against_x = &against_x[sources.clone()];
                    for (row, values) in to.rows_at(position).zip(values.chunks_exact_mut(sources.len())) {
                        let direct = &virtual_weights[target_slots[row] as usize * n_sources..][..n_sources];
                        let direct = matrix_rows.iter().map(|&source| direct[source as usize]);
                        corrected(values, direct, weight, against_x, through[row]);
                    }
                })?;
                continue;
            }
            let of_sources = Rows { matrix: rows, alive: from, row_of_entry: matrix_rows };
            let of_targets = Rows { matrix: &target.readers, alive: to, row_of_entry: target_slots };
            for range in chunks(&pair, from, to, CHUNK) {
                let products = products(b, range.clone(), &of_sources, &of_targets, None)?;
                edges.put_chunk(&pair, set, from, to, range, &|position: usize, values: &mut [B::Element]| {
                    let sources = from.rows_at(position);
                    let (weight, against_x) = (&weight[sources.clone()], &against_x[sources.clone()]);
                    let targets = to.rows_at(position).zip(values.chunks_exact_mut(sources.len()));
                    for ((row, values), direct) in targets.zip(products.of_targets(position)) {
                        corrected(values, direct.iter().copied(), weight, against_x, through[row]);
                    }
                })?;
            }
        }
        Ok(())
    }
}

/// `weight * (direct - against_x * through)` for every source of one target.
fn corrected<E: Element>(values: &mut [E], direct: impl Iterator<Item = E>, weight: &[E], against_x: &[E], through: E) {
    for (value, ((direct, &weight), &against_x)) in values.iter_mut().zip(direct.zip(weight).zip(against_x)) {
        *value = weight * (direct - against_x * through);
    }
}

/// Whether products of rows cost less position by position, for what is alive there, than for all of
/// `n_sources` with all of `n_targets`.
///
/// Counted in multiplications of a large product for each column.
fn at_positions<'a, B: AttributionBackend>(
    b: &B,
    sources: &[std::sync::Arc<AliveEntries>],
    targets: impl Iterator<Item = &'a AliveEntries>,
    [n_sources, n_targets]: [usize; 2],
) -> bool {
    if !b.device().is_cpu() {
        // Many small products wait for one another there, and large ones cost next to nothing.
        return false;
    }
    let at = |source: &AliveEntries, target: &AliveEntries, position| {
        let (in_place, gathered) = costs(source.rows_at(position).len(), target.rows_at(position).len());
        in_place.min(gathered)
    };
    let of_set = |(source, target): (&std::sync::Arc<AliveEntries>, &'a AliveEntries)| {
        (0..source.positions()).map(|position| at(source, target, position)).sum::<usize>()
    };
    sources.iter().zip(targets).map(of_set).sum::<usize>() < n_sources * n_targets
}
