//! Nodes and edges.

use std::collections::BTreeMap;
use std::ops::Range;

use tributary_model::{Layer, LayerNodes, Pair, Role, SetAttributions, is_far};

/// A component of a layer at a position. Ordered as data flows: by layer, then position, then component.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Entry {
    /// Its layer.
    pub layer: Layer,
    /// Its position in the prompt, from 0.
    pub position: u32,
    /// Its component: 0 for `wte`, the token for `output`.
    pub component: u32,
}

impl Entry {
    /// The entry in words, `h.0.mlp.c_fc 7 at 3 (girl)`: layer, component (for `output` the token and its id), position and
    /// the token there. `token_strings` has one string per position. Strings go in as they are.
    pub fn name(&self, token_strings: &[String], output_token: impl FnOnce(u32) -> String) -> String {
        let Self { layer, position, component } = *self;
        let at = format!("at {position} ({})", token_strings.get(position as usize).map_or("", String::as_str));
        match layer.role() {
            Role::Embedding => format!("wte {at}"),
            Role::Output => format!("output {} (token {component}) {at}", output_token(component)),
            _ => format!("{layer} {component} {at}"),
        }
    }
}

/// A component that is originally alive (under the model's own causal importances), but not in this set.
pub type Ghost = Entry;

/// An alive component at a position.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Node {
    /// Where it is.
    pub entry: Entry,
    /// Its causal importance; `None` for `wte` and `output`.
    pub ci: Option<f32>,
    /// Probability of the token; `None` but for `output`.
    pub probability: Option<f32>,
    /// The target model's probability of the token; `None` but for `output`, and where it is not known.
    pub target_probability: Option<f32>,
    /// Its activation before the mask, the logit for `output`; `None` for `wte`.
    pub activation: Option<f32>,
    /// Sum of the absolute attributions of all its edges, from it and to it. Edges that are not finite are left out.
    pub importance: f64,
}

impl Node {
    /// Whether it is an output node whose probability [is far](tributary_model::is_far) from the target model's.
    pub fn is_far(&self) -> bool {
        self.probability.zip(self.target_probability).is_some_and(|(prob, target)| is_far(prob, target))
    }
}

/// The attribution of one node on another.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Edge {
    /// Index of the source in [`Graph::nodes`].
    pub source: u32,
    /// Index of the target in [`Graph::nodes`].
    pub target: u32,
    /// The attribution.
    pub value: f32,
}

impl Edge {
    /// Whether it says that something flows and how much: its attribution is finite and not zero.
    pub fn flows(&self) -> bool {
        self.value.is_finite() && self.value != 0.0
    }
}

/// The attribution graph of one set.
#[derive(Clone, Debug, PartialEq)]
pub struct Graph {
    /// Name of the set: any text.
    pub set: String,
    /// The nodes, ascending by [`Entry`].
    pub nodes: Vec<Node>,
    /// The ghosts, ascending.
    pub ghosts: Vec<Ghost>,
    /// The edges, zeros included, ascending by target layer, then source layer, then target, then source: in the order of
    /// the set's file. Sources are always in an earlier layer than their target.
    pub edges: Vec<Edge>,
    /// The pairs of the pair table in its order, each with the indices of its edges.
    pub pairs: Vec<(Pair, Range<usize>)>,
}

impl Graph {
    /// The graph of a set, whose nodes are numbered through all layers.
    ///
    /// # Panics
    ///
    /// When the set has more than `u32::MAX` nodes.
    pub fn new(set: &SetAttributions<f32>) -> Self {
        let mut starts = BTreeMap::new();
        let mut nodes = Vec::new();
        let mut ghosts = Vec::new();
        for (&layer, layer_nodes) in &set.nodes {
            starts.insert(layer, u32::try_from(nodes.len()).expect("fewer than 2^32 nodes"));
            nodes.extend((0..).zip(entries(layer, layer_nodes)).map(|(row, entry)| node(entry, set, layer_nodes, row)));
            let is_ghost = |&(position, component): &(usize, usize)| {
                !layer.is_embedding() && layer_nodes.alive.row_of(position, component).is_none()
            };
            ghosts.extend(layer_nodes.original.iter().filter(is_ghost).map(|at| entry(layer, at)));
        }
        assert!(u32::try_from(nodes.len()).is_ok(), "fewer than 2^32 nodes");
        let mut edges = Vec::with_capacity(set.edge_count());
        let mut pairs = Vec::with_capacity(set.pairs.len());
        for attribution in &set.pairs {
            let pair = attribution.pair;
            let (from, to) = (starts[&pair.source], starts[&pair.target]);
            let first = edges.len();
            edges.extend(attribution.edges().zip(&attribution.values).map(|((source, target), &value)| Edge {
                source: from + source as u32,
                target: to + target as u32,
                value,
            }));
            pairs.push((pair, first..edges.len()));
        }
        let mut graph = Self { set: set.name.clone(), nodes, ghosts, edges, pairs };
        graph.weigh();
        graph
    }

    /// Gives every node the importance that its edges make.
    pub(crate) fn weigh(&mut self) {
        for node in &mut self.nodes {
            node.importance = 0.0;
        }
        for edge in self.edges.iter().filter(|edge| edge.value.is_finite()) {
            let magnitude = f64::from(edge.value.abs());
            self.nodes[edge.source as usize].importance += magnitude;
            self.nodes[edge.target as usize].importance += magnitude;
        }
    }

    /// Index of a node in `nodes`; `None` when the entry is not alive.
    pub fn find(&self, entry: Entry) -> Option<usize> {
        self.nodes.binary_search_by_key(&entry, |node| node.entry).ok()
    }

    /// Number of edges that are NaN or infinite: attributions that overflowed.
    pub fn not_finite(&self) -> usize {
        self.edges.iter().filter(|edge| !edge.value.is_finite()).count()
    }

    /// Number of edges that are zero.
    pub fn zero(&self) -> usize {
        self.edges.iter().filter(|edge| edge.value == 0.0).count()
    }
}

fn entry(layer: Layer, (position, component): (usize, usize)) -> Entry {
    Entry { layer, position: position as u32, component: component as u32 }
}

fn entries(layer: Layer, nodes: &LayerNodes<f32>) -> impl Iterator<Item = Entry> + '_ {
    nodes.alive.iter().map(move |at| entry(layer, at))
}

fn node(entry: Entry, set: &SetAttributions<f32>, nodes: &LayerNodes<f32>, row: usize) -> Node {
    let importance = nodes.importance.get(row).copied();
    let target = set.prediction.as_ref().and_then(|prediction| prediction.target_prob.get(row).copied());
    let (ci, probability, target_probability) = match entry.layer.role() {
        Role::Embedding => (None, None, None),
        Role::Output => (None, importance, target),
        _ => (importance, None, None),
    };
    let activation = nodes.activation.get(row).copied();
    Node { entry, ci, probability, target_probability, activation, importance: 0.0 }
}
