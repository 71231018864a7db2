//! Reads trained SPD runs and CI-set files.
//!
//! How data flows:
//!
//! ```text
//! final_config.yaml ─ config ──┐
//! model_config.yaml ─ classes ─┼─ assemble ─ Weights ──┐
//! model_STEP.pth ─ checkpoint ─┘                       ├─ TrainedRun ─ prompt ──┐
//! tokenizer.json ─ tokenizer ──────────────────────────┘                        ├─ CiSetFile
//! CI-set file ─ ci_json ────────────────────────────────────────────────────────┘
//! ```
//!
//! A neutral run has `run.yaml` in place of both configs, which `neutral` reads, and its tensors under names of their own.
//!
//! [`TrainedRun::load`] turns a run's folder into the engine's [`Weights`](tributary_model::Weights) and a
//! [`Tokenizer`]; [`TrainedRun::ci_sets`] turns a CI-set file into the engine's [`CiSet`](tributary_model::CiSet)s,
//! checked against the run. Files are not trusted: what does not fit is an [`InputError`] that says where and why, and
//! nothing in a checkpoint goes unused or is made up. What is taken but is worth knowing is in the `notes` of both.
//!
//! ```
//! use std::path::Path;
//!
//! use tributary_inputs::{RunOptions, TrainedRun};
//!
//! let run = TrainedRun::load(Path::new("../../data/gpt2s-2L"), &RunOptions::default())?;
//! let file = run.ci_sets(Path::new("../../data/walked.ci_sets.json"), &[])?;
//! for set in &file.sets {
//!     println!("{}: {} layers on {:?}", set.name, set.layers.len(), set.prompt.token_strings);
//! }
//! assert_eq!(run.prompt("They walked hand in")?, file.sets[0].prompt);
//! # Ok::<(), tributary_inputs::InputError>(())
//! ```

mod assemble;
mod checkpoint;
mod ci_arrays;
mod ci_config;
mod ci_function;
mod ci_json;
mod ci_range;
mod ci_sets;
mod ci_text;
mod ci_write;
mod classes;
mod config;
mod error;
mod fingerprint;
mod guard;
mod lenient;
mod metadata;
mod neutral;
mod open;
mod plain_row;
mod reference;
mod rotary_tables;
mod run;
mod sniff;
mod stretch;
mod target;
mod target_weights;
#[cfg(feature = "test-support")]
pub mod test_support;
mod text;
mod token_ids;
mod token_name;
mod tokenizer;
mod yaml;
mod zstd;

pub use ci_sets::{CiSetFile, CiSetFormat};
pub use ci_write::{SetToWrite, write_ci_sets};
pub use error::InputError;
pub use fingerprint::Fingerprint;
pub use reference::run_folder;
pub use run::{RunFiles, RunOptions, TrainedRun};
pub use token_ids::parse_token_ids;
pub use token_name::TokenName;
pub use tokenizer::Tokenizer;
