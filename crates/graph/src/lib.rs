//! One set's attribution graph as a list of nodes and a list of edges: what is plotted, compared and exported.
//!
//! [`Graph::new`] takes what a result file holds. [`Selection`] says which edges are shown and what is left out;
//! [`Influence`] which nodes and edges carry the output.

mod graph;
mod influence;
mod layer_row;
mod selection;

pub use graph::{Edge, Entry, Ghost, Graph, Node};
pub use influence::{Influence, Pruned};
pub use layer_row::layer_rows;
pub use selection::{Limits, Selection};
