//! What is the same node and the same edge in several graphs.

use std::iter::Peekable;
use std::ops::Range;

use tributary_graph::{Edge, Entry};
use tributary_model::{Layer, Pair};

use crate::{CompareError, ComparedSet};

/// The union of several graphs' nodes and edges, and which set has which of them.
///
/// A node is in a set when it is alive there. An edge is in a set when it is an edge of its graph whose value is finite,
/// not zero, and at least the least magnitude, if there is one.
#[derive(Debug)]
pub struct Alignment<'a> {
    pub(crate) sets: &'a [ComparedSet],
    pub(crate) min_edge: Option<f32>,
    /// The entry of every node of the union, ascending.
    pub(crate) entries: Vec<Entry>,
    /// The layers that have nodes, in order: the groups of `nodes`.
    pub(crate) layers: Vec<Layer>,
    /// Weighed by importance.
    pub(crate) nodes: Items<f64>,
    /// Target and source of every edge of the union as indices in `entries`, in the order of pairs, then ascending.
    pub(crate) ends: Vec<[u32; 2]>,
    /// The pair table: the groups of `edges`.
    pub(crate) pairs: Vec<Pair>,
    /// Weighed by attribution.
    pub(crate) edges: Items<f32>,
}

/// The union of what several sets have, numbered in order, and which set has which of it.
#[derive(Debug)]
pub(crate) struct Items<V> {
    /// Consecutive parts of the union: layers or pairs.
    pub(crate) groups: Vec<Range<u32>>,
    /// How many sets have each.
    pub(crate) counts: Vec<u32>,
    /// What each set has.
    pub(crate) members: Vec<Members<V>>,
}

/// What one set has.
#[derive(Debug)]
pub(crate) struct Members<V> {
    /// Numbers in the union, ascending.
    pub(crate) ids: Vec<u32>,
    /// The importance of each node, or the attribution of each edge.
    pub(crate) values: Vec<V>,
}

/// A value whose magnitude weighs.
pub(crate) trait Value: Copy + Send + Sync {
    fn signed(self) -> f64;

    fn magnitude(self) -> f64 {
        self.signed().abs()
    }
}

impl Value for f32 {
    fn signed(self) -> f64 {
        f64::from(self)
    }
}

impl Value for f64 {
    fn signed(self) -> f64 {
        self
    }
}

impl<'a> Alignment<'a> {
    /// Aligns the graphs of sets. With `min_edge`, only edges of at least this magnitude count.
    ///
    /// # Errors
    ///
    /// When there are fewer than two sets, two of them cannot be compared, or `min_edge` is negative or not finite.
    pub fn new(sets: &'a [ComparedSet], min_edge: Option<f32>) -> Result<Self, CompareError> {
        let (first, others) = match sets {
            [] => return Err(CompareError::TooFewSets { found: "there is nothing".to_owned() }),
            [only] => return Err(CompareError::TooFewSets { found: format!("there is only {:?}", only.label()) }),
            [first, others @ ..] => (first, others),
        };
        others.iter().try_for_each(|other| first.check_comparable(other))?;
        if let Some(found) = min_edge.filter(|least| !least.is_finite() || *least < 0.0) {
            return Err(CompareError::MinEdge { found });
        }
        let total = sets.iter().map(|set| set.graph().edges.len()).sum();
        if u32::try_from(total).is_err() {
            return Err(CompareError::TooManyEdges { edges: total });
        }
        let (layers, _): (Vec<Layer>, Vec<usize>) = first.manifest().run.model.node_layers().unzip();
        let (entries, nodes) = align_nodes(sets, &layers);
        let pairs: Vec<Pair> = first.graph().pairs.iter().map(|&(pair, _)| pair).collect();
        let (ends, edges) = align_edges(sets, &nodes, pairs.len(), |edge| is_edge(edge, min_edge));
        Ok(Self { sets, min_edge, entries, layers, nodes, ends, pairs, edges })
    }

    /// The sets that are compared.
    pub fn sets(&self) -> &'a [ComparedSet] {
        self.sets
    }

    /// Index of the node number `id` of the union in the graph of a set; `None` where it is not alive.
    pub(crate) fn index_in(&self, set: usize, id: u32) -> Option<usize> {
        // All nodes of a graph are members, in their order.
        self.nodes.members[set].ids.binary_search(&id).ok()
    }
}

