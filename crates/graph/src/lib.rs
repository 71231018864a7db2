//! One set's attribution graph as a list of nodes and a list of edges: what is plotted, compared and exported.
//!
//! [`Graph::new`] takes what a result file holds. [`Selection`] says which edges are shown and what is left out;
//! [`Influence`] which nodes and edges carry the output.
//!
//! ```
//! use std::path::Path;
//!
//! use tributary_graph::{Graph, Limits, Selection};
//! use tributary_results::ResultFolder;
//!
//! let result = ResultFolder::open(Path::new("../../tests/results/walked"))?;
//! let graph = Graph::new(&result.read_set("seed_0")?);
//!
//! let strongest = Selection::new(&graph, Limits { top_edges: Some(3), ..Limits::default() });
//! for edge in strongest.edges.iter().map(|&index| graph.edges[index as usize]) {
//!     let [source, target] = [edge.source, edge.target].map(|node| graph.nodes[node as usize].entry);
//!     println!("{:+.3}: {source:?} -> {target:?}", edge.value);
//! }
//! assert_eq!((strongest.edges.len(), strongest.left_out), (3, graph.edges.len() - graph.zero() - 3));
//! # Ok::<(), tributary_results::ResultError>(())
//! ```

mod graph;
mod influence;
mod layer_row;
mod selection;
mod view;

pub use graph::{Edge, Entry, Ghost, Graph, Node};
pub use influence::{Influence, Pruned};
pub use layer_row::layer_rows;
pub use selection::{Limits, Selection};
pub use view::{Normalise, Sign, View};
