//! Nodes and edges as they are listed.

use serde::Serialize;
use tributary_graph::{Entry, Node};

use crate::alignment::Alignment;
use crate::{Consensus, ConsensusEdge, json};

/// Which node.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct NodeKey {
    /// Its entry.
    #[serde(serialize_with = "json::entry")]
    pub node: Entry,
}

/// Which edge.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct EdgeKey {
    /// Where it starts.
    #[serde(serialize_with = "json::entry")]
    pub source: Entry,
    /// Where it leads.
    #[serde(serialize_with = "json::entry")]
    pub target: Entry,
}

/// A node of one set. What is not finite is `None` too.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ListedNode {
    /// Which.
    #[serde(flatten)]
    pub key: NodeKey,
    /// Its causal importance; `None` for `wte` and `output`.
    pub ci: Option<f32>,
    /// Probability of the token; `None` but for `output`.
    pub probability: Option<f32>,
    /// Its activation; `None` for `wte`.
    pub activation: Option<f32>,
    /// Sum of the absolute attributions of all its edges.
    pub importance: f64,
}

/// An edge of one set.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ListedEdge {
    /// Which.
    #[serde(flatten)]
    pub key: EdgeKey,
    /// The attribution.
    pub value: f32,
}

/// An edge of the consensus.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ListedConsensusEdge {
    /// Which.
    #[serde(flatten)]
    pub key: EdgeKey,
    /// How many sets have it.
    pub sets: usize,
    /// Mean of its attributions over the sets that have it.
    pub mean: f64,
    /// Their population standard deviation.
    pub std: f64,
    /// Share of those sets in which it has the sign that most of them give it.
    pub sign_agreement: f64,
}

/// How large the consensus is, and the strongest of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ConsensusSummary {
    /// How many sets have to have what is in it, at least.
    pub k: usize,
    /// Number of nodes.
    pub nodes: usize,
    /// Number of edges.
    pub edges: usize,
    /// The nodes of the largest mean importance, the largest first.
    pub strongest_nodes: Vec<crate::ConsensusNode>,
    /// The edges of the largest absolute mean, the largest first.
    pub strongest_edges: Vec<ListedConsensusEdge>,
}

impl ConsensusSummary {
    pub(crate) fn new(consensus: &Consensus, top: Option<usize>) -> Self {
        let Consensus { k, nodes, edges, .. } = consensus;
        let by_importance = (0..).zip(nodes).map(|(index, node)| (node.importance, index)).collect();
        let by_mean = (0..).zip(edges).map(|(index, edge)| (edge.mean.abs(), index)).collect();
        let listed = |(_, index): (f64, u32)| {
            let ConsensusEdge { source, target, sets, mean, std, sign_agreement } = edges[index as usize];
            let [source, target] = [source, target].map(|node| nodes[node as usize].node);
            ListedConsensusEdge { key: EdgeKey { source, target }, sets, mean, std, sign_agreement }
        };
        Self {
            k: *k,
            nodes: nodes.len(),
            edges: edges.len(),
            strongest_nodes: strongest(by_importance, top).into_iter().map(|(_, at)| nodes[at as usize]).collect(),
            strongest_edges: strongest(by_mean, top).into_iter().map(listed).collect(),
        }
    }
}

impl Alignment<'_> {
    pub(crate) fn node_key(&self, id: u32) -> NodeKey {
        NodeKey { node: self.entries[id as usize] }
    }

    pub(crate) fn edge_key(&self, id: u32) -> EdgeKey {
        let [target, source] = self.ends[id as usize].map(|node| self.entries[node as usize]);
        EdgeKey { source, target }
    }
}

impl From<&Node> for ListedNode {
    fn from(&Node { entry, ci, probability, activation, importance, .. }: &Node) -> Self {
        let [ci, probability, activation] =
            [ci, probability, activation].map(|value| value.filter(|value| value.is_finite()));
        Self { key: NodeKey { node: entry }, ci, probability, activation, importance }
    }
}

/// The `top` of the largest magnitude with their numbers, all without `top`; the largest first, equal ones by number.
pub(crate) fn strongest(mut candidates: Vec<(f64, u32)>, top: Option<usize>) -> Vec<(f64, u32)> {
    let strongest_first = |a: &(f64, u32), b: &(f64, u32)| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1));
    if let Some(top) = top.filter(|&top| top < candidates.len()) {
        // Only what is listed is sorted: there may be millions.
        candidates.select_nth_unstable_by(top, strongest_first);
        candidates.truncate(top);
    }
    candidates.sort_unstable_by(strongest_first);
    candidates
}
