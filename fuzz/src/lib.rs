//! What fuzzing does with an input, apart from libFuzzer: [`inputs`] and [`results`] are part of the ordinary tests too.

mod bounded;
mod engine;
pub mod inputs;
pub mod message;
pub mod results;
pub mod small;
pub mod target;

pub use engine::{run_one, start};

/// The program that fuzzes one target: `fuzz_program!(path::to::Target)`.
#[macro_export]
macro_rules! fuzz_program {
    ($target:ty) => {
        libfuzzer_sys::fuzz_target!(init: $crate::start(), |input: &[u8]| {
            static TARGET: std::sync::OnceLock<$target> = std::sync::OnceLock::new();
            $crate::run_one(&TARGET, input);
        });
    };
}
