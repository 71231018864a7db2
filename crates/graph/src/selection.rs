//! Which edges are shown, and what is left out.

use crate::Graph;

/// What of a graph is to be shown.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Limits {
    /// Only edges of at least this absolute value.
    pub min_edge: Option<f32>,
    /// At most this many edges: the strongest.
    pub top_edges: Option<usize>,
}

/// The strongest edges of a graph within [`Limits`].
///
/// Edges that are zero or not finite are never selected: the former say that nothing flows, the latter cannot be ranked.
#[derive(Clone, Debug, PartialEq)]
pub struct Selection {
    /// Indices of the edges in [`Graph::edges`], the strongest first; equal ones in their order there.
    pub edges: Vec<u32>,
    /// Number of finite edges that are not zero and are left out.
    pub left_out: usize,
    /// The largest absolute value of those; 0 without any.
    pub largest_left_out: f32,
    /// Sum of the absolute values of those.
    pub magnitude_left_out: f64,
    /// Sum of the absolute values of all finite edges.
    pub magnitude: f64,
}

impl Selection {
    /// Selects the strongest edges of a graph.
    ///
    /// # Panics
    ///
    /// When the graph has more than `u32::MAX` edges.
    pub fn new(graph: &Graph, limits: Limits) -> Self {
        assert!(u32::try_from(graph.edges.len()).is_ok(), "fewer than 2^32 edges");
        let strength = |&edge: &u32| graph.edges[edge as usize].value.abs();
        let mut edges: Vec<u32> =
            (0..graph.edges.len() as u32).filter(|&edge| graph.edges[edge as usize].flows()).collect();
        let sum = |edges: &[u32]| edges.iter().map(|edge| f64::from(strength(edge))).sum::<f64>();
        let (all, magnitude) = (edges.len(), sum(&edges));
        let mut largest_left_out = 0.0_f32;
        if let Some(least) = limits.min_edge {
            let weaker = edges.iter().map(strength).filter(|&strength| strength < least);
            largest_left_out = weaker.fold(0.0, f32::max);
            edges.retain(|edge| strength(edge) >= least);
        }
        let strongest_first = |a: &u32, b: &u32| strength(b).total_cmp(&strength(a)).then(a.cmp(b));
        if let Some(top) = limits.top_edges.filter(|&top| top < edges.len()) {
            // Only the edges that stay are sorted: graphs have millions, figures hundreds.
            edges.select_nth_unstable_by(top, strongest_first);
            largest_left_out = strength(&edges[top]);
            edges.truncate(top);
        }
        edges.sort_unstable_by(strongest_first);
        let magnitude_left_out = if edges.len() == all { 0.0 } else { (magnitude - sum(&edges)).max(0.0) };
        Self { left_out: all - edges.len(), edges, largest_left_out, magnitude_left_out, magnitude }
    }
}
