//! The side of libFuzzer.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;

use crate::target::{Target, repository};

thread_local! {
    /// What the last panic said.
    static LAST: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Replaces libFuzzer's panic hook, which ends the program at every panic: the readers catch those of third-party parsers and
/// make errors of them, which is no finding.
pub fn start() {
    std::panic::set_hook(Box::new(|panic| {
        let text = panic.to_string();
        // After these the program ends at once.
        if ["unsafe precondition", "cannot unwind"].iter().any(|words| text.contains(words)) {
            eprintln!("{text}");
        }
        LAST.set(text);
    }));
}

/// Runs a target on an input and ends the program if it panics, which libFuzzer notices.
pub fn run_one<T: Target>(target: &OnceLock<T>, input: &[u8]) {
    let run = || target.get_or_init(|| T::new(&repository())).run(input);
    if catch_unwind(AssertUnwindSafe(run)).is_err() {
        eprintln!("{}", LAST.take());
        std::process::abort();
    }
}
