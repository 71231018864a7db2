//! Writes and reads result folders: `manifest.json` and one safetensors file per CI set.
//!
//! The format is described in `docs/results.md` of the repository. A folder appears whole or not at all: a
//! [`ResultWriter`] writes in a [transaction](tributary_files::Transaction), whose files come into place at the end, the
//! manifest last. So a folder with a manifest is complete, and [`ResultFolder`] trusts nothing else about it.
//!
//! ```
//! use std::path::Path;
//!
//! use tributary_results::ResultFolder;
//!
//! let result = ResultFolder::open(Path::new("../../tests/results/walked"))?;
//! for entry in &result.manifest().sets {
//!     let set = result.read_set(&entry.name)?;
//!     println!("{}: {} nodes, {} edges", set.name, set.node_count(), set.edge_count());
//!     assert_eq!(set.edge_count(), entry.edges);
//! }
//! # Ok::<(), tributary_results::ResultError>(())
//! ```

mod counts;
mod delta_distance;
mod error;
mod evaluation;
mod faithfulness;
mod file_name;
mod layer_names;
mod manifest;
mod manifest_file;
mod model_info;
mod output_name;
mod output_targets;
mod pending;
mod reader;
mod recorded;
mod set_file;
mod tensors;
mod writer;

pub use error::ResultError;
pub use evaluation::{Measured, Outcome, Regime, SelectionEvaluation, SetEvaluation, SpeltToken};
pub use manifest::{
    BorderlineEntry, Delta, FORMAT, FORMAT_VERSION, Forward, Inputs, Kind, LayerCounts, MANIFEST_FILE, Manifest,
    PairCounts, PairEntry, PromptEntry, RunInfo, SetEntry, Settings, Stages, Timings, TokenEntry,
};
pub use model_info::ModelInfo;
pub use output_name::OutputName;
pub use output_targets::{At, OutputContrast, OutputTargets, OutputToken};
pub use pending::PendingResults;
pub use reader::ResultFolder;
pub use writer::{ResultWriter, set_file_size};
