//! Attribution graphs for other tools: Parquet tables, GraphML, JSON, and the files of circuit-tracer's viewer and of
//! the published app of param-decomp.
//!
//! [`export`] reads one set of a result folder after the other and writes its graph in one [`Format`]. The files appear
//! together once the last one is written. `docs/export.md` of the repository describes every column and field; the JSON
//! formats have a JSON Schema, [`GRAPH_SCHEMA`], [`CIRCUIT_TRACER_SCHEMA`] and [`PARAM_DECOMP_SCHEMA`].
//!
//! ```
//! use std::path::Path;
//!
//! use tributary_export::{Format, export};
//! use tributary_graph::View;
//! use tributary_results::ResultFolder;
//!
//! let result = ResultFolder::open(Path::new("../../tests/results/walked"))?;
//! let out = tempfile::tempdir()?;
//! let sets: Vec<_> = result.manifest().sets.iter().collect();
//! let exported = export(&result, &sets, out.path(), false, &Format::GraphMl, View::default())?;
//! for set in &exported.sets {
//!     println!("{}: {} edges in {:?}", set.set, set.edges, set.files);
//!     assert!(set.files.iter().all(|file| file.exists()));
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod circuit_tracer;
mod computation;
mod error;
mod export;
mod format;
mod graph_json;
mod graphml;
mod param_decomp;
mod parquet_tables;
mod set;
mod summary;
mod viewer_text;
mod xml;

pub use circuit_tracer::{CIRCUIT_TRACER_SCHEMA, METADATA_FILE};
pub use error::ExportError;
pub use export::export;
pub use format::{Format, OutputPosition, Pruning};
pub use graph_json::{GRAPH_FORMAT, GRAPH_FORMAT_VERSION, GRAPH_SCHEMA};
pub use param_decomp::PARAM_DECOMP_SCHEMA;
pub use summary::{APP_EDGES, Exported, ExportedSet, LeftOut, MANY_LINKS, Warning};
