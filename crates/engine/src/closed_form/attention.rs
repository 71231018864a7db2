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

use std::ops::Range;

use rayon::prelude::*;
use tributary_backend::{AttributionBackend, BackendError, Element};
use tributary_model::{AliveEntries, Layer, Pair, Role};

use super::Context;
use super::edges::{CHUNK, Edges, LayerEntries};
use crate::EngineError;
use crate::forward::Heads;

/// Attributions to `target`, the output projection of an attention, from its queries, keys and values.
pub(crate) fn attribute<B: AttributionBackend>(
    context: &Context<'_, B>,
    target: Layer,
    edges: &mut Edges<'_, '_, B::Element>,
) -> Result<(), EngineError> {
    let block = target.block().unwrap_or_default();
    let at = |role| context.model.architecture.layer(block, role);
    let is_dead = |entries: &LayerEntries<'_, B::Element>| entries.alive.iter().all(|set| set.is_empty());
    let to = &context.targets[&target];
    let from = [Role::Query, Role::Key, Role::Value].map(|source| &context.sources[&at(source)]);
    if is_dead(to) || from.iter().all(|from| is_dead(from)) {
        return Ok(());
    }
    let attention = Attention::new(context, block)?;
    attention.query_attributions(edges)?;
    attention.key_attributions(edges)?;
    attention.value_attributions(edges)
}

struct Attention<'a, B: AttributionBackend> {
    context: &'a Context<'a, B>,
    block: usize,
    /// Queries and keys, rotated, kv heads repeated for the query heads that share them:
    /// `[sets, n_heads, positions, d_head]`.
    queries: B::Tensor,
    keys: B::Tensor,
    d_head: usize,
    /// `V_o` of the target's support, `[n_heads, d_head, support]`.
    readers: B::Tensor,
    reads: Reads<B::Element>,
}

/// What the targets read, on the host.
struct Reads<E> {
    n_heads: usize,
    positions: usize,
    /// Number of components in the target's support.
    support: usize,
    /// `p`, `[sets, n_heads, s_out, s_in]`.
    probs: Vec<E>,
    /// `w`, `[sets, n_heads, support, s_in]`.
    read: Vec<E>,
    /// `m`, `[sets, n_heads, support, s_out]`.
    mean_read: Vec<E>,
}

impl<E: Element> Reads<E> {
    /// `p[s_out, s_in]` of one head for the positions up to `s_out`.
    fn probs(&self, set: usize, head: usize, s_out: usize) -> &[E] {
        let row = (set * self.n_heads + head) * self.positions + s_out;
        &self.probs[row * self.positions..][..=s_out]
    }

    /// `delta[s_out, s_in, c_out]` of one head for the positions up to `s_out`; `place` is that of `c_out`.
    fn delta(&self, set: usize, head: usize, s_out: usize, place: u32) -> impl Iterator<Item = E> + use<'_, E> {
        let row = ((set * self.n_heads + head) * self.support + place as usize) * self.positions;
        let mean_read = self.mean_read[row + s_out];
        let probs = self.probs(set, head, s_out).iter();
        probs.zip(&self.read[row..][..=s_out]).map(move |(&prob, &read)| prob * (read - mean_read))
    }
}

/// Writes `values` of one head among those of `n_heads`, the heads of one thing next to each other: so that the sums over
/// heads that make up an edge read what lies together.
fn interleave<E>(by_head: &mut [E], head: usize, n_heads: usize, values: impl Iterator<Item = E>) {
    for (slot, value) in by_head[head..].iter_mut().step_by(n_heads).zip(values) {
        *slot = value;
    }
}

