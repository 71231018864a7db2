//! What most sets have.

use std::ops::Range;

use serde::Serialize;
use tributary_graph::{Entry, Node};

use crate::alignment::{Alignment, Items, Value, shared};
use crate::{CompareError, json};

/// The nodes and edges that at least `k` of the compared sets have.
#[derive(Clone, Debug, PartialEq)]
pub struct Consensus {
    /// How many sets have to have what is in it, at least.
    pub k: usize,
    /// Its nodes, ascending.
    pub nodes: Vec<ConsensusNode>,
    /// Its edges in the order of pairs, then ascending by target, then source. Both ends of each are nodes.
    pub edges: Vec<ConsensusEdge>,
    /// For each pair of the pair table, the indices of its edges.
    pub pairs: Vec<Range<usize>>,
}

/// A node that at least `k` sets have, with means over the sets that have it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ConsensusNode {
    /// Which.
    #[serde(serialize_with = "json::entry")]
    pub node: Entry,
    /// How many sets have it.
    pub sets: usize,
    /// Mean causal importance; `None` for `wte` and `output`. Values that are not finite are left out of every mean, which
    /// is `None` without others.
    pub ci: Option<f64>,
    /// Mean probability; `None` but for `output`.
    pub probability: Option<f64>,
    /// Mean activation; `None` for `wte`.
    pub activation: Option<f64>,
    /// Mean importance.
    pub importance: f64,
}

/// An edge that at least `k` sets have.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ConsensusEdge {
    /// Index of the source in [`Consensus::nodes`].
    pub source: u32,
    /// Index of the target in [`Consensus::nodes`].
    pub target: u32,
    /// How many sets have it.
    pub sets: usize,
    /// Mean of its attributions over the sets that have it.
    pub mean: f64,
    /// Their population standard deviation: the root of the mean squared distance from `mean`.
    pub std: f64,
    /// Share of those sets in which it has the sign that most of them give it.
    pub sign_agreement: f64,
}

/// More than half of the sets.
pub fn majority(sets: usize) -> usize {
    sets / 2 + 1
}

impl Consensus {
    /// What at least `k` sets have; what the [`majority`] has without `k`.
    ///
    /// # Errors
    ///
    /// When `k` is 0 or more than there are sets.
    pub fn new(alignment: &Alignment<'_>, k: Option<usize>) -> Result<Self, CompareError> {
        let sets = alignment.sets.len();
        let k = k.unwrap_or_else(|| majority(sets));
        if !(1..=sets).contains(&k) {
            return Err(CompareError::AtLeast { k, sets });
        }
        let node_ids = in_at_least(k, &alignment.nodes);
        let edge_ids = in_at_least(k, &alignment.edges);
        // An edge is in no set without its ends.
        let index = |id: u32| node_ids.partition_point(|&kept| kept < id) as u32;
        let ends = edge_ids.iter().map(|&id| alignment.ends[id as usize].map(index));
        let statistics = edge_statistics(&alignment.edges, &edge_ids);
        let edges = ends.zip(statistics).map(|([target, source], Statistics { sets, mean, squares, positive })| {
            let (count, positive) = (f64::from(sets), f64::from(positive));
            ConsensusEdge {
                source,
                target,
                sets: sets as usize,
                mean,
                std: (squares / count).sqrt(),
                sign_agreement: positive.max(count - positive) / count,
            }
        });
        let edges = edges.collect();
        let before = |id: u32| edge_ids.partition_point(|&kept| kept < id);
        let pairs = alignment.edges.groups.iter().map(|pair| before(pair.start)..before(pair.end)).collect();
        Ok(Self { k, nodes: mean_nodes(alignment, &node_ids), edges, pairs })
    }
}

fn in_at_least<V>(k: usize, items: &Items<V>) -> Vec<u32> {
    (0..).zip(&items.counts).filter(|&(_, &count)| count as usize >= k).map(|(id, _)| id).collect()
}

#[derive(Clone, Copy, Default)]
struct Statistics {
    sets: u32,
    mean: f64,
    /// Sum of the squared distances from the mean.
    squares: f64,
    positive: u32,
}

fn edge_statistics(edges: &Items<f32>, ids: &[u32]) -> Vec<Statistics> {
    let mut statistics = vec![Statistics::default(); ids.len()];
    let values =
        || edges.members.iter().flat_map(|set| shared(&set.ids, ids).map(|(at, kept)| (set.values[at].signed(), kept)));
    for (value, kept) in values() {
        let edge = &mut statistics[kept];
        edge.sets += 1;
        edge.mean += value;
        edge.positive += u32::from(value > 0.0);
    }
    for edge in &mut statistics {
        edge.mean /= f64::from(edge.sets);
    }
    // Distances from the mean, not a difference of squares, which would cancel.
    for (value, kept) in values() {
        let edge = &mut statistics[kept];
        edge.squares += (value - edge.mean).powi(2);
    }
    statistics
}

/// A mean of what is finite.
#[derive(Clone, Copy, Default)]
struct Mean {
    sum: f64,
    count: u32,
}

impl Mean {
    fn push(&mut self, value: Option<f32>) {
        if let Some(value) = value.filter(|value| value.is_finite()) {
            self.sum += f64::from(value);
            self.count += 1;
        }
    }

    fn get(self) -> Option<f64> {
        (self.count > 0).then(|| self.sum / f64::from(self.count))
    }
}

fn mean_nodes(alignment: &Alignment<'_>, ids: &[u32]) -> Vec<ConsensusNode> {
    let mut means = vec![([Mean::default(); 3], 0.0); ids.len()];
    for (set, members) in alignment.sets.iter().zip(&alignment.nodes.members) {
        // All nodes of a graph are members, in their order.
        for (at, kept) in shared(&members.ids, ids) {
            let Node { ci, probability, activation, importance, .. } = set.graph().nodes[at];
            let (means, sum) = &mut means[kept];
            means.iter_mut().zip([ci, probability, activation]).for_each(|(mean, value)| mean.push(value));
            *sum += importance;
        }
    }
    let node = |(&id, ([ci, probability, activation], importance)): (&u32, ([Mean; 3], f64))| {
        let sets = alignment.nodes.counts[id as usize] as usize;
        ConsensusNode {
            node: alignment.entries[id as usize],
            sets,
            ci: ci.get(),
            probability: probability.get(),
            activation: activation.get(),
            importance: importance / sets as f64,
        }
    };
    ids.iter().zip(means).map(node).collect()
}
