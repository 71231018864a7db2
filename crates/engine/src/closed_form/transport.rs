//! Reads of the residual stream where gradients pass through deltas, without a backward pass.
//!
//! With `Delta = (W - (V U)^T)^T` of each layer, a target depends on a source by way of the deltas of all layers between them. A
//! reported edge has both at one position, and causal attention never leads back from an earlier one: so only the derivative
//! of the stream at a position with respect to the stream at the same position is needed, and every alive target is a vector
//! `g` that travels down the layers at its own position `s`. With `J` the derivative of a norm at what it reads, and `post`
//! the activations of what is alive:
//!
//! ```text
//! at the target:        g = J^T (gamma * V[:, c_out])
//! at a writer:          A = post <U[c_in], g>;  of wte, <embedding[s], g>
//! past an MLP:          g += J^T Delta_up (slope * (Delta_down g)),  of a gate and what it multiplies the sum of both
//! past an attention:    w = Delta_o g, and by head, R_s rotating to position s:
//!                       m = p[s, s'] <w, v[s']>,  ds[s'] = m[s'] - p[s, s'] sum of m
//!                       dv = p[s, s] w,  dk = ds[s] q[s] / sqrt(d_head),  dq = sum over s' of ds[s'] k[s'] / sqrt(d_head)
//!                       g += J^T (Delta_v dv + Delta_q R_s^T dq + Delta_k R_s^T dk)
//! ```
//!
//! where heads that share keys and values add up in `dk` and `dv`. All targets of a layer go together, a row for each.

mod heads;

use std::ops::Range;

use tributary_backend::{AttributionBackend, BackendError};
use tributary_model::{AliveEntries, Layer, Norm, Pair, Role};

use super::context::Context;
use super::elementwise::slope;
use super::products::{Rows, products};
use super::row_matrix::RowMatrix;
use crate::EngineError;
use crate::edges::{CHUNK, Edges, chunks_of};
use crate::forward::{Heads, activate};
use crate::model::NormTensors;

/// Elements of the widest step of the rows that go past a layer at once: on a CPU few enough that the same memory serves every step,
/// and enough for a product to be at its full rate, which takes some hundred rows.
pub(crate) fn transported_at_once<B: AttributionBackend>(b: &B) -> usize {
    if b.device().is_cpu() { 1 << 19 } else { 1 << 22 }
}

/// The way down the layers of one prompt.
pub(crate) struct Transport<'a, B: AttributionBackend> {
    context: &'a Context<'a, B>,
    /// Found when they are first needed, in the order data flows.
    stages: Vec<Stage<'a, B>>,
    /// The embedding, and what each stage writes.
    written: Vec<Written<B>>,
    /// The stream behind the last of them, `[1, positions, d_model]`.
    stream: Option<B::Tensor>,
}

/// What the entries of a writer write.
struct Written<B: AttributionBackend> {
    layer: Layer,
    rows: RowMatrix<B>,
    row_of_entry: Vec<u32>,
}

/// A part of a block that writes to the stream, with what is needed to pass it.
struct Stage<'a, B: AttributionBackend> {
    writer: Layer,
    norm: &'a NormTensors<B::Tensor>,
    read: Read<B::Tensor>,
    inside: Inside<B>,
}

/// The stream before a norm.
struct Read<T> {
    /// Without mean and of length 1, `[positions, d_model]`.
    standard: T,
    /// One by what that was divided by, `[positions, 1]`.
    inverse: T,
}

/// What lies between the norm and the writer.
enum Inside<B: AttributionBackend> {
    Attention(Heads<B::Tensor>),
    /// Each layer that reads, with the slope `[positions, d_mlp]` of the hidden layer by it.
    Mlp(Vec<(Layer, B::Tensor)>),
}

impl<'a, B: AttributionBackend> Transport<'a, B> {
    pub(crate) fn new(context: &'a Context<'a, B>) -> Self {
        Self { context, stages: Vec::new(), written: Vec::new(), stream: None }
    }

