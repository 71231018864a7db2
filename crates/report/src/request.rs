//! What is asked of a report, and what it holds.

use tributary_graph::View;

/// What a report shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Names of the sets to show, in this order; `None` for all of the result.
    pub sets: Option<Vec<String>>,
    /// The strongest edges of a set that are written, at most this many. The page says what was left out.
    pub max_edges_per_set: usize,
    /// How attributions are looked at. The strongest edges are those in this view, and the page says which it is.
    pub view: View,
}

impl Default for Options {
    /// All sets, 100,000 edges of each, as they were computed.
    fn default() -> Self {
        Self { sets: None, max_edges_per_set: 100_000, view: View::default() }
    }
}

/// What a report holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// The sets in the order they are shown.
    pub sets: Vec<SetSummary>,
    /// Size of the page.
    pub bytes: u64,
}

/// What a report holds of one set. `written + left_out + zero + not_finite` is `edges`.
#[derive(Clone, Debug, PartialEq)]
pub struct SetSummary {
    /// Its name.
    pub name: String,
    /// Number of its nodes, which are all written.
    pub nodes: usize,
    /// Number of its edges.
    pub edges: usize,
    /// Number of edges in the page.
    pub written: usize,
    /// Number of edges that are too weak to be among those.
    pub left_out: usize,
    /// The largest absolute value of an edge that is left out; 0 without any.
    pub largest_left_out: f32,
    /// Number of edges that are zero.
    pub zero: usize,
    /// Number of edges that are NaN or infinite.
    pub not_finite: usize,
}
