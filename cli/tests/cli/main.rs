//! The `tributary` command, run as a user runs it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod at_once;
mod at_target;
mod attacks;
mod attribute;
mod compare;
mod effects;
mod errors;
mod evaluate;
mod evaluated;
mod export;
mod faults;
mod from_prompt;
mod interrupted;
mod limits;
mod memory;
mod neutral;
mod optimize;
mod outside;
mod plot;
mod plugins;
mod prediction;
mod report;
mod tokens;
mod verify;
mod workshop;
mod writers;