impl<'a, B: AttributionBackend> Attention<'a, B> {
    fn new(context: &'a Context<'a, B>, block: usize) -> Result<Self, BackendError> {
        let Context { model, forward, targets, .. } = context;
        let (b, architecture) = (&model.backend, &model.architecture);
        let (n_heads, d_head) = (architecture.n_heads, architecture.d_head);
        let output = |role| &forward.layers[&architecture.layer(block, role)].output;
        let (q, k, v) = (output(Role::Query), output(Role::Key), output(Role::Value));
        let heads = Heads::new(model, &forward.sequence, q, k, v)?;
        let target = architecture.layer(block, Role::AttentionOutput);
        let support = targets[&target].components.len();
        let readers = b.reshape(&forward.layers[&target].v, &[n_heads, d_head, support])?;
        let grouped =
            b.reshape(&readers, &[architecture.n_kv_heads, n_heads / architecture.n_kv_heads, d_head, support])?;
        // [sets, kv heads, heads per kv head, support, positions]
        let read = b.matmul(&b.permute(&grouped, &[0, 1, 3, 2])?, &b.permute(&heads.v, &[0, 1, 2, 4, 3])?)?;
        let mean_read = b.matmul(&read, &b.permute(&heads.probs, &[0, 1, 2, 4, 3])?)?;
        let reads = Reads {
            n_heads,
            positions: b.shape(q)[1],
            support,
            probs: b.download(&heads.probs)?,
            read: b.download(&read)?,
            mean_read: b.download(&mean_read)?,
        };
        // Selected once, so that the parts of each set that are selected later lie together.
        let together = |x: &B::Tensor| {
            let [sets, kv_heads, group, positions, _] = b.shape(x)[..] else { panic!("heads have five axes") };
            let own = kv_heads * group;
            let x = b.reshape(x, &[sets, own, positions, d_head])?;
            b.select(&x, 1, &(0..n_heads).map(|head| head / (n_heads / own)).collect::<Vec<_>>())
        };
        let (queries, keys) = (together(&heads.q)?, together(&heads.k)?);
        Ok(Self { context, block, queries, keys, d_head, readers, reads })
    }

    /// The layer of this block with a role.
    fn layer(&self, role: Role) -> Layer {
        self.context.model.architecture.layer(self.block, role)
    }

