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

use tributary_backend::{AttributionBackend, BackendError};
use tributary_model::{Layer, Norm, Pair, Role};

use super::context::Context;
use super::elementwise::slope;
use super::products::{Rows, products};
use super::row_matrix::RowMatrix;
use crate::EngineError;
use crate::deltas::Deltas;
use crate::edges::{CHUNK, Edges, chunks};
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
    /// The stream behind the last of them, `[1, positions, d_model]`.
    stream: Option<B::Tensor>,
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
        Self { context, stages: Vec::new(), stream: None }
    }

    /// Attributions of everything before it to `target`, which reads the stream.
    pub(crate) fn read(&mut self, target: Layer, edges: &mut Edges<'_, '_, B::Element>) -> Result<(), EngineError> {
        let Context { model, targets, .. } = self.context;
        let entries = &*targets[&target];
        let alive = &*entries.alive[0];
        if alive.is_empty() {
            return Ok(());
        }
        self.pass_up_to(target)?;
        let positions: Vec<usize> = entries.positions[0].iter().map(|&position| position as usize).collect();
        let mut moving = self.start(target, &positions)?;
        // What each writer meets, the last first; pairs come in the other order.
        let mut met = Vec::with_capacity(self.stages.len() + 1);
        for stage in self.stages.iter().rev() {
            met.push(moving.clone());
            moving = self.past(stage, &moving, &positions)?;
        }
        let first = model.architecture.token_embedding().unwrap_or_else(Layer::wte);
        let writers = std::iter::once(first).chain(self.stages.iter().map(|stage| stage.writer));
        for (writer, moving) in writers.zip(std::iter::once(moving).chain(met.into_iter().rev())) {
            self.put(writer, target, &RowMatrix::new(moving), edges)?;
        }
        Ok(())
    }

    /// Finds the stages before a target.
    fn pass_up_to(&mut self, target: Layer) -> Result<(), BackendError> {
        let Context { model, forward, .. } = self.context;
        let b = &model.backend;
        let mut stream = if let Some(stream) = self.stream.take() { stream } else { forward.first_stream(model)? };
        let writers =
            model.architecture.linear_layers().filter(|layer| layer.role().writes_residual() && *layer < target);
        let writers: Vec<Layer> = writers.filter(|layer| layer.role() != Role::TokenEmbedding).collect();
        for &writer in &writers[self.stages.len()..] {
            let stage = self.stage(writer, &stream)?;
            stream = b.add(&stream, &forward.layers[&writer].output)?;
            self.stages.push(stage);
        }
        self.stream = Some(stream);
        Ok(())
    }

    fn stage(&self, writer: Layer, stream: &B::Tensor) -> Result<Stage<'a, B>, BackendError> {
        let Context { model, forward, .. } = self.context;
        let (b, a) = (&model.backend, &model.architecture);
        let block = writer.block().unwrap_or_default();
        let output = |layer: Layer| &forward.layers[&layer].output;
        let (reader, inside) = if writer.role() == Role::AttentionOutput {
            let [q, k, v] = [Role::Query, Role::Key, Role::Value].map(|role| output(a.layer(block, role)));
            let heads = Heads::new(model, &forward.sequence, q, k, v)?;
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

    /// `g` of every alive target, `[rows, d_model]`.
    fn start(&self, target: Layer, positions: &[usize]) -> Result<B::Tensor, BackendError> {
        let Context { model, forward, targets, .. } = self.context;
        let b = &model.backend;
        let entries = &*targets[&target];
        let readers = match forward.layers.get(&target) {
            Some(recorded) => recorded.readers.clone(),
            None => forward.last.readers(b, &entries.components)?,
        };
        let slots: Vec<usize> = entries.slots[0].iter().map(|&slot| slot as usize).collect();
        let stream = self.stream.as_ref().unwrap_or_else(|| unreachable!("the stages before the target are known"));
        let read = self.standardise(stream)?;
        self.past_norm(model.norm_before(target), &read, &b.select(&readers, 0, &slots)?, positions)
    }

    /// What `moving`, `[rows, d_model]`, is before a stage.
    fn past(&self, stage: &Stage<'_, B>, moving: &B::Tensor, positions: &[usize]) -> Result<B::Tensor, BackendError> {
        let Context { model, forward, .. } = self.context;
        let (b, a) = (&model.backend, &model.architecture);
        let deltas = forward.deltas.as_ref().unwrap_or_else(|| unreachable!("gradients pass through deltas"));
        let width = match &stage.inside {
            Inside::Attention(_) => a.n_heads * a.d_head.max(forward.shape[1]),
            Inside::Mlp(_) => a.d_mlp,
        };
        let at_once = (transported_at_once(b) / width).max(1);
        if positions.len() <= at_once {
            return self.rows_past(stage, deltas, moving, positions);
        }
        let mut parts = Vec::new();
        for (part, positions) in positions.chunks(at_once).enumerate() {
            let rows = b.narrow(moving, 0, part * at_once, positions.len())?;
            parts.push(b.download_vec(self.rows_past(stage, deltas, &rows, positions)?)?);
        }
        b.upload_vec(parts.concat(), &[positions.len(), a.d_model])
    }

    fn rows_past(
        &self,
        stage: &Stage<'_, B>,
        deltas: &Deltas<B::Tensor>,
        moving: &B::Tensor,
        positions: &[usize],
    ) -> Result<B::Tensor, BackendError> {
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
                let architecture = &self.context.model.architecture;
                let of_layers = self.past_heads(heads, &written, positions)?;
                let layers = of_layers.iter().map(|(role, y)| back(architecture.layer(block, *role), y));
                sum(b, layers)?
            }
        };
        b.add(moving, &self.past_norm(stage.norm, &stage.read, &read, positions)?)
    }

    /// What reaches the outputs of queries, keys and values at the position of each row of `w`, `[rows, n_heads * d_head]`.
    fn past_heads(
        &self,
        heads: &Heads<B::Tensor>,
        w: &B::Tensor,
        positions: &[usize],
    ) -> Result<[(Role, B::Tensor); 3], BackendError> {
        let Context { model, forward, .. } = self.context;
        let (b, a) = (&model.backend, &model.architecture);
        let (rows, length, d_head) = (positions.len(), forward.shape[1], a.d_head);
        let (kv_heads, group) = (a.n_kv_heads, a.n_heads / a.n_kv_heads);
        // Of one prompt: what is left is [kv heads, heads per kv head or 1, rows or positions, _].
        let of_prompt = |x: &B::Tensor| b.reshape(x, &b.shape(x)[1..]);
        let (q, k, v, p) = (of_prompt(&heads.q)?, of_prompt(&heads.k)?, of_prompt(&heads.v)?, of_prompt(&heads.probs)?);
        let w = b.permute(&b.reshape(w, &[rows, kv_heads, group, d_head])?, &[1, 2, 0, 3])?;
        let p = b.select(&p, 2, positions)?;
        let values_read = b.mul(&p, &b.matmul(&w, &b.permute(&v, &[0, 1, 3, 2])?)?)?;
        let scores = b.sub(&values_read, &b.mul(&p, &b.sum(&values_read, 3)?)?)?;
        let scores = b.scale(&scores, 1.0 / (d_head as f64).sqrt())?;
        // Of every head and row what lies at the row's own position, [kv heads, heads per kv head, rows, 1].
        let own = |head: usize| positions.iter().enumerate().map(move |(row, &s)| (head * rows + row) * length + s);
        let own: Vec<usize> = (0..a.n_heads).flat_map(own).collect();
        let at_own = |x: &B::Tensor| b.reshape(&b.gather(x, &own)?, &[kv_heads, group, rows, 1]);
        let of_query = b.matmul(&scores, &k)?;
        let of_key = b.sum(&b.mul(&at_own(&scores)?, &b.select(&q, 2, positions)?)?, 1)?;
        let of_value = b.sum(&b.mul(&at_own(&p)?, &w)?, 1)?;
        let by_row = |x: &B::Tensor| {
            let heads = b.shape(x)[0] * b.shape(x)[1];
            b.permute(&b.reshape(x, &[heads, rows, d_head])?, &[1, 0, 2])
        };
        let flat = |x: &B::Tensor| b.reshape(x, &[rows, b.shape(x)[1] * d_head]);
        let turned = |x: &B::Tensor| flat(&forward.sequence.rotate_rows_back(b, &by_row(x)?, positions)?);
        Ok([
            (Role::Query, turned(&of_query)?),
            (Role::Key, turned(&of_key)?),
            (Role::Value, flat(&by_row(&of_value)?)?),
        ])
    }

    /// Hands on the edges from `writer`, where the targets are `moving`.
    fn put(
        &self,
        writer: Layer,
        target: Layer,
        moving: &RowMatrix<B>,
        edges: &mut Edges<'_, '_, B::Element>,
    ) -> Result<(), EngineError> {
        let Context { model, forward, sources, targets } = self.context;
        let b = &model.backend;
        let (from, to) = (&*sources[&writer], &*targets[&target]);
        let (from_alive, to_alive, weight) = (&*from.alive[0], &*to.alive[0], &*from.weight[0]);
        let pair = Pair { source: writer, target, crosses_positions: false };
        let (rows, row_of_entry) = if let Some(recorded) = forward.layers.get(&writer) {
            (recorded.u.clone(), from.slots[0].clone())
        } else {
            let embedding = b.reshape(&forward.embedding, &[forward.shape[1], model.architecture.d_model])?;
            (embedding, from.positions[0].clone())
        };
        let (rows, of_targets) = (RowMatrix::new(rows), (0..to_alive.len() as u32).collect::<Vec<_>>());
        let of_sources = Rows { matrix: &rows, alive: from_alive, row_of_entry: &row_of_entry };
        let of_targets = Rows { matrix: moving, alive: to_alive, row_of_entry: &of_targets };
        for range in chunks(&pair, from_alive, to_alive, CHUNK) {
            let products = products(b, range.clone(), &of_sources, &of_targets, None)?;
            edges.put_chunk(&pair, 0, from_alive, to_alive, range, &|position: usize, values: &mut [B::Element]| {
                let sources = from_alive.rows_at(position);
                for (values, products) in values.chunks_exact_mut(sources.len()).zip(products.of_targets(position)) {
                    values.copy_from_slice(&products[..sources.len()]);
                    if !weight.is_empty() {
                        let weight = &weight[sources.clone()];
                        values.iter_mut().zip(weight).for_each(|(value, &weight)| *value = *value * weight);
                    }
                }
            })?;
        }
        Ok(())
    }
}

/// The sum of some tensors; at least one.
fn sum<B: AttributionBackend>(
    b: &B,
    terms: impl Iterator<Item = Result<B::Tensor, BackendError>>,
) -> Result<B::Tensor, BackendError> {
    let sum = terms.reduce(|sum, term| b.add(&sum?, &term?));
    sum.unwrap_or_else(|| unreachable!("something reads the stream"))
}
