//! What was written.

use std::fmt;
use std::path::PathBuf;

/// Number of links above which circuit-tracer's viewer becomes slow or fails.
pub const MANY_LINKS: usize = 20_000;

/// Number of edges that the published app showed at most.
pub const APP_EDGES: usize = 50_000;

/// What an export wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exported {
    /// The sets in the order they were asked for.
    pub sets: Vec<ExportedSet>,
    /// The list of all graphs in the folder; `None` but for circuit-tracer.
    pub metadata: Option<PathBuf>,
}

/// What an export wrote of one set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportedSet {
    /// Name of the set: any text.
    pub set: String,
    /// Its files.
    pub files: Vec<PathBuf>,
    /// Number of nodes written.
    pub nodes: usize,
    /// Number of ghosts written: none to GraphML, circuit-tracer and param-decomp.
    pub ghosts: usize,
    /// Number of edges written.
    pub edges: usize,
    /// What was not written; nothing but for circuit-tracer and param-decomp.
    pub left_out: LeftOut,
    /// Number of edges of the graph that are NaN or infinite, written or not.
    pub not_finite: usize,
    /// What the user should know.
    pub warnings: Vec<Warning>,
}

/// Nodes and edges that were not written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// Nodes that pruning dropped.
    pub pruned_nodes: usize,
    /// Edges that are finite and not zero, and that pruning dropped.
    pub pruned_edges: usize,
    /// Edges that are zero.
    pub zero_edges: usize,
    /// Edges that are NaN or infinite.
    pub not_finite_edges: usize,
}

/// Something about the files of a set that is no error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Warning {
    /// More than [`MANY_LINKS`] links for circuit-tracer's viewer.
    ManyLinks {
        /// How many.
        links: usize,
    },
    /// More than [`APP_EDGES`] edges for the published app.
    ManyEdges {
        /// How many.
        edges: usize,
    },
    /// The set has edges, but nothing reaches an output node, so pruning dropped them all.
    NothingCarried,
    /// circuit-tracer's viewer cannot lay out a prompt of one token.
    OneToken,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ManyLinks { links } => {
                write!(f, "{links} links, and circuit-tracer's viewer is slow or fails above {MANY_LINKS}: prune more")
            }
            Self::ManyEdges { edges } => {
                write!(f, "{edges} edges, of which the published app showed the {APP_EDGES} strongest at most")
            }
            Self::NothingCarried => f.write_str(
                "pruning dropped every edge, as no attribution reaches an output node: export without pruning",
            ),
            Self::OneToken => f.write_str("circuit-tracer's viewer cannot show a prompt of one token"),
        }
    }
}