/// Whether there is an edge, as far as a comparison goes.
pub(crate) fn is_edge(edge: &Edge, min_edge: Option<f32>) -> bool {
    edge.flows() && min_edge.is_none_or(|least| edge.value.abs() >= least)
}

fn align_nodes(sets: &[ComparedSet], layers: &[Layer]) -> (Vec<Entry>, Items<f64>) {
    let mut entries = Vec::new();
    let mut members: Vec<Members<f64>> = sets.iter().map(|set| Members::new(set.graph().nodes.len())).collect();
    let streams = sets.iter().map(|set| set.graph().nodes.iter().map(|node| (node.entry, node.importance)));
    merge(streams, &mut entries, &mut members);
    let at = |layer: Layer| entries.partition_point(|entry: &Entry| entry.layer < layer) as u32;
    let end = |layer: Layer| entries.partition_point(|entry: &Entry| entry.layer <= layer) as u32;
    let groups = layers.iter().map(|&layer| at(layer)..end(layer)).collect();
    let nodes = Items::new(entries.len(), groups, members);
    (entries, nodes)
}

fn align_edges(
    sets: &[ComparedSet],
    nodes: &Items<f64>,
    pairs: usize,
    is_edge: impl Fn(&Edge) -> bool + Copy,
) -> (Vec<[u32; 2]>, Items<f32>) {
    let mut ends = Vec::new();
    let mut groups = Vec::with_capacity(pairs);
    let count = |set: &ComparedSet| set.graph().edges.iter().filter(|edge| is_edge(edge)).count();
    let mut members: Vec<Members<f32>> = sets.iter().map(|set| Members::new(count(set))).collect();
    for pair in 0..pairs {
        let streams = sets.iter().zip(&nodes.members).map(|(set, nodes)| {
            let graph = set.graph();
            let edges = graph.edges[graph.pairs[pair].1.clone()].iter().filter(move |edge| is_edge(edge));
            // Numbers in the union ascend as indices in the graph do, so the edges stay in order.
            edges.map(|edge| ([nodes.ids[edge.target as usize], nodes.ids[edge.source as usize]], edge.value))
        });
        let start = ends.len() as u32;
        merge(streams, &mut ends, &mut members);
        groups.push(start..ends.len() as u32);
    }
    let edges = Items::new(ends.len(), groups, members);
    (ends, edges)
}

/// Appends the union of ascending streams to `keys`, and to each stream's members what it has of it.
fn merge<K: Ord + Copy, V, S: Iterator<Item = (K, V)>>(
    streams: impl Iterator<Item = S>,
    keys: &mut Vec<K>,
    members: &mut [Members<V>],
) {
    let mut streams: Vec<Peekable<S>> = streams.map(Iterator::peekable).collect();
    while let Some(least) = streams.iter_mut().filter_map(|stream| stream.peek().map(|&(key, _)| key)).min() {
        let id = keys.len() as u32;
        keys.push(least);
        for (stream, members) in streams.iter_mut().zip(&mut *members) {
            if let Some((_, value)) = stream.next_if(|&(key, _)| key == least) {
                members.ids.push(id);
                members.values.push(value);
            }
        }
    }
}

impl<V> Members<V> {
    fn new(capacity: usize) -> Self {
        Self { ids: Vec::with_capacity(capacity), values: Vec::with_capacity(capacity) }
    }
}

impl<V: Value> Items<V> {
    fn new(len: usize, groups: Vec<Range<u32>>, members: Vec<Members<V>>) -> Self {
        let mut counts = vec![0; len];
        for &id in members.iter().flat_map(|members| &members.ids) {
            counts[id as usize] += 1;
        }
        Self { groups, counts, members }
    }

    /// The group that an item is in.
    pub(crate) fn group_of(&self, id: u32) -> usize {
        self.groups.partition_point(|group| group.end <= id)
    }
}

impl<V: Value> Members<V> {
    /// Numbers and values.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, V)> + '_ {
        self.ids.iter().copied().zip(self.values.iter().copied())
    }
}

/// Indices in both of what two ascending lists share.
pub(crate) fn shared<'a>(a: &'a [u32], b: &'a [u32]) -> impl Iterator<Item = (usize, usize)> + 'a {
    let (mut i, mut j) = (0, 0);
    std::iter::from_fn(move || {
        while let (Some(ours), Some(theirs)) = (a.get(i), b.get(j)) {
            let both = (i, j);
            i += usize::from(ours <= theirs);
            j += usize::from(theirs <= ours);
            if ours == theirs {
                return Some(both);
            }
        }
        None
    })
}
