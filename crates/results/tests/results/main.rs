//! Result folders: what is written is read back, damage is named, and a failure leaves nothing.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod damage;
mod folder;
mod reader_script;
mod round_trip;
mod version_1;
