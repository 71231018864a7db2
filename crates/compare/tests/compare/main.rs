//! Comparisons held to a naive implementation, to small cases computed by hand, and to what a folder holds.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::float_cmp, reason = "what is exact by arithmetic is compared exactly")]

mod case;
mod folder;
mod hand;
mod naive;
mod opening;
mod properties;
mod schema;
mod sweep;
