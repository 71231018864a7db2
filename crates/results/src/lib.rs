//! Writes and reads result folders: `manifest.json` and one safetensors file per CI set.
//!
//! The format is described in `docs/results.md` of the repository. A folder appears whole or not at all: a
//! [`ResultWriter`] collects everything in a hidden folder inside it and moves it into place at the end, the manifest
//! last. So a folder with a manifest is complete, and [`ResultFolder`] trusts nothing else about it.

mod error;
mod faithfulness;
mod file_name;
mod layer_names;
mod manifest;
mod manifest_file;
mod model_info;
mod output_file;
mod reader;
mod sha256;
mod staging;
mod tensors;
mod writer;

pub use error::ResultError;
pub use manifest::{
    BorderlineEntry, FORMAT, FORMAT_VERSION, Inputs, Kind, LayerCounts, MANIFEST_FILE, Manifest, PairCounts, PairEntry,
    PromptEntry, RunInfo, SetEntry, Settings, Stages, Timings, TokenEntry,
};
pub use model_info::ModelInfo;
pub use output_file::{ClosedFile, OutputFile};
pub use reader::ResultFolder;
pub use writer::{ResultWriter, set_file_size};
