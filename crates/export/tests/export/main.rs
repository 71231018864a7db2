//! Exported files say what the graphs say, to independent readers too; and nothing is left of an export that fails.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod circuit_tracer;
mod documentation;
mod folder;
mod graph_json;
mod graphml;
mod param_decomp;
mod parquet_tables;
mod python;
mod results;
mod round_trip;
mod views;
