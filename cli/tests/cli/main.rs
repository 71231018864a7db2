//! The `tributary` command, run as a user runs it.

mod attribute;
mod errors;
mod workshop;
