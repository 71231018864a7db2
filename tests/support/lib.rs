//! Support code of the workspace-level test suites.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

pub mod backends;
pub mod close;
pub mod direct;
pub mod discard;
pub mod distance;
pub mod golden;
pub mod naive;
pub mod noisy;
pub mod random_case;
pub mod rounding;