    /// Attributions of everything before it to `target`, which reads the stream.
    pub(crate) fn read(&mut self, target: Layer, edges: &mut Edges<'_, '_, B::Element>) -> Result<(), EngineError> {
        let alive = &self.context.targets[&target].alive[0];
        if alive.is_empty() {
            return Ok(());
        }
        let read = self.pass_up_to(target)?;
        let parts = self.parts(alive);
        // Of each part what each writer meets, the last first; pairs come in the other order.
        let met = parts.iter().map(|part| self.down(target, &read, part)).collect::<Result<Vec<_>, _>>()?;
        for (number, writer) in self.written.iter().enumerate() {
            let moving = met.iter().map(|met| RowMatrix::new(met[self.stages.len() - number].clone()));
            self.put(writer, target, parts.iter().zip(moving), edges)?;
        }
        Ok(())
    }

    /// The rows of a target's entries, in parts that go down the layers one after the other.
    fn parts(&self, alive: &AliveEntries) -> Vec<Part> {
        let Context { model, forward, .. } = self.context;
        let a = &model.architecture;
        let widest = a.d_mlp.max(a.n_heads * a.d_head.max(forward.shape[1]));
        let at_once = (transported_at_once(&model.backend) / widest).max(1);
        let mut parts: Vec<Part> = Vec::new();
        for position in 0..alive.positions() {
            let rows = alive.rows_at(position);
            match parts.last_mut() {
                Some(part) if rows.end - part.rows.start <= at_once => {
                    part.rows.end = rows.end;
                    part.positions.end = position + 1;
                    part.position_of_row.extend(rows.map(|_| position));
                }
                _ => parts.push(Part {
                    position_of_row: rows.clone().map(|_| position).collect(),
                    rows,
                    positions: position..position + 1,
                }),
            }
        }
        parts.retain(|part| !part.rows.is_empty());
        parts
    }

    /// What each writer before `target` meets of some of its entries, `[rows, d_model]`: the last first, the embedding last.
    fn down(&self, target: Layer, read: &Read<B::Tensor>, part: &Part) -> Result<Vec<B::Tensor>, BackendError> {
        let mut met = vec![self.start(target, read, part)?];
        for stage in self.stages.iter().rev() {
            met.push(self.past(stage, &met[met.len() - 1], &part.position_of_row)?);
        }
        Ok(met)
    }

    /// Finds the stages before a target; gives what it reads.
    fn pass_up_to(&mut self, target: Layer) -> Result<Read<B::Tensor>, BackendError> {
        let Context { model, forward, sources, .. } = self.context;
        let b = &model.backend;
        let mut stream = if let Some(stream) = self.stream.take() { stream } else { forward.first_stream(model)? };
        let of_layer = |layer: Layer| Written {
            layer,
            rows: RowMatrix::new(forward.layers[&layer].u.clone()),
            row_of_entry: sources[&layer].slots[0].clone(),
        };
        if self.written.is_empty() {
            self.written.push(match model.architecture.token_embedding() {
                Some(layer) => of_layer(layer),
                None => Written {
                    layer: Layer::wte(),
                    rows: RowMatrix::new(
                        b.reshape(&forward.embedding, &[forward.shape[1], model.architecture.d_model])?,
                    ),
                    row_of_entry: sources[&Layer::wte()].positions[0].clone(),
                },
            });
        }
        let writers =
            model.architecture.linear_layers().filter(|layer| layer.role().writes_residual() && *layer < target);
        let writers: Vec<Layer> = writers.filter(|layer| layer.role() != Role::TokenEmbedding).collect();
        for &writer in &writers[self.stages.len()..] {
            let stage = self.stage(writer, &stream)?;
            stream = b.add(&stream, &forward.layers[&writer].output)?;
            self.stages.push(stage);
            self.written.push(of_layer(writer));
        }
        let read = self.standardise(&stream)?;
        self.stream = Some(stream);
        Ok(read)
    }

