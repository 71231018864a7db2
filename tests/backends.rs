//! Suites that put every backend to the engine. They are one executable, since most of what they take is the building of the
//! engine for every backend and element type.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod equivalence;
mod golden;
mod golden_evaluate;
mod golden_optimize;
mod golden_target;
