//! Tests that cannot run on this machine.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::sync::{Mutex, PoisonError};

/// Says on stderr, past the test harness, that `what` was not tested, and why: one line, once in a process.
///
/// For what a machine may lack and no flag asks for. `cargo xtask test` repeats these lines at its end. A check that
/// needs a GPU is `#[ignore = "needs a GPU"]` instead, so that it does not count as passed.
pub fn skip(what: &str, reason: impl std::fmt::Display) {
    static SAID: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    // One line, whatever the reason is made of: what collects these lines takes them one by one.
    let reason = reason.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
    let line = format!("SKIPPED: {what}: {reason}\n");
    let mut said = SAID.lock().unwrap_or_else(PoisonError::into_inner);
    if said.insert(line.clone()) {
        // Not `eprintln!`, which the harness keeps to itself when a test passes. Nobody reading it is no reason to fail.
        let _ = std::io::stderr().write_all(line.as_bytes());
    }
}

/// Whether this is a machine that tests changes, where `CI` is set: there, everything that can be had is had, and what
/// cannot be installed is a failure.
pub fn in_ci() -> bool {
    std::env::var_os("CI").is_some_and(|value| !value.is_empty() && value != "false" && value != "0")
}
