//! Everything that fuzzing starts from and has found: nothing of it may do more than be refused. See `fuzz/README.md`.

#![allow(clippy::missing_panics_doc, reason = "a test fails by panicking")]

#[path = "../../../fuzz/src/inputs.rs"]
pub mod inputs;
#[path = "../../../fuzz/src/message.rs"]
pub mod message;
#[path = "../../../fuzz/src/small.rs"]
pub mod small;
#[path = "../../../fuzz/src/target.rs"]
pub mod target;

use target::check_all;

#[test]
fn ci_set_files() {
    check_all::<inputs::CiJson>("ci_json");
}

#[test]
fn checkpoints() {
    check_all::<inputs::Checkpoint>("checkpoint");
}

#[test]
fn configs() {
    check_all::<inputs::Config>("config");
}

#[test]
fn tokenizers() {
    check_all::<inputs::Tokenizer>("tokenizer");
}

#[test]
fn prompts() {
    check_all::<inputs::PromptText>("prompt");
}