    fn stage(&self, writer: Layer, stream: &B::Tensor) -> Result<Stage<'a, B>, BackendError> {
        let Context { model, forward, .. } = self.context;
        let (b, a) = (&model.backend, &model.architecture);
        let block = writer.block().unwrap_or_default();
        let output = |layer: Layer| &forward.layers[&layer].output;
        let (reader, inside) = if writer.role() == Role::AttentionOutput {
            let [q, k, v] = [Role::Query, Role::Key, Role::Value].map(|role| output(a.layer(block, role)));
            let heads = Heads::new(model, &forward.sequence, q, k, v)?;
            let heads = Heads { probs: heads::without_traces(b, heads.probs)?, ..heads };
            (a.layer(block, Role::Query), Inside::Attention(heads))
        } else {
            let up = a.layer(block, Role::MlpUp);
            let hidden = |layer| b.reshape(output(layer), &[forward.shape[1], a.d_mlp]);
            let slopes = match a.find(block, Role::MlpGate) {
                None => vec![(up, slope(b, a.activation, &hidden(up)?)?)],
                Some(gate) => {
                    let of_gate = b.mul(&slope(b, a.activation, &hidden(gate)?)?, &hidden(up)?)?;
                    vec![(gate, of_gate), (up, activate(b, a.activation, &hidden(gate)?)?)]
                }
            };
            (up, Inside::Mlp(slopes))
        };
        Ok(Stage { writer, norm: model.norm_before(reader), read: self.standardise(stream)?, inside })
    }

    fn standardise(&self, stream: &B::Tensor) -> Result<Read<B::Tensor>, BackendError> {
        let Context { model, forward, .. } = self.context;
        let b = &model.backend;
        let (standard, deviation) = model.standardise(stream)?;
        let [_, positions] = forward.shape;
        let inverse = b.div(&b.scalar(1.0)?, &b.reshape(&deviation, &[positions, 1])?)?;
        Ok(Read { standard: b.reshape(&standard, &[positions, model.architecture.d_model])?, inverse })
    }

    /// `J^T (weight * y)` of rows at some positions.
    fn past_norm(
        &self,
        norm: &NormTensors<B::Tensor>,
        read: &Read<B::Tensor>,
        y: &B::Tensor,
        positions: &[usize],
    ) -> Result<B::Tensor, BackendError> {
        let model = self.context.model;
        let b = &model.backend;
        let mut y = b.mul(y, &norm.weight)?;
        if let Norm::LayerNorm { .. } = model.architecture.norm {
            y = b.sub(&y, &b.mean(&y, 1)?)?;
        }
        let x = b.select(&read.standard, 0, positions)?;
        let along = b.mean(&b.mul(&y, &x)?, 1)?;
        b.mul(&b.sub(&y, &b.mul(&x, &along)?)?, &b.select(&read.inverse, 0, positions)?)
    }

    /// `g` of some alive targets, `[rows, d_model]`.
    fn start(&self, target: Layer, read: &Read<B::Tensor>, part: &Part) -> Result<B::Tensor, BackendError> {
        let Context { model, forward, targets, .. } = self.context;
        let b = &model.backend;
        let entries = &*targets[&target];
        let readers = match forward.layers.get(&target) {
            Some(recorded) => recorded.readers.clone(),
            None => forward.last.readers(b, &entries.components)?,
        };
        let slots: Vec<usize> = entries.slots[0][part.rows.clone()].iter().map(|&slot| slot as usize).collect();
        self.past_norm(model.norm_before(target), read, &b.select(&readers, 0, &slots)?, &part.position_of_row)
    }

    /// What `moving`, `[rows, d_model]`, is before a stage.
    fn past(&self, stage: &Stage<'_, B>, moving: &B::Tensor, positions: &[usize]) -> Result<B::Tensor, BackendError> {
        let deltas = self.context.forward.deltas.as_ref();
        let deltas = deltas.unwrap_or_else(|| unreachable!("gradients pass through deltas"));
        let b = &self.context.model.backend;
        let back = |layer: Layer, y: &B::Tensor| b.matmul(y, &b.permute(deltas.of(layer), &[1, 0])?);
        let written = back(stage.writer, moving)?;
        let read = match &stage.inside {
            Inside::Mlp(slopes) => {
                let of_layer = |(layer, slope): &(Layer, B::Tensor)| {
                    back(*layer, &b.mul(&written, &b.select(slope, 0, positions)?)?)
                };
                sum(b, slopes.iter().map(of_layer))?
            }
            Inside::Attention(heads) => {
                let block = stage.writer.block().unwrap_or_default();
                let Context { model, forward, .. } = self.context;
                let architecture = &model.architecture;
                let of_layers = heads::past(model, &forward.sequence, heads, &written, positions)?;
                let layers = of_layers.iter().map(|(role, y)| back(architecture.layer(block, *role), y));
                sum(b, layers)?
            }
        };
        b.add(moving, &self.past_norm(stage.norm, &stage.read, &read, positions)?)
    }

    /// Hands on the edges from a writer, where the targets of each part are the rows beside it.
    fn put<'p>(
        &self,
        Written { layer, rows, row_of_entry }: &Written<B>,
        target: Layer,
        parts: impl Iterator<Item = (&'p Part, RowMatrix<B>)>,
        edges: &mut Edges<'_, '_, B::Element>,
    ) -> Result<(), EngineError> {
        let Context { model, sources, targets, .. } = self.context;
        let b = &model.backend;
        let (from, to) = (&*sources[layer], &*targets[&target]);
        let (from_alive, to_alive, weight) = (&*from.alive[0], &*to.alive[0], &*from.weight[0]);
        let pair = Pair { source: *layer, target, crosses_positions: false };
        let of_sources = Rows { matrix: rows, alive: from_alive, row_of_entry };
        // What is not of its part is not looked at.
        let mut row_of_target = vec![0; to_alive.len()];
        for (part, moving) in parts {
            for (row, of_target) in row_of_target[part.rows.clone()].iter_mut().enumerate() {
                *of_target = row as u32;
            }
            let of_targets = Rows { matrix: &moving, alive: to_alive, row_of_entry: &row_of_target };
            for range in chunks_of(part.positions.clone(), &pair, from_alive, to_alive, CHUNK) {
                let products = products(b, range.clone(), &of_sources, &of_targets, None)?;
                edges.put_chunk(
                    &pair,
                    0,
                    from_alive,
                    to_alive,
                    range,
                    &|position: usize, values: &mut [B::Element]| {
                        let sources = from_alive.rows_at(position);
                        for (values, products) in
                            values.chunks_exact_mut(sources.len()).zip(products.of_targets(position))
                        {
                            values.copy_from_slice(&products[..sources.len()]);
                            if !weight.is_empty() {
                                let weight = &weight[sources.clone()];
                                values.iter_mut().zip(weight).for_each(|(value, &weight)| *value = *value * weight);
                            }
                        }
                    },
                )?;
            }
        }
        Ok(())
    }
}

/// Entries of a target at some positions, which go down the layers together.
struct Part {
    rows: Range<usize>,
    positions: Range<usize>,
    position_of_row: Vec<usize>,
}

/// The sum of some tensors; at least one.
fn sum<B: AttributionBackend>(
    b: &B,
    terms: impl Iterator<Item = Result<B::Tensor, BackendError>>,
) -> Result<B::Tensor, BackendError> {
    let sum = terms.reduce(|sum, term| b.add(&sum?, &term?));
    sum.unwrap_or_else(|| unreachable!("something reads the stream"))
}
