//! What is exported to.

use tributary_graph::{Sign, View};

use crate::ExportError;

/// A format of exported graphs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Format {
    /// Two tables a set, `STEM.edges.parquet` and `STEM.nodes.parquet`.
    Parquet,
    /// `STEM.graphml`, for Gephi, NetworkX and others.
    GraphMl,
    /// `STEM.json` after [`GRAPH_SCHEMA`](crate::GRAPH_SCHEMA).
    Json,
    /// `SLUG.json` and `graph-metadata.json` for circuit-tracer's viewer, pruned or not.
    CircuitTracer(Option<Pruning>),
    /// `STEM.json` as the published app of param-decomp has graphs, and `STEM.ci.json`, the causal importances as a file of CI
    /// sets.
    ParamDecomp,
}

/// The output that a pruned graph carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputPosition {
    /// At every position.
    All,
    /// At the last position: the prediction after the prompt, which circuit-tracer's own graphs are of.
    Last,
    /// At this position, from 0.
    At(u32),
}

impl OutputPosition {
    /// The position in a prompt of `positions` tokens; `None` for all.
    pub(crate) fn of_prompt(self, positions: usize) -> Option<u32> {
        match self {
            Self::All => None,
            Self::Last => Some(u32::try_from(positions).unwrap_or(u32::MAX).saturating_sub(1)),
            Self::At(position) => Some(position),
        }
    }
}

/// How much of the output the graphs for circuit-tracer's viewer carry; see [`tributary_graph::Pruned`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pruning {
    /// Which output is asked about.
    pub output: OutputPosition,
    /// The share of the nodes' influence that is kept, from 0 to 1.
    pub node_threshold: f64,
    /// The share of the edges' influence that is kept, from 0 to 1.
    pub edge_threshold: f64,
}

impl Default for Pruning {
    /// The shares of circuit-tracer, and the output at every position.
    fn default() -> Self {
        Self { output: OutputPosition::All, node_threshold: 0.8, edge_threshold: 0.98 }
    }
}

impl Format {
    /// Bytes of memory that an edge of the set takes that is written at a time.
    pub(crate) fn of_edge(&self) -> u64 {
        match self {
            Self::CircuitTracer(Some(_)) => 60,
            // A second graph, of other signs.
            Self::ParamDecomp => 44,
            _ => 32,
        }
    }

    /// Whether its options make sense, and can be had with this view.
    pub(crate) fn check(&self, view: View) -> Result<(), ExportError> {
        if *self == Self::ParamDecomp && view.sign != Sign::default() {
            return Err(ExportError::BothSigns);
        }
        let Self::CircuitTracer(Some(Pruning { node_threshold, edge_threshold, .. })) = *self else { return Ok(()) };
        for (threshold, found) in [("the node threshold", node_threshold), ("the edge threshold", edge_threshold)] {
            if !(0.0..=1.0).contains(&found) {
                return Err(ExportError::Threshold { threshold, found });
            }
        }
        Ok(())
    }

    /// Whether a set's prompt, of `positions` tokens, has the output that is asked about.
    pub(crate) fn check_position(&self, set: &str, positions: usize) -> Result<(), ExportError> {
        match *self {
            Self::CircuitTracer(Some(Pruning { output: OutputPosition::At(position), .. }))
                if position as usize >= positions =>
            {
                Err(ExportError::Position { set: set.to_owned(), position, positions })
            }
            _ => Ok(()),
        }
    }
}
