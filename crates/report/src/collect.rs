//! What is written of the graphs of one prompt.

use tributary_graph::{Edge, Entry, Limits, Selection};
use tributary_model::{Faithfulness, Layer, Prediction, SetAttributions};
use tributary_results::SetEntry;

use crate::columns::Block;
use crate::{Options, SetSummary};

/// The graphs of the sets of one prompt.
#[derive(Debug)]
pub(crate) struct PromptGraphs {
    /// Index of the prompt in the manifest.
    pub(crate) prompt: usize,
    pub(crate) sets: Vec<SetGraph>,
}

/// What is written of one set.
#[derive(Debug)]
pub(crate) struct SetGraph {
    pub(crate) summary: SetSummary,
    pub(crate) metadata: Option<serde_json::Value>,
    /// How faithful its masked model is to the target model, and the numbers by position.
    pub(crate) prediction: Option<(Faithfulness, Prediction<f32>)>,
    /// Sum of the absolute values of all finite edges.
    pub(crate) magnitude: f64,
    /// The part of it that is left out.
    pub(crate) magnitude_left_out: f64,
    pub(crate) ghosts: Vec<Entry>,
    nodes: Vec<CountedNode>,
    /// The strongest first.
    edges: Vec<Edge>,
}

#[derive(Debug)]
struct CountedNode {
    node: tributary_graph::Node,
    /// Number of finite edges to it and from it that are not zero, written or not.
    incoming: u32,
    outgoing: u32,
}

impl PromptGraphs {
    pub(crate) fn new(prompt: usize) -> Self {
        Self { prompt, sets: Vec::new() }
    }

    pub(crate) fn add(&mut self, set: &SetAttributions<f32>, entry: &SetEntry, options: &Options) {
        let graph = options.view.of(set);
        let limits = Limits { min_edge: None, top_edges: Some(options.max_edges_per_set) };
        let selection = Selection::new(&graph, limits);
        let mut nodes: Vec<CountedNode> =
            graph.nodes.iter().map(|&node| CountedNode { node, incoming: 0, outgoing: 0 }).collect();
        for edge in graph.edges.iter().filter(|edge| edge.flows()) {
            nodes[edge.source as usize].outgoing += 1;
            nodes[edge.target as usize].incoming += 1;
        }
        let summary = SetSummary {
            name: entry.name.clone(),
            nodes: graph.nodes.len(),
            edges: graph.edges.len(),
            written: selection.edges.len(),
            left_out: selection.left_out,
            largest_left_out: selection.largest_left_out,
            zero: graph.zero(),
            not_finite: graph.not_finite(),
        };
        self.sets.push(SetGraph {
            summary,
            metadata: entry.metadata.clone(),
            prediction: entry.prediction.zip(set.prediction.clone()),
            magnitude: selection.magnitude,
            magnitude_left_out: selection.magnitude_left_out,
            edges: selection.edges.iter().map(|&edge| graph.edges[edge as usize]).collect(),
            ghosts: graph.ghosts,
            nodes,
        });
    }

    /// Every entry that is a node or a ghost of any of the sets, ascending: what the shared layout has.
    pub(crate) fn entries(&self) -> Vec<Entry> {
        let nodes = self.sets.iter().flat_map(|set| set.nodes.iter().map(|counted| counted.node.entry));
        let ghosts = self.sets.iter().flat_map(|set| set.ghosts.iter().copied());
        let mut entries: Vec<Entry> = nodes.chain(ghosts).collect();
        entries.sort_unstable();
        entries.dedup();
        entries
    }

    pub(crate) fn into_summaries(self) -> impl Iterator<Item = SetSummary> {
        self.sets.into_iter().map(|set| set.summary)
    }
}

/// The columns of a prompt's entries, whose layers are numbered as in `layers`.
pub(crate) fn entry_columns(entries: &[Entry], layers: &[Layer]) -> Block {
    let mut block = Block::default();
    // Entries are of layers of the model, of which there are at most as many as blocks times six and two.
    let number = |entry: &Entry| layers.iter().position(|&layer| layer == entry.layer).unwrap_or(0) as u32;
    block.u32("layer", entries.iter().map(number));
    block.u32("position", entries.iter().map(|entry| entry.position));
    block.u32("component", entries.iter().map(|entry| entry.component));
    block
}

impl SetGraph {
    /// The columns of its nodes, ghosts and edges, which name entries by their index in `entries`.
    pub(crate) fn columns(&self, entries: &[Entry]) -> Block {
        let index_of = |entry: &Entry| entries.partition_point(|known| known < entry) as u32;
        let of_node: Vec<u32> = self.nodes.iter().map(|counted| index_of(&counted.node.entry)).collect();
        let nodes = || self.nodes.iter();
        let mut block = Block::default();
        block.u32("node", of_node.iter().copied());
        block.f32("ci", nodes().map(|counted| counted.node.ci.unwrap_or(f32::NAN)));
        block.f32("probability", nodes().map(|counted| counted.node.probability.unwrap_or(f32::NAN)));
        if let Some((_, prediction)) = &self.prediction {
            let target = |counted: &CountedNode| counted.node.target_probability.unwrap_or(f32::NAN);
            block.f32("target_probability", nodes().map(target));
            block.u32("far", nodes().map(|counted| u32::from(counted.node.is_far())));
            block.f32("kl", prediction.kl.iter().copied());
            block.u32("likeliest", prediction.likeliest.iter().copied());
        }
        block.f32("activation", nodes().map(|counted| counted.node.activation.unwrap_or(f32::NAN)));
        block.f64("importance", nodes().map(|counted| counted.node.importance));
        block.u32("incoming", nodes().map(|counted| counted.incoming));
        block.u32("outgoing", nodes().map(|counted| counted.outgoing));
        block.u32("ghost", self.ghosts.iter().map(index_of));
        block.u32("source", self.edges.iter().map(|edge| of_node[edge.source as usize]));
        block.u32("target", self.edges.iter().map(|edge| of_node[edge.target as usize]));
        block.f32("value", self.edges.iter().map(|edge| edge.value));
        block
    }
}
