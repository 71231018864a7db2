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
//!
//! The products in angle brackets are the device's. Those of keys and queries are taken for all sets at once, or for as
//! many, and then as many positions of one, as [`CHUNK`] values hold.

use std::ops::Range;

use rayon::prelude::*;
use tributary_backend::{AttributionBackend, BackendError, Element};
use tributary_model::{AliveEntries, Layer, Pair, Role};

use super::context::Context;
use crate::EngineError;
use crate::edges::{CHUNK, Edges, LayerEntries};
use crate::forward::Heads;
use crate::lanes::dot;

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
    /// Queries, rotated, `[sets * positions, n_heads * d_head]`.
    queries: B::Tensor,
    /// Keys, rotated, `[sets, kv heads, 1, positions, d_head]`.
    keys: B::Tensor,
    /// Kv heads, query heads that share one, width of a head.
    heads: [usize; 3],
    /// `V_o` of the target's support, `[kv heads, heads per kv head, support, d_head]`.
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

    /// `delta[s_out, s_in, c_out]` of one head for the positions up to `s_out`; `slot` is that of `c_out`.
    fn delta(&self, set: usize, head: usize, s_out: usize, slot: u32) -> impl Iterator<Item = E> + use<'_, E> {
        let row = ((set * self.n_heads + head) * self.support + slot as usize) * self.positions;
        let mean_read = self.mean_read[row + s_out];
        let probs = self.probs(set, head, s_out).iter();
        probs.zip(&self.read[row..][..=s_out]).map(move |(&prob, &read)| prob * (read - mean_read))
    }
}

/// Positions of one set whose edges are computed together.
struct Unit {
    set: usize,
    /// Those that have edges lie in it; ranges of a set follow one another and leave none out.
    range: Range<usize>,
    /// The positions in it that have edges; at least one.
    positions: Vec<usize>,
}

