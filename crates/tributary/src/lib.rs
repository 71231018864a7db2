//! Local attribution graphs of SPD-decomposed language models, for many CI sets at once.
//!
//! [`attribute`] is the main job in one call: a trained run and CI sets in, a folder of graphs out.
//!
//! ```
//! use tributary::{Folder, Input, Settings, attribute};
//! use tributary_flex::Flex;
//!
//! # let repository = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
//! # std::env::set_current_dir(repository)?;
//! # let folder = tempfile::tempdir()?;
//! # let out = folder.path().join("out");
//! let input = Input::ci_sets("data/walked.ci_sets.json");
//! let settings = Settings::new("data/gpt2s-2L", input);
//! let manifest = attribute::<Flex>(&settings, Folder::new(&out), &mut |_| {})?;
//!
//! let result = tributary::open(&out)?;
//! for set in &manifest.sets {
//!     let graph = result.read_set(&set.name)?;
//!     println!("{}: {} nodes, {} edges", set.name, graph.node_count(), graph.edge_count());
//! }
//! # assert_eq!(manifest.sets.len(), 3);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`Settings`] is everything that is asked for, as one value. What computes is a [backend](backend::Provider), or a tuple of
//! several to choose from at run time. [`outline()`] says beforehand what a run will compute and take. A [`Session`] is for
//! programs that open their backend themselves or take the graphs elsewhere than into files; the examples of this package
//! show one (`own_sink`, `own_backend`).
//!
//! The libraries underneath are here by their own names: [`model`], the vocabulary,
//! [`backend`], [`engine`], [`inputs`], [`optimization`], [`results`].

mod choice;
mod compute;
mod description;
mod effects;
mod error;
mod evaluate;
mod memory;
mod optimize;
mod outline;
mod output_targets;
mod progress;
mod result_inputs;
mod result_run;
mod sample;
mod selection;
mod session;
mod sets;
mod settings;
mod until;
mod verify;

pub use tributary_backend as backend;
pub use tributary_engine as engine;
pub use tributary_inputs as inputs;
pub use tributary_model as model;
pub use tributary_optimize as optimization;
pub use tributary_results as results;

pub use tributary_model::Remedy;

pub use choice::{Candidate, Chosen, PREFERENCE, choose, choose_entry, first_usable};
pub use compute::{attribute, check_folder, on_backend, outline, write};
pub use description::{BackendDescription, DeviceDescription};
pub use effects::{Agreement, Correlation, EdgeEffect, Effects, PairAgreement, SetEffects, TargetParts, effects};
pub use error::{Error, Unusable};
pub use evaluate::{
    EvaluatedSelection, EvaluatedSet, Evaluation, LADDER, NodePattern, Selections, Subjects, TopInfluence, evaluate,
};
pub use optimize::{
    CiDestination, Optimization, Optimized, OptimizedSet, PendingCiSets, RecordedCurve, make_ci_sets, optimize,
};
pub use outline::{Outline, SetOutline};
pub use output_targets::OutputTargets;
pub use progress::{BatchStep, OnProgress, Progress, SetStep};
pub use result_run::ResultRun;
pub use sample::SampledEdge;
pub use selection::{select_sets, set_names};
pub use session::Session;
pub use settings::{Compute, Files, Folder, Input, Run, Settings};
pub use until::Until;
pub use verify::{Comparison, Difference, OtherNode, PairDifference, Verification, Verify, verify};

/// Version of tributary.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Opens a folder of results.
pub fn open(folder: impl AsRef<std::path::Path>) -> Result<results::ResultFolder, Error> {
    Ok(results::ResultFolder::open(folder.as_ref())?)
}