    /// Entries of the source with a role.
    fn source(&self, role: Role) -> &LayerEntries<'a, B::Element> {
        &self.context.sources[&self.layer(role)]
    }

    /// Entries of the output projection.
    fn target(&self) -> &LayerEntries<'a, B::Element> {
        &self.context.targets[&self.layer(Role::AttentionOutput)]
    }

    /// The pair of the source with a role and the output projection.
    fn pair(&self, source: Role) -> Pair {
        let (from, to) = (self.layer(source), self.layer(Role::AttentionOutput));
        Pair { source: from, target: to, crosses_positions: source != Role::Query }
    }

    /// Sets in which something is alive at both ends.
    fn sets(&self, source: Role) -> Vec<usize> {
        let (from, to) = (self.source(source), self.target());
        (0..to.alive.len()).filter(|&set| !from.alive[set].is_empty() && !to.alive[set].is_empty()).collect()
    }

    /// Rows of `U` of everything alive in one set, `[rows, heads, d_head]`, `heads` being the layer's own number,
    /// rotated to their positions.
    fn rows(&self, role: Role, set: usize) -> Result<B::Tensor, BackendError> {
        let Context { model, forward, .. } = self.context;
        let b = &model.backend;
        let u = &forward.layers[&self.layer(role)].u;
        let from = self.source(role);
        let places: Vec<usize> = from.places[set].iter().map(|&place| place as usize).collect();
        let positions: Vec<usize> = from.positions[set].iter().map(|&position| position as usize).collect();
        let rows = b.reshape(&b.select(u, 0, &places)?, &[places.len(), b.shape(u)[1] / self.d_head, self.d_head])?;
        forward.sequence.rotate_rows(b, &rows, &positions)
    }

    /// `x` with the kv heads along `axis` repeated for the query heads that share them.
    fn repeat_heads(&self, x: &B::Tensor, axis: usize) -> Result<B::Tensor, BackendError> {
        let b = &self.context.model.backend;
        let (n_heads, own) = (self.reads.n_heads, b.shape(x)[axis]);
        if own == n_heads {
            return Ok(x.clone());
        }
        b.select(x, axis, &(0..n_heads).map(|head| head / (n_heads / own)).collect::<Vec<_>>())
    }

    /// One set of `[sets, n_heads, positions, d_head]`: `[n_heads, positions, d_head]`.
    fn of_set(&self, x: &B::Tensor, set: usize) -> Result<B::Tensor, BackendError> {
        let b = &self.context.model.backend;
        b.reshape(&b.select(x, 0, &[set])?, &b.shape(x)[1..])
    }

    fn scale(&self) -> B::Element {
        B::Element::from_f64(1.0 / (self.d_head as f64).sqrt())
    }

    fn value_attributions(&self, edges: &mut Edges<'_, '_, B::Element>) -> Result<(), EngineError> {
        let Context { model, forward, .. } = self.context;
        let b = &model.backend;
        let (from, to, reads) = (self.source(Role::Value), self.target(), &self.reads);
        let n_heads = reads.n_heads;
        let u = &forward.layers[&self.layer(Role::Value)].u;
        let width = from.components.len();
        // <U_v, V_o> by head, of weights alone: [n_heads, target's support, source's support].
        let rows = b.reshape(u, &[width, b.shape(u)[1] / self.d_head, self.d_head])?;
        let rows = b.permute(&self.repeat_heads(&rows, 1)?, &[1, 2, 0])?;
        let virtual_weights = b.download(&b.matmul(&b.permute(&self.readers, &[0, 2, 1])?, &rows)?)?;
        let mut by_head = vec![B::Element::default(); virtual_weights.len()];
        for (head, values) in virtual_weights.chunks_exact((reads.support * width).max(1)).enumerate() {
            interleave(&mut by_head, head, n_heads, values.iter().copied());
        }
        for set in self.sets(Role::Value) {
            let (alive, wanted) = (&from.alive[set], &to.alive[set]);
            let (positions, places, weight) = (&from.positions[set], &from.places[set], &from.weight[set]);
            edges.put(&self.pair(Role::Value), set, alive, wanted, |s_out, values| {
                let sources = alive.rows_at(s_out).end;
                // post * mask * p by head, for every source.
                let mut weighted = vec![B::Element::default(); sources * n_heads];
                for head in 0..n_heads {
                    let probs = reads.probs(set, head, s_out);
                    let of_sources = positions[..sources].iter().zip(weight);
                    let of_sources = of_sources.map(|(&s_in, &weight)| weight * probs[s_in as usize]);
                    interleave(&mut weighted, head, n_heads, of_sources);
                }
                for (values, t) in values.chunks_exact_mut(sources).zip(wanted.rows_at(s_out)) {
                    let of_target = &by_head[to.places[set][t] as usize * width * n_heads..];
                    let sources = places.iter().zip(weighted.chunks_exact(n_heads));
                    for (value, (&place, weighted)) in values.iter_mut().zip(sources) {
                        *value = dot(weighted, &of_target[place as usize * n_heads..][..n_heads]);
                    }
                }
            })?;
        }
        Ok(())
    }

    fn key_attributions(&self, edges: &mut Edges<'_, '_, B::Element>) -> Result<(), EngineError> {
        let b = &self.context.model.backend;
        let (from, to, reads) = (self.source(Role::Key), self.target(), &self.reads);
        let (n_heads, scale) = (reads.n_heads, self.scale());
        let pair = self.pair(Role::Key);
        for set in self.sets(Role::Key) {
            let (alive, wanted) = (&from.alive[set], &to.alive[set]);
            let source_positions = &from.positions[set];
            let weight: Vec<B::Element> = from.weight[set].iter().map(|&weight| weight * scale).collect();
            let rows = self.repeat_heads(&self.rows(Role::Key, set)?, 1)?;
            let queries = self.of_set(&self.queries, set)?;
            for range in key_chunks(wanted, alive, n_heads) {
                // Positions without a target need no scores.
                let positions: Vec<usize> = range.clone().filter(|&s_out| !wanted.rows_at(s_out).is_empty()).collect();
                let Some(&last) = positions.last() else { continue };
                let sources: Vec<usize> = (0..alive.rows_at(last).end).collect();
                if sources.is_empty() {
                    continue;
                }
                // <R_(s_in) U_k, q[s_out]> by head: [n_heads, s_out, source rows].
                let rows = b.permute(&b.select(&rows, 0, &sources)?, &[1, 2, 0])?;
                let scores = b.download(&b.matmul(&b.select(&queries, 1, &positions)?, &rows)?)?;
                edges.put_chunk(
                    &pair,
                    set,
                    alive,
                    wanted,
                    range.clone(),
                    &|s_out: usize, values: &mut [B::Element]| {
                        let width = alive.rows_at(s_out).end;
                        // post * mask * score by head, for every source.
                        let mut weighted = vec![B::Element::default(); width * n_heads];
                        let at = positions.binary_search(&s_out).unwrap_or_else(|_| unreachable!("it has targets"));
                        for head in 0..n_heads {
                            let row = (head * positions.len() + at) * sources.len();
                            let of_sources = scores[row..][..width].iter().zip(&weight).map(|(&score, &w)| w * score);
                            interleave(&mut weighted, head, n_heads, of_sources);
                        }
                        let mut delta = vec![B::Element::default(); (s_out + 1) * n_heads];
                        for (values, t) in values.chunks_exact_mut(width).zip(wanted.rows_at(s_out)) {
                            for head in 0..n_heads {
                                let of_head = reads.delta(set, head, s_out, to.places[set][t]);
                                interleave(&mut delta, head, n_heads, of_head);
                            }
                            let sources = source_positions.iter().zip(weighted.chunks_exact(n_heads));
                            for (value, (&s_in, weighted)) in values.iter_mut().zip(sources) {
                                *value = dot(&delta[s_in as usize * n_heads..][..n_heads], weighted);
                            }
                        }
                    },
                )?;
            }
        }
        Ok(())
    }

    fn query_attributions(&self, edges: &mut Edges<'_, '_, B::Element>) -> Result<(), EngineError> {
        let b = &self.context.model.backend;
        let (from, to, reads) = (self.source(Role::Query), self.target(), &self.reads);
        let (n_heads, d_head, scale) = (reads.n_heads, self.d_head, self.scale());
        let pair = self.pair(Role::Query);
        for set in self.sets(Role::Query) {
            let (alive, wanted) = (&from.alive[set], &to.alive[set]);
            let weight = &from.weight[set];
            let rows = b.download(&self.rows(Role::Query, set)?)?;
            let keys = self.of_set(&self.keys, set)?;
            for targets in target_chunks(wanted, alive, CHUNK / (n_heads * reads.positions)) {
                let (Some(&first), Some(&last)) = (targets.first(), targets.last()) else { continue };
                let past = to.positions[set][last] as usize + 1;
                // delta of every target entry over its past: [n_heads, target rows, s_in].
                let mut delta = vec![B::Element::default(); n_heads * targets.len() * past];
                delta.par_chunks_exact_mut(past).enumerate().for_each(|(row, delta)| {
                    let (head, t) = (row / targets.len(), targets[row % targets.len()]);
                    let of_target = reads.delta(set, head, to.positions[set][t] as usize, to.places[set][t]);
                    delta.iter_mut().zip(of_target).for_each(|(slot, value)| *slot = value);
                });
                let delta = b.upload(&delta, &[n_heads, targets.len(), past])?;
                // sum over s_in of delta k[s_in]: [n_heads, target rows, d_head].
                let keys = b.select(&keys, 1, &(0..past).collect::<Vec<_>>())?;
                let pulled = b.download(&b.matmul(&delta, &keys)?)?;
                let range = to.positions[set][first] as usize..past;
                edges.put_chunk(&pair, set, alive, wanted, range, &|s_out: usize, values: &mut [B::Element]| {
                    let sources = alive.rows_at(s_out);
                    for (values, t) in values.chunks_exact_mut(sources.len()).zip(wanted.rows_at(s_out)) {
                        let place = targets.binary_search(&t).unwrap_or_else(|_| unreachable!("it has sources"));
                        for (value, e) in values.iter_mut().zip(sources.clone()) {
                            let rows = rows[e * n_heads * d_head..].chunks_exact(d_head);
                            let pulled = pulled[place * d_head..].chunks(targets.len() * d_head);
                            let by_head = rows.zip(pulled).map(|(row, pulled)| dot(row, &pulled[..d_head]));
                            *value = weight[e] * scale * by_head.fold(B::Element::default(), |sum, part| sum + part);
                        }
                    }
                })?;
            }
        }
        Ok(())
    }
}

