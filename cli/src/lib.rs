//! The command line of tributary, as a library that takes its list of backends.
//!
//! [`main`] parses the arguments ([`args`](Args)), and hands over to one module per command: `attribute`, `inspect`,
//! `list_backends`. Results go to stdout, progress and errors to stderr.

mod args;
mod attribute;
mod backend_entry;
mod built_in;
mod console;
mod error;
mod inspect;
mod list_backends;
mod progress;
mod summary;
mod threads;

use std::process::ExitCode;

use clap::Parser;

pub use args::Args;
pub use backend_entry::{BackendEntry, Provider};
pub use built_in::built_in_backends;
pub use error::CliError;

use args::Command;

/// Runs the command that the process was started with. Exit status 0 on success, 2 on wrong usage, 1 on any other
/// failure.
pub fn main(backends: &[BackendEntry]) -> ExitCode {
    let args = Args::parse();
    let json = args.command.json();
    let outcome = match &args.command {
        Command::Attribute(args) => attribute::run(args, backends),
        Command::Inspect(args) => inspect::run(args),
        Command::Backends(args) => list_backends::run(args, backends),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            console::say(&format!("error: {error}"));
            if json {
                // The line is a courtesy to whoever reads stdout; the status tells them all the same.
                let _ = console::print(&format!("{}\n", serde_json::json!({ "error": error.to_string() })));
            }
            ExitCode::FAILURE
        }
    }
}
