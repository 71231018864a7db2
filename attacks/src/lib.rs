//! Hostile inputs, each with a name, the command that it is given to, and what has to come of it.
//!
//! The test suite of the command, `cli/tests/cli/attacks.rs`, runs them.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::missing_panics_doc, reason = "a test fails by panicking")]

mod archive;
mod attack;
mod checkpoint;
mod ci_sets;
mod config;
mod manifest;
mod outputs;
mod paths;
mod pickle;
mod prompt;
mod safe_file;
mod scene;
mod set_file;
mod terminal;
mod tokenizer;

pub use attack::{Attack, Expect};
pub use scene::Scene;

/// All attacks by kind.
pub fn kinds() -> Vec<(&'static str, Vec<Attack>)> {
    vec![
        ("ci_sets", ci_sets::attacks()),
        ("checkpoint", checkpoint::attacks()),
        ("config", config::attacks()),
        ("tokenizer", tokenizer::attacks()),
        ("prompt", prompt::attacks()),
        ("manifest", manifest::attacks()),
        ("set_file", set_file::attacks()),
        ("paths", paths::attacks()),
        ("outputs", outputs::attacks()),
        ("terminal", terminal::attacks()),
    ]
}

/// The attacks of a kind.
///
/// # Panics
///
/// When there is no such kind.
pub fn of_kind(kind: &str) -> Vec<Attack> {
    kinds().into_iter().find(|(name, _)| *name == kind).unwrap().1
}