/// Target positions in ranges of at most [`CHUNK`] edges and as many scores of keys, at least one position each. Scores are
/// those of every source up to the last position that has a target, for each head and position with a target.
fn key_chunks(targets: &AliveEntries, sources: &AliveEntries, n_heads: usize) -> Vec<Range<usize>> {
    let mut chunks = Vec::new();
    let (mut start, mut positions, mut edges) = (0, 0, 0);
    for s_out in 0..targets.positions() {
        let (here, sources) = (targets.rows_at(s_out).len(), sources.rows_at(s_out).end);
        if here == 0 {
            continue;
        }
        let scores = n_heads * (positions + 1) * sources;
        if positions > 0 && scores.max(edges + here * sources) > CHUNK {
            chunks.push(start..s_out);
            (start, positions, edges) = (s_out, 0, 0);
        }
        positions += 1;
        edges += here * sources;
    }
    chunks.push(start..targets.positions());
    chunks
}

/// Rows of the targets at positions where a source is alive, in groups of about `at_once`; those of a position stay
/// together.
fn target_chunks(targets: &AliveEntries, sources: &AliveEntries, at_once: usize) -> Vec<Vec<usize>> {
    let mut chunks = vec![Vec::new()];
    for position in (0..targets.positions()).filter(|&position| !sources.rows_at(position).is_empty()) {
        let rows = targets.rows_at(position);
        if chunks.last().is_some_and(|open| !open.is_empty() && open.len() + rows.len() > at_once) {
            chunks.push(Vec::new());
        }
        if let Some(open) = chunks.last_mut() {
            open.extend(rows);
        }
    }
    chunks
}

