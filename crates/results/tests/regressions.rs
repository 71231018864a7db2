//! Everything that fuzzing starts from and has found: nothing of it may do more than be refused. See `fuzz/README.md`.

#![allow(clippy::missing_panics_doc, reason = "a test fails by panicking")]

#[path = "../../../fuzz/src/message.rs"]
pub mod message;
#[path = "../../../fuzz/src/results.rs"]
pub mod results;
#[path = "../../../fuzz/src/target.rs"]
pub mod target;

use target::check_all;

#[test]
fn manifests() {
    check_all::<results::Manifest>("manifest");
}

#[test]
fn set_files() {
    check_all::<results::SetFile>("set_file");
}
