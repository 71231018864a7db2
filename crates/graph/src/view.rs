//! How attributions are looked at: with which sign, and relative to what.

use tributary_model::SetAttributions;

use crate::graph::{Edge, Graph, Node};

/// How the attributions of a graph are looked at. They stay what they are in a result: this is a choice of who shows them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// What their signs say.
    pub sign: Sign,
    /// What they are relative to.
    pub normalise: Normalise,
}

/// What the sign of an attribution says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sign {
    /// Whether the source raises or lowers the activation of the target: as it is computed.
    #[default]
    Source,
    /// Whether the source drives the target harder or less hard: the attribution to `|activation|`, that is `sign(activation)`
    /// times the attribution. Which of the two signs a component's activation has is arbitrary, and no matter here.
    Target,
}

/// What an attribution is divided by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Normalise {
    /// Nothing.
    #[default]
    None,
    /// The L2 norm over the edges to the same target node.
    Target,
    /// The L2 norm over the edges to the same target layer.
    Layer,
}

impl Sign {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Target => "target",
        }
    }
}

impl Normalise {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Target => "target",
            Self::Layer => "layer",
        }
    }
}

impl View {
    /// What it does to attributions, in words; `None` where it leaves them as they are.
    pub fn described(self) -> Option<String> {
        let sign = match self.sign {
            Sign::Source => "",
            Sign::Target => "signs: whether the source drives the target harder (+) or less hard (−)",
        };
        let norm = match self.normalise {
            Normalise::None => "",
            Normalise::Target => "divided by the L2 norm over the edges to the same node",
            Normalise::Layer => "divided by the L2 norm over the edges to the same layer",
        };
        let both = if sign.is_empty() || norm.is_empty() { "" } else { "; " };
        (self != Self::default()).then(|| format!("{sign}{both}{norm}"))
    }

    /// The graph of a set as this view shows it. Attributions that are not finite stay, and have no part in any norm; a norm of
    /// 0 divides nothing.
    ///
    /// # Panics
    ///
    /// As [`Graph::new`].
    pub fn of(self, set: &SetAttributions<f32>) -> Graph {
        let mut graph = Graph::new(set);
        if self != Self::default() {
            self.apply(&graph.nodes, &mut graph.edges);
            graph.weigh();
        }
        graph
    }

    fn apply(self, nodes: &[Node], edges: &mut [Edge]) {
        if self.sign == Sign::Target {
            for edge in edges.iter_mut() {
                // An output has its logit; `wte` is no target. The gradient of |x| at 0 is 0, as published.
                let activation = nodes[edge.target as usize].activation.unwrap_or(1.0);
                edge.value *= if activation == 0.0 { 0.0 } else { activation.signum() };
            }
        }
        match self.normalise {
            Normalise::None => {}
            Normalise::Target => normalise(edges, nodes.len(), |target| target),
            Normalise::Layer => {
                // Nodes ascend by layer.
                let first = |target: usize| nodes.partition_point(|node| node.entry.layer < nodes[target].entry.layer);
                let firsts: Vec<usize> = (0..nodes.len()).map(first).collect();
                normalise(edges, nodes.len(), |target| firsts[target]);
            }
        }
    }
}

/// Divides every edge by the L2 norm of those whose targets are of the same of so many groups.
fn normalise(edges: &mut [Edge], groups: usize, group: impl Fn(usize) -> usize) {
    let mut squares = vec![0.0; groups];
    for edge in edges.iter().filter(|edge| edge.value.is_finite()) {
        squares[group(edge.target as usize)] += f64::from(edge.value).powi(2);
    }
    for edge in edges {
        let norm = squares[group(edge.target as usize)].sqrt();
        if norm > 0.0 {
            edge.value = (f64::from(edge.value) / norm) as f32;
        }
    }
}
