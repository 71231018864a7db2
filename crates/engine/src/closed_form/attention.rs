//! Through an attention: `q`, `k` and `v` to `o_proj` of the same block.
//!
//! Head `h` has probabilities `p`, keys `k` and queries `q` after rotation, values `v`; `w[s, c_out] = <v[s], V_o>` is the
//! value read by a target, `m[s_out, c_out] = sum over s of p[s_out, s] w[s, c_out]` what it reads on the whole, both
//! with `V_o` cut to the head. `R_s` rotates to position `s`. Sums run over heads:
//!
//! ```text
//! v:  post * mask * p[s_out, s_in] <U_v, V_o>
//! delta[s_out, s_in, c_out] = p[s_out, s_in] (w[s_in, c_out] - m[s_out, c_out])
//! k:  post * mask / sqrt(d_head) * delta[s_out, s_in, c_out] <R_(s_in) U_k, q[s_out]>
//! q:  post * mask / sqrt(d_head) * <R_(s_out) U_q, sum over s_in of delta[s_out, s_in, c_out] k[s_in]>
//! ```

use std::collections::BTreeMap;

use tributary_backend::{AttributionBackend, BackendError, Element};

use super::edges::{self, LayerEntries};
use super::{Context, PairValues};
use crate::forward::Heads;
use crate::{Layer, Pair, Projection};

pub(super) fn attribute<B: AttributionBackend>(
    context: &Context<'_, B>,
    block: usize,
    found: &mut BTreeMap<(Layer, Layer), PairValues<B::Element>>,
) -> Result<(), BackendError> {
    let at = |projection| Layer::linear(block, projection);
    let attention = Attention::new(context, block)?;
    let target = at(Projection::O);
    found.insert((at(Projection::V), target), attention.value_attributions()?);
    found.insert((at(Projection::K), target), attention.key_attributions()?);
    found.insert((at(Projection::Q), target), attention.query_attributions()?);
    Ok(())
}

struct Attention<'a, B: AttributionBackend> {
    context: &'a Context<'a, B>,
    block: usize,
    heads: Heads<B::Tensor>,
    n_heads: usize,
    d_head: usize,
    positions: usize,
    /// `V_o` of the target's alive union, `[n_heads, d_head, union]`.
    readers: B::Tensor,
    /// `p`, `[sets, s_out, s_in, n_heads]`.
    probs: Vec<B::Element>,
    /// `w`, `[sets, positions, union, n_heads]`.
    read: Vec<B::Element>,
    /// `m`, `[sets, positions, union, n_heads]`.
    mean_read: Vec<B::Element>,
}

impl<'a, B: AttributionBackend> Attention<'a, B> {
    fn new(context: &'a Context<'a, B>, block: usize) -> Result<Self, BackendError> {
        let Context { model, forward, targets, .. } = context;
        let (b, architecture) = (&model.backend, &model.architecture);
        let (n_heads, d_head) = (architecture.n_heads, architecture.d_head());
        let output = |projection| &forward.outputs[&Layer::linear(block, projection)];
        let (q, k, v) = (output(Projection::Q), output(Projection::K), output(Projection::V));
        let heads = Heads::new(model, &forward.sequence, q, k, v)?;
        let target = Layer::linear(block, Projection::O);
        let union = &targets[&target].union;
        let positions = b.shape(q)[1];
        let sets = b.shape(q)[0];
        let readers = b.reshape(&b.select(model.reader(target), 1, union)?, &[n_heads, d_head, union.len()])?;
        let grouped =
            b.reshape(&readers, &[architecture.n_kv_heads, n_heads / architecture.n_kv_heads, d_head, union.len()])?;
        // [sets, kv heads, group, positions, x] -> [sets, positions, x, n_heads] on the host.
        let by_head_last = |x: &B::Tensor| {
            let width = *b.shape(x).last().unwrap_or(&0);
            let flat = b.reshape(x, &[sets, n_heads, positions, width])?;
            b.download(&b.permute(&flat, &[0, 2, 3, 1])?)
        };
        let read = b.matmul(&heads.v, &grouped)?;
        let mean_read = b.matmul(&heads.probs, &read)?;
        Ok(Self {
            probs: by_head_last(&heads.probs)?,
            read: by_head_last(&read)?,
            mean_read: by_head_last(&mean_read)?,
            context,
            block,
            heads,
            n_heads,
            d_head,
            positions,
            readers,
        })
    }

