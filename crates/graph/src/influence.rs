//! How much of the output each node and each edge carries: the pruning of circuit-tracer.
//!
//! The formulas are those of `compute_influence` and `prune_graph` of
//! <https://github.com/safety-research/circuit-tracer> (after Ameisen et al., "Circuit Tracing: Revealing Computational
//! Graphs in Language Models", 2025). Every node's incoming attributions, in absolute value, are normalised to sum to 1:
//! `A[t, s] = |w[t, s]| / sum_s |w[t, s]|`. The influence of a node is what reaches it from the output nodes over paths of
//! every length, `p^T (A + A^2 + ...)`, with the probabilities of the output nodes (or 1 for one node that is asked about) as `p`; as the graph has no cycles, one
//! sweep from the output down computes the whole series. The influence of an edge is `A[t, s] * (influence[t] + p[t])`.
//!
//! circuit-tracer's output nodes are those of the last position. A graph of ours has output nodes at every position, so
//! which of them are asked about is said: those of one position, or all.

use tributary_model::Role;

use crate::{Graph, Node};

/// Influence of each node and edge on the output.
#[derive(Clone, Debug, PartialEq)]
pub struct Influence {
    /// Of each node, over paths of at least one edge: 0 for output nodes.
    pub nodes: Vec<f64>,
    /// Of each edge.
    pub edges: Vec<f64>,
}

/// What pruning keeps.
#[derive(Clone, Debug, PartialEq)]
pub struct Pruned {
    /// Whether each node stays.
    pub nodes: Vec<bool>,
    /// Whether each edge stays.
    pub edges: Vec<bool>,
    /// The share of all nodes' influence that each node carries together with the nodes of more influence: what viewers
    /// call a node's `influence`, and prune by.
    pub cumulative: Vec<f64>,
}

impl Influence {
    /// Computes the influence of a graph's nodes and edges on the output at `position`; `None` for all of it. Edges that
    /// are not finite count as zero.
    pub fn new(graph: &Graph, position: Option<u32>) -> Self {
        Self::of_edges(graph, &probabilities(graph, position), |_| true)
    }

    /// The same on one node, whatever its probability.
    ///
    /// # Panics
    ///
    /// When the graph has no node of that index.
    pub fn on(graph: &Graph, node: usize) -> Self {
        let mut weights = vec![0.0; graph.nodes.len()];
        weights[node] = 1.0;
        Self::of_edges(graph, &weights, |_| true)
    }

    fn of_edges(graph: &Graph, weights: &[f64], keep: impl Fn(usize) -> bool) -> Self {
        let weight = |edge: usize| {
            let value = graph.edges[edge].value.abs();
            if value.is_finite() && keep(edge) { f64::from(value) } else { 0.0 }
        };
        let mut incoming = vec![0.0; graph.nodes.len()];
        for (i, edge) in graph.edges.iter().enumerate() {
            incoming[edge.target as usize] += weight(i);
        }
        let mut nodes = vec![0.0; graph.nodes.len()];
        let mut edges = vec![0.0; graph.edges.len()];
        // Edges ascend by target layer, and sources are in earlier layers: in reverse, the influence of a target is
        // complete before it is passed on.
        for (i, edge) in graph.edges.iter().enumerate().rev() {
            let (source, target) = (edge.source as usize, edge.target as usize);
            if incoming[target] > 0.0 {
                edges[i] = weight(i) / incoming[target] * (nodes[target] + weights[target]);
                nodes[source] += edges[i];
            }
        }
        Self { nodes, edges }
    }
}

impl Pruned {
    /// The part of a graph that carries most of the output at `position`, or of all output, as circuit-tracer prunes it.
    ///
    /// The nodes of most influence are kept that together carry the share `node_threshold` of all nodes' influence, and
    /// with them every node of `wte` and `output`; then the edges of most influence that carry the share `edge_threshold`
    /// of what is left; then components that have no edge on one side are dropped until none is left.
    pub fn new(graph: &Graph, position: Option<u32>, node_threshold: f64, edge_threshold: f64) -> Self {
        let weights = probabilities(graph, position);
        let influence = Influence::of_edges(graph, &weights, |_| true);
        let (least, cumulative) = threshold(&influence.nodes, node_threshold);
        let is_component = |node: usize| graph.nodes[node].entry.layer.is_linear();
        let keep = |(node, &carried): (usize, &f64)| match graph.nodes[node].entry.layer.role() {
            Role::Embedding => true,
            Role::Output => position.is_none_or(|position| graph.nodes[node].entry.position == position),
            _ => carried >= least,
        };
        let mut nodes: Vec<bool> = influence.nodes.iter().enumerate().map(keep).collect();
        let joins = |nodes: &[bool], edge: usize| {
            let edge = graph.edges[edge];
            nodes[edge.source as usize] && nodes[edge.target as usize]
        };
        let influence = Influence::of_edges(graph, &weights, |edge| joins(&nodes, edge));
        let (least, _) = threshold(&influence.edges, edge_threshold);
        // An edge that carries nothing is no part of the pruned graph, even where the threshold is 1.
        let kept = |(edge, &carried): (usize, &f64)| carried >= least && carried > 0.0 && joins(&nodes, edge);
        let mut edges: Vec<bool> = influence.edges.iter().enumerate().map(kept).collect();
        loop {
            let (mut has_in, mut has_out) = (vec![false; nodes.len()], vec![false; nodes.len()]);
            for (edge, _) in graph.edges.iter().zip(&edges).filter(|&(_, &kept)| kept) {
                has_out[edge.source as usize] = true;
                has_in[edge.target as usize] = true;
            }
            let dead = |&node: &usize| nodes[node] && is_component(node) && !(has_in[node] && has_out[node]);
            let dead: Vec<usize> = (0..nodes.len()).filter(dead).collect();
            if dead.is_empty() {
                return Self { nodes, edges, cumulative };
            }
            for node in dead {
                nodes[node] = false;
            }
            for (edge, kept) in edges.iter_mut().enumerate() {
                *kept &= joins(&nodes, edge);
            }
        }
    }
}

/// What each node asks for: the probability of outputs at `position`, or of all outputs.
fn probabilities(graph: &Graph, position: Option<u32>) -> Vec<f64> {
    // A file can say anything; what is not a probability carries nothing.
    let probability = |node: &Node| {
        let is_asked = position.is_none_or(|position| node.entry.position == position);
        node.probability.filter(|p| is_asked && p.is_finite()).map_or(0.0, |p| f64::from(p.max(0.0)))
    };
    graph.nodes.iter().map(probability).collect()
}

/// The least influence of those that together carry `share` of the whole, and for each the share that it and all before
/// it carry, in descending order.
fn threshold(influence: &[f64], share: f64) -> (f64, Vec<f64>) {
    let mut order: Vec<usize> = (0..influence.len()).collect();
    order.sort_by(|&a, &b| influence[b].total_cmp(&influence[a]).then(a.cmp(&b)));
    let total: f64 = order.iter().map(|&i| influence[i]).sum();
    let mut cumulative = vec![0.0; influence.len()];
    let (mut sum, mut least) = (0.0, None);
    for &i in &order {
        sum += influence[i];
        cumulative[i] = if total > 0.0 { (sum / total).min(1.0) } else { 1.0 };
        if cumulative[i] >= share {
            least = least.or(Some(influence[i]));
        }
    }
    (least.or(order.last().map(|&last| influence[last])).unwrap_or(0.0), cumulative)
}