fn dot<E: Element>(lhs: &[E], rhs: &[E]) -> E {
    lhs.iter().zip(rhs).fold(E::default(), |sum, (&l, &r)| sum + l * r)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One target at the last position alone, and sources everywhere: few edges, for which few scores are held.
    #[test]
    fn scores_are_bounded_where_edges_are_few() {
        let positions = 1000;
        let sources = AliveEntries::collect(positions, 100, |_, _| true);
        for (n_heads, every) in [(1, 999), (4, 999), (4, 10), (16, 1)] {
            let targets = AliveEntries::collect(positions, 1, |s, _| s % every == 0);
            let ranges = key_chunks(&targets, &sources, n_heads);
            assert_eq!((ranges[0].start, ranges[ranges.len() - 1].end), (0, positions));
            assert!(ranges.windows(2).all(|pair| pair[0].end == pair[1].start));
            for range in &ranges {
                let with_target: Vec<usize> = range.clone().filter(|s| s % every == 0).collect();
                let scores = n_heads * with_target.len() * (with_target[with_target.len() - 1] + 1) * 100;
                assert!(scores <= CHUNK || with_target.len() == 1, "{range:?}: {scores}");
            }
            // No more of them than the bound asks for, but for the last positions of each.
            let all: usize = (0..positions).step_by(every).map(|s| n_heads * (s + 1) * 100).sum();
            assert!(ranges.len() <= 2 * all.div_ceil(CHUNK) + 1, "{} ranges", ranges.len());
        }
    }
}