    /// Entries of a source projection.
    fn source(&self, projection: Projection) -> &LayerEntries<'a, B::Element> {
        &self.context.sources[&Layer::linear(self.block, projection)]
    }

    /// Entries of the output projection.
    fn target(&self) -> &LayerEntries<'a, B::Element> {
        &self.context.targets[&Layer::linear(self.block, Projection::O)]
    }

    /// The pair of a source projection and the output projection.
    fn pair(&self, source: Projection) -> Pair {
        let at = |projection| Layer::linear(self.block, projection);
        Pair { source: at(source), target: at(Projection::O), crosses_positions: source != Projection::Q }
    }

    fn sets(&self) -> std::ops::Range<usize> {
        0..self.target().alive.len()
    }

    /// `p[s_out, s_in]` of one set, by head.
    fn probs(&self, set: usize, s_out: usize, s_in: usize) -> &[B::Element] {
        let at = (set * self.positions + s_out) * self.positions + s_in;
        &self.probs[at * self.n_heads..][..self.n_heads]
    }

    /// One entry by head out of `[sets, positions, union, n_heads]`.
    fn at<'x>(&self, values: &'x [B::Element], set: usize, position: usize, place: usize) -> &'x [B::Element] {
        let union = self.target().union.len();
        let at = (set * self.positions + position) * union + place;
        &values[at * self.n_heads..][..self.n_heads]
    }

    /// Rows of `U` of the alive union of a source, `[union, heads, d_head]`, `heads` being its own number.
    fn rows(&self, projection: Projection, components: &[usize]) -> Result<B::Tensor, BackendError> {
        let b = &self.context.model.backend;
        let u = &self.context.model.components[&Layer::linear(self.block, projection)].u;
        let heads = b.shape(u)[1] / self.d_head;
        b.reshape(&b.select(u, 0, components)?, &[components.len(), heads, self.d_head])
    }

    /// `x` with the kv heads along `axis` repeated for the query heads that share them.
    fn repeat_heads(&self, x: &B::Tensor, axis: usize) -> Result<B::Tensor, BackendError> {
        let b = &self.context.model.backend;
        let group = self.n_heads / b.shape(x)[axis];
        b.select(x, axis, &(0..self.n_heads).map(|head| head / group).collect::<Vec<_>>())
    }

    /// `delta[s_out, s_in, c_out]` of one set, by head; `place` is that of `c_out` in the union.
    fn delta(
        &self,
        set: usize,
        s_out: usize,
        s_in: usize,
        place: usize,
    ) -> impl Iterator<Item = B::Element> + use<'_, 'a, B> {
        let read = self.at(&self.read, set, s_in, place);
        let mean_read = self.at(&self.mean_read, set, s_out, place);
        let by_head = self.probs(set, s_out, s_in).iter().zip(read).zip(mean_read);
        by_head.map(|((&prob, &read), &mean_read)| prob * (read - mean_read))
    }

    fn value_attributions(&self) -> Result<PairValues<B::Element>, BackendError> {
        let b = &self.context.model.backend;
        let (from, to) = (self.source(Projection::V), self.target());
        // <U_v, V_o> by head, of weights alone: [n_heads, source union, target union].
        let rows = self.repeat_heads(&self.rows(Projection::V, &from.union)?, 1)?;
        let by_head = b.matmul(&b.permute(&rows, &[1, 0, 2])?, &self.readers)?;
        let virtual_weights = b.download(&b.permute(&by_head, &[2, 1, 0])?)?;
        let pair = self.pair(Projection::V);
        let of_set = |set: usize| {
            let positions: Vec<usize> = from.alive[set].iter().map(|(position, _)| position).collect();
            edges::values(&pair, &from.alive[set], &to.alive[set], |s_out, e, t| {
                let at = (to.places[set][t] * from.union.len() + from.places[set][e]) * self.n_heads;
                let weights = &virtual_weights[at..at + self.n_heads];
                from.weight[set][e] * dot(self.probs(set, s_out, positions[e]), weights)
            })
        };
        Ok(self.sets().map(of_set).collect())
    }

    fn key_attributions(&self) -> Result<PairValues<B::Element>, BackendError> {
        let Context { model, forward, .. } = self.context;
        let b = &model.backend;
        let (from, to) = (self.source(Projection::K), self.target());
        let scale = B::Element::from_f64(1.0 / (self.d_head as f64).sqrt());
        let mut values = Vec::with_capacity(self.sets().len());
        for set in self.sets() {
            let (positions, components): (Vec<usize>, Vec<usize>) = from.alive[set].iter().unzip();
            // <R_(s_in) U_k, q[s_out]> by head: [s_out, source rows, n_heads].
            let rows = self.rows(Projection::K, &components)?;
            let rows = self.repeat_heads(&forward.sequence.rotate_rows(b, &rows, &positions)?, 1)?;
            let queries = self.of_set(&self.heads.q, set, self.d_head)?;
            let scores = b.matmul(&queries, &b.permute(&rows, &[1, 2, 0])?)?;
            let scores = b.download(&b.permute(&scores, &[1, 2, 0])?)?;
            values.push(edges::values(&self.pair(Projection::K), &from.alive[set], &to.alive[set], |s_out, e, t| {
                let scores = &scores[(s_out * positions.len() + e) * self.n_heads..][..self.n_heads];
                let delta = self.delta(set, s_out, positions[e], to.places[set][t]);
                let sum = delta.zip(scores).fold(B::Element::default(), |sum, (delta, &score)| sum + delta * score);
                from.weight[set][e] * scale * sum
            }));
        }
        Ok(values)
    }

    fn query_attributions(&self) -> Result<PairValues<B::Element>, BackendError> {
        let Context { model, forward, .. } = self.context;
        let b = &model.backend;
        let (from, to) = (self.source(Projection::Q), self.target());
        let width = self.n_heads * self.d_head;
        let scale = B::Element::from_f64(1.0 / (self.d_head as f64).sqrt());
        let mut values = Vec::with_capacity(self.sets().len());
        for set in self.sets() {
            // delta of every target entry over its past, by head: [n_heads, target rows, s_in].
            let mut delta = vec![B::Element::default(); self.n_heads * to.alive[set].len() * self.positions];
            for (t, (s_out, _)) in to.alive[set].iter().enumerate() {
                for s_in in 0..=s_out {
                    for (head, value) in self.delta(set, s_out, s_in, to.places[set][t]).enumerate() {
                        delta[(head * to.alive[set].len() + t) * self.positions + s_in] = value;
                    }
                }
            }
            let delta = b.upload(&delta, &[self.n_heads, to.alive[set].len(), self.positions])?;
            let keys = self.of_set(&self.heads.k, set, self.d_head)?;
            // sum over s_in of delta k[s_in]: [target rows, n_heads * d_head].
            let pulled = b.download(&b.permute(&b.matmul(&delta, &keys)?, &[1, 0, 2])?)?;
            let (positions, components): (Vec<usize>, Vec<usize>) = from.alive[set].iter().unzip();
            let rows = self.rows(Projection::Q, &components)?;
            let rows = b.download(&forward.sequence.rotate_rows(b, &rows, &positions)?)?;
            values.push(edges::values(&self.pair(Projection::Q), &from.alive[set], &to.alive[set], |_, e, t| {
                let (row, pulled) = (&rows[e * width..][..width], &pulled[t * width..][..width]);
                from.weight[set][e] * scale * dot(row, pulled)
            }));
        }
        Ok(values)
    }

    /// One set of `[sets, kv heads, group or 1, positions, width]`, kv heads repeated: `[n_heads, positions, width]`.
    fn of_set(&self, x: &B::Tensor, set: usize, width: usize) -> Result<B::Tensor, BackendError> {
        let b = &self.context.model.backend;
        let one = b.select(x, 0, &[set])?;
        let heads = b.shape(&one)[1] * b.shape(&one)[2];
        self.repeat_heads(&b.reshape(&one, &[heads, self.positions, width])?, 0)
    }
}

fn dot<E: Element>(lhs: &[E], rhs: &[E]) -> E {
    lhs.iter().zip(rhs).fold(E::default(), |sum, (&l, &r)| sum + l * r)
}