impl<'a, B: AttributionBackend> Attention<'a, B> {
    fn new(context: &'a Context<'a, B>, block: usize) -> Result<Self, BackendError> {
        let Context { model, forward, targets, .. } = context;
        let (b, architecture) = (&model.backend, &model.architecture);
        let (n_heads, d_head) = (architecture.n_heads, architecture.d_head);
        let (kv_heads, group) = (architecture.n_kv_heads, n_heads / architecture.n_kv_heads);
        let output = |role| &forward.layers[&architecture.layer(block, role)].output;
        let (q, k, v) = (output(Role::Query), output(Role::Key), output(Role::Value));
        let heads = Heads::new(model, &forward.sequence, q, k, v)?;
        let target = architecture.layer(block, Role::AttentionOutput);
        let support = targets[&target].components.len();
        let readers = b.reshape(&forward.layers[&target].readers, &[support, kv_heads, group, d_head])?;
        let readers = b.permute(&readers, &[1, 2, 0, 3])?;
        // [sets, kv heads, heads per kv head, support, positions]
        let read = b.matmul(&readers, &b.permute(&heads.v, &[0, 1, 2, 4, 3])?)?;
        let mean_read = b.matmul(&read, &b.permute(&heads.probs, &[0, 1, 2, 4, 3])?)?;
        let [sets, positions] = forward.shape;
        let reads = Reads {
            n_heads,
            positions,
            support,
            probs: b.download_vec(heads.probs)?,
            read: b.download_vec(read)?,
            mean_read: b.download_vec(mean_read)?,
        };
        let queries = b.permute(&heads.q, &[0, 3, 1, 2, 4])?;
        let queries = b.reshape(&queries, &[sets * positions, n_heads * d_head])?;
        Ok(Self { context, block, queries, keys: heads.k, heads: [kv_heads, group, d_head], readers, reads })
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

    /// `1 / sqrt(d_head)`
    fn scale(&self) -> B::Element {
        B::Element::from_f64(1.0 / (self.heads[2] as f64).sqrt())
    }

    /// Rows of `U` of some entries, given as (slot, position), rotated to their positions: `[entries, heads, d_head]`,
    /// `heads` being the layer's own number.
    fn rows(&self, role: Role, entries: impl Iterator<Item = (u32, u32)>) -> Result<B::Tensor, BackendError> {
        let Context { model, forward, .. } = self.context;
        let b = &model.backend;
        let u = &forward.layers[&self.layer(role)].u;
        let (slots, positions): (Vec<usize>, Vec<usize>) =
            entries.map(|(slot, position)| (slot as usize, position as usize)).unzip();
        let d_head = self.heads[2];
        let rows = b.reshape(&b.select(u, 0, &slots)?, &[slots.len(), b.shape(u)[1] / d_head, d_head])?;
        forward.sequence.rotate_rows(b, &rows, &positions)
    }

    fn query_attributions(&self, edges: &mut Edges<'_, '_, B::Element>) -> Result<(), EngineError> {
        let b = &self.context.model.backend;
        let (from, to, reads) = (self.source(Role::Query), self.target(), &self.reads);
        let ([kv_heads, group, d_head], n_heads, scale) = (self.heads, reads.n_heads, self.scale());
        let (pair, d_model) = (self.pair(Role::Query), n_heads * d_head);
        let targets = |unit: &Unit| rows_in(&to.alive[unit.set], &unit.range);
        let sources = |unit: &Unit| rows_in(&from.alive[unit.set], &unit.range);
        // delta, what comes of it, and the rows of U.
        let size = |units: &[Unit]| {
            let (most, past) = (most(units, |unit| targets(unit).len()), most(units, Unit::past));
            units.len() * most * (n_heads * past + d_model)
                + units.iter().map(|unit| sources(unit).len() * d_model).sum::<usize>()
        };
        let has_edges =
            |set: usize, s: usize| !from.alive[set].rows_at(s).is_empty() && !to.alive[set].rows_at(s).is_empty();
        for units in batches(units(to.alive, has_edges, size), size) {
            let (n_targets, past) = (most(&units, |unit| targets(unit).len()), most(&units, Unit::past));
            let rows = units
                .iter()
                .flat_map(|unit| sources(unit).map(|row| (from.slots[unit.set][row], from.positions[unit.set][row])));
            let rows = b.download_vec(self.rows(Role::Query, rows)?)?;
            // delta of every target entry over its past: [units, n_heads, targets, s_in].
            let mut delta = vec![B::Element::default(); units.len() * n_heads * n_targets * past];
            delta.par_chunks_exact_mut(n_targets * past).enumerate().for_each(|(at, delta)| {
                let (unit, head) = (&units[at / n_heads], at % n_heads);
                for (delta, t) in delta.chunks_exact_mut(past).zip(targets(unit)) {
                    let (s_out, slot) = (to.positions[unit.set][t] as usize, to.slots[unit.set][t]);
                    let of_target = reads.delta(unit.set, head, s_out, slot);
                    delta.iter_mut().zip(of_target).for_each(|(delta, value)| *delta = value);
                }
            });
            let delta = b.upload(&delta, &[units.len(), kv_heads, group, n_targets, past])?;
            let keys = b.select(&self.keys, 0, &units.iter().map(|unit| unit.set).collect::<Vec<_>>())?;
            // sum over s_in of delta k[s_in]: [units, n_heads, targets, d_head].
            let pulled = b.download_vec(b.matmul(&delta, &b.narrow(&keys, 3, 0, past)?)?)?;
            let mut rest = rows.as_slice();
            for (unit, pulled) in units.iter().zip(pulled.chunks_exact(n_targets * d_model)) {
                let (alive, wanted, weight) = (&from.alive[unit.set], &to.alive[unit.set], &from.weight[unit.set]);
                let (first_source, first_target) = (sources(unit).start, targets(unit).start);
                let rows = rest.split_off(..sources(unit).len() * d_model).unwrap_or_default();
                let fill = |s_out: usize, values: &mut [B::Element]| {
                    let here = alive.rows_at(s_out);
                    let rows = &rows[(here.start - first_source) * d_model..];
                    let mut of_target = Vec::with_capacity(d_model);
                    for (values, t) in values.chunks_exact_mut(here.len()).zip(wanted.rows_at(s_out)) {
                        // Heads next to each other, as in the rows.
                        let by_head = pulled[(t - first_target) * d_head..].chunks(n_targets * d_head);
                        of_target.clear();
                        by_head.for_each(|head| of_target.extend_from_slice(&head[..d_head]));
                        let sources = weight[here.clone()].iter().zip(rows.chunks_exact(d_model));
                        for (value, (&weight, row)) in values.iter_mut().zip(sources) {
                            *value = weight * scale * dot(row, &of_target);
                        }
                    }
                };
                edges.put_chunk(&pair, unit.set, alive, wanted, unit.range.clone(), &fill)?;
            }
        }
        Ok(())
    }

    fn key_attributions(&self, edges: &mut Edges<'_, '_, B::Element>) -> Result<(), EngineError> {
        let b = &self.context.model.backend;
        let (from, to, reads) = (self.source(Role::Key), self.target(), &self.reads);
        let ([kv_heads, group, d_head], n_heads, scale) = (self.heads, reads.n_heads, self.scale());
        let pair = self.pair(Role::Key);
        // Every source up to the last position that has a target.
        let sources = |unit: &Unit| from.alive[unit.set].rows_at(unit.past() - 1).end;
        let edges_of = |unit: &Unit| -> usize {
            let (alive, wanted) = (&from.alive[unit.set], &to.alive[unit.set]);
            unit.positions.iter().map(|&s| alive.rows_at(s).end * wanted.rows_at(s).len()).sum()
        };
        // Scores and the rows of U; or the edges of one unit, which are held as well.
        let size = |units: &[Unit]| {
            let (sources, positions) = (most(units, sources), most(units, |unit| unit.positions.len()));
            let scores = units.len() * (n_heads * positions * sources + sources * kv_heads * d_head);
            scores.max(most(units, edges_of))
        };
        let has_edges =
            |set: usize, s: usize| from.alive[set].rows_at(s).end > 0 && !to.alive[set].rows_at(s).is_empty();
        for units in batches(units(to.alive, has_edges, size), size) {
            let (n_sources, n_positions) = (most(&units, sources), most(&units, |unit| unit.positions.len()));
            let rows = units.iter().flat_map(|unit| {
                let own = (0..sources(unit)).map(|row| (from.slots[unit.set][row], from.positions[unit.set][row]));
                own.chain(std::iter::repeat((0, 0))).take(n_sources)
            });
            let rows = b.reshape(&self.rows(Role::Key, rows)?, &[units.len(), n_sources, kv_heads, 1, d_head])?;
            let queries: Vec<usize> = units
                .iter()
                .flat_map(|unit| {
                    let own = unit.positions.iter().map(|s| unit.set * reads.positions + s);
                    own.chain(std::iter::repeat(0)).take(n_positions)
                })
                .collect();
            let queries = b.select(&self.queries, 0, &queries)?;
            let queries = b.reshape(&queries, &[units.len(), n_positions, kv_heads, group, d_head])?;
            // <R_(s_in) U_k, q[s_out]>: [units, n_heads, s_out, sources].
            let scores = b.matmul(&b.permute(&queries, &[0, 2, 3, 1, 4])?, &b.permute(&rows, &[0, 2, 3, 4, 1])?)?;
            let scores = b.download_vec(scores)?;
            for (unit, scores) in units.iter().zip(scores.chunks_exact(n_heads * n_positions * n_sources)) {
                let (alive, wanted, weight) = (&from.alive[unit.set], &to.alive[unit.set], &from.weight[unit.set]);
                let fill = |s_out: usize, values: &mut [B::Element]| {
                    let width = alive.rows_at(s_out).end;
                    let at = unit.positions.binary_search(&s_out).unwrap_or_else(|_| unreachable!("it has edges"));
                    // post * mask / sqrt(d_head) * score, by head.
                    let mut weighted = Vec::with_capacity(n_heads * width);
                    for of_head in scores.chunks_exact(n_positions * n_sources) {
                        let of_head = of_head[at * n_sources..][..width].iter().zip(weight);
                        weighted.extend(of_head.map(|(&score, &weight)| weight * scale * score));
                    }
                    for (values, t) in values.chunks_exact_mut(width).zip(wanted.rows_at(s_out)) {
                        values.fill(B::Element::default());
                        for (head, weighted) in weighted.chunks_exact(width).enumerate() {
                            let delta = reads.delta(unit.set, head, s_out, to.slots[unit.set][t]);
                            for (s_in, delta) in delta.enumerate() {
                                let here = alive.rows_at(s_in);
                                add_scaled(&mut values[here.clone()], delta, &weighted[here]);
                            }
                        }
                    }
                };
                edges.put_chunk(&pair, unit.set, alive, wanted, unit.range.clone(), &fill)?;
            }
        }
        Ok(())
    }

    fn value_attributions(&self, edges: &mut Edges<'_, '_, B::Element>) -> Result<(), EngineError> {
        let Context { model, forward, .. } = self.context;
        let b = &model.backend;
        let (from, to, reads) = (self.source(Role::Value), self.target(), &self.reads);
        let ([kv_heads, _, d_head], n_heads) = (self.heads, reads.n_heads);
        let u = &forward.layers[&self.layer(Role::Value)].u;
        let n_sources = from.components.len();
        // <U_v, V_o>, of weights alone: [n_heads, target's support, source's support].
        let rows = b.permute(&b.reshape(u, &[n_sources, kv_heads, 1, d_head])?, &[1, 2, 3, 0])?;
        let virtual_weights = b.download_vec(b.matmul(&self.readers, &rows)?)?;
        for set in 0..to.alive.len() {
            let (alive, wanted) = (&from.alive[set], &to.alive[set]);
            let (positions, slots, weight) = (&from.positions[set], &from.slots[set], &from.weight[set]);
            edges.put(&self.pair(Role::Value), set, alive, wanted, |s_out, values| {
                let width = alive.rows_at(s_out).end;
                let (positions, slots) = (&positions[..width], &slots[..width]);
                // post * mask * p, by head.
                let mut weighted = Vec::with_capacity(n_heads * width);
                for head in 0..n_heads {
                    let probs = reads.probs(set, head, s_out);
                    let of_sources = positions.iter().zip(weight);
                    weighted.extend(of_sources.map(|(&s_in, &weight)| weight * probs[s_in as usize]));
                }
                for (values, t) in values.chunks_exact_mut(width).zip(wanted.rows_at(s_out)) {
                    values.fill(B::Element::default());
                    for (head, weighted) in weighted.chunks_exact(width).enumerate() {
                        let row = head * reads.support + to.slots[set][t] as usize;
                        let of_target = &virtual_weights[row * n_sources..][..n_sources];
                        for ((value, &weighted), &slot) in values.iter_mut().zip(weighted).zip(slots) {
                            *value = *value + weighted * of_target[slot as usize];
                        }
                    }
                }
            })?;
        }
        Ok(())
    }
}

impl Unit {
    /// Number of positions up to the last that has edges.
    fn past(&self) -> usize {
        self.positions.last().map_or(0, |last| last + 1)
    }
}

/// Rows of the entries at some positions.
fn rows_in(entries: &AliveEntries, positions: &Range<usize>) -> Range<usize> {
    if positions.is_empty() {
        return 0..0;
    }
    entries.rows_at(positions.start).start..entries.rows_at(positions.end - 1).end
}

/// The largest of what `of` gives for each unit.
fn most(units: &[Unit], of: impl Fn(&Unit) -> usize) -> usize {
    units.iter().map(of).max().unwrap_or(0)
}

/// The positions of every set in units of at most [`CHUNK`] by `size`, at least one position each. A set without edges has
/// no unit.
fn units<S>(sets: &[S], has_edges: impl Fn(usize, usize) -> bool, size: impl Fn(&[Unit]) -> usize) -> Vec<Unit>
where
    S: AsRef<AliveEntries>,
{
    let mut units = Vec::new();
    for (set, entries) in sets.iter().map(AsRef::as_ref).enumerate() {
        let mut open = Unit { set, range: 0..0, positions: Vec::new() };
        for s_out in (0..entries.positions()).filter(|&s_out| has_edges(set, s_out)) {
            let before = open.range.clone();
            open.range.end = s_out + 1;
            open.positions.push(s_out);
            if open.positions.len() > 1 && size(std::slice::from_ref(&open)) > CHUNK {
                open.positions.pop();
                let next = Unit { set, range: before.end..s_out + 1, positions: vec![s_out] };
                units.push(Unit { range: before, ..std::mem::replace(&mut open, next) });
            }
        }
        if !open.positions.is_empty() {
            units.push(open);
        }
    }
    units
}

/// Consecutive units in batches of at most [`CHUNK`] by `size`, at least one unit each.
fn batches(units: Vec<Unit>, size: impl Fn(&[Unit]) -> usize) -> Vec<Vec<Unit>> {
    let mut batches: Vec<Vec<Unit>> = Vec::new();
    for unit in units {
        match batches.last_mut() {
            Some(open) => {
                open.push(unit);
                if size(open) > CHUNK {
                    let last = open.pop();
                    batches.push(last.into_iter().collect());
                }
            }
            None => batches.push(vec![unit]),
        }
    }
    batches
}

/// `sums += factor * terms`
fn add_scaled<E: Element>(sums: &mut [E], factor: E, terms: &[E]) {
    for (sum, &term) in sums.iter_mut().zip(terms) {
        *sum = *sum + factor * term;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Targets at few positions, and sources everywhere: few edges, for which few scores are held.
    #[test]
    fn scores_are_bounded_where_edges_are_few() {
        let positions = 1000;
        let sources = AliveEntries::collect(positions, 100, |_, _| true);
        for (n_heads, every) in [(1, 999), (4, 999), (4, 10), (16, 1)] {
            let sets: Vec<_> =
                (0..3).map(|_| Box::new(AliveEntries::collect(positions, 1, |s, _| s % every == 0))).collect();
            let size = |units: &[Unit]| {
                let scores = |unit: &Unit| sources.rows_at(unit.past() - 1).end * n_heads;
                units.len() * most(units, |unit| unit.positions.len()) * most(units, scores)
            };
            let units = units(&sets, |_, s| s % every == 0, size);
            for set in 0..3 {
                let of_set: Vec<&Unit> = units.iter().filter(|unit| unit.set == set).collect();
                assert_eq!(of_set[0].range.start, 0);
                assert!(of_set.windows(2).all(|pair| pair[0].range.end == pair[1].range.start));
                let positions = of_set.iter().flat_map(|unit| &unit.positions);
                assert!(positions.copied().eq((0..1000).step_by(every)));
            }
            // No more of them than the bound asks for, but for the last positions of each.
            let all: usize = (0..positions).step_by(every).map(|s| n_heads * (s + 1) * 100).sum();
            assert!(units.len() <= 3 * (2 * all.div_ceil(CHUNK) + 1), "{} units", units.len());
            let in_order: Vec<(usize, usize)> = units.iter().map(|unit| (unit.set, unit.range.start)).collect();
            let batches = batches(units, size);
            for batch in &batches {
                let alone = batch.len() == 1 && batch[0].positions.len() == 1;
                assert!(size(batch) <= CHUNK || alone, "{n_heads} heads, every {every}: {}", size(batch));
            }
            assert!(batches.iter().flatten().map(|unit| (unit.set, unit.range.start)).eq(in_order));
        }
    }
}
