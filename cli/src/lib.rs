//! The command line of tributary, as a library that takes its list of backends.
//!
//! [`main`] parses the arguments ([`args`](Args)), and hands over to one module per command: `attribute`, `optimize`, `evaluate`, `verify`,
//! `inspect`, `plot`, `report`, `compare`, `export`, `schema`, `list_backends`. What computes is chosen in `backends`: a
//! backend of this executable, or a `plugin`, which takes over the whole command. Results go to stdout, progress and errors
//! to stderr.

mod args;
mod attribute;
mod backends;
mod built_in;
mod compare;
mod console;
mod curves;
mod error;
mod evaluate;
mod export;
mod inspect;
mod list_backends;
mod optimize;
mod own_folder;
mod plot;
mod plugin;
mod progress;
mod report;
mod schema;
mod selected_sets;
mod summary;
mod threads;
mod verify;
mod visible;

use std::process::ExitCode;

use clap::Parser;
use tributary::backend::{Provider, Providers};
use tributary_files::{interrupted, undo_when_interrupted};

pub use args::Args;
pub use built_in::BuiltIn;
pub use error::CliError;

use args::{AttributeArgs, Command, EvaluateArgs, OptimizeArgs, VerifyArgs};
use backends::{Backends, Chosen};

/// Runs the command that the process was started with, on the backends of `L` or on those of plugins. Exit status 0 on
/// success, 2 on wrong usage, 1 on any other failure.
///
/// To be called from `main`, before the program starts a thread: `--threads` goes to one of the libraries through the
/// environment, which must not be read at the same time.
pub fn main<L: Providers>() -> ExitCode {
    start::<L>(&Backends::stock(L::list()))
}

/// The same, with the same condition, for the executable of one backend, `tributary-backend-NAME`: all that its `main`
/// has to call.
pub fn plugin_main<P: Provider>() -> ExitCode {
    start::<P>(&Backends::plugin(P::list()))
}

fn start<L: Providers>(backends: &Backends) -> ExitCode {
    let args = Args::parse();
    let json = args.command.json();
    match enough_addresses().and_then(|()| run::<L>(&args.command, backends)) {
        Ok(status) => status,
        // Who asked for the end knows why it fails, and the thread that waits for signals ends the process.
        Err(_) if interrupted() => loop {
            std::thread::park();
        },
        Err(error) => {
            let error = error.with_flag();
            console::say(&format!("error: {error}"));
            if json {
                // The line is a courtesy to whoever reads stdout; the status tells them all the same.
                let _ = console::print_json(&format!("{}\n", serde_json::json!({ "error": error })));
            }
            ExitCode::FAILURE
        }
    }
}

/// Fails where a process may have so few addresses that even the text of an error could not be had.
fn enough_addresses() -> Result<(), CliError> {
    /// What starting, threads and buffers take, and a bit more: under less the allocator was seen to end the process.
    const LEAST: u64 = 80_000_000;
    match tributary_files::memory::address_limit() {
        Some(limit) if limit < LEAST => Err(CliError::Addresses { limit, least: LEAST }),
        _ => Ok(()),
    }
}

fn run<L: Providers>(command: &Command, backends: &Backends) -> Result<ExitCode, CliError> {
    // Threads are set before anything else, such as waiting for signals or looking for devices, may start one.
    match command {
        Command::Attribute(AttributeArgs { compute, .. })
        | Command::Optimize(OptimizeArgs { compute, .. })
        | Command::Evaluate(EvaluateArgs { compute, .. })
        | Command::Verify(VerifyArgs { compute, .. }) => threads::set(compute.threads)?,
        Command::Plot(_) | Command::Compare(_) => threads::set(None)?,
        Command::Inspect(_)
        | Command::Report(_)
        | Command::Export(_)
        | Command::Schema(_)
        | Command::Backends(_)
        | Command::DescribeBackend => {}
    }
    undo_when_interrupted();
    match command {
        Command::Attribute(args) => match backends.choose(&args.compute.wanted(args.dtype), args.output.quiet)? {
            Chosen::Own(compute) => return attribute::run::<L>(args, compute),
            Chosen::Plugin(plugin) => return plugin.take_over(),
        },
        Command::Optimize(args) => match backends.choose(&args.compute.wanted(args.dtype), args.output.quiet)? {
            Chosen::Own(compute) => return optimize::run::<L>(args, compute),
            Chosen::Plugin(plugin) => return plugin.take_over(),
        },
        Command::Evaluate(args) => match backends.choose(&args.compute.wanted(args.dtype), args.output.quiet)? {
            Chosen::Own(compute) => return evaluate::run::<L>(args, compute),
            Chosen::Plugin(plugin) => return plugin.take_over(),
        },
        Command::Verify(args) => match backends.choose(&verify::wanted(args, backends.is_plugin()), args.quiet)? {
            Chosen::Own(compute) => return verify::run::<L>(args, compute),
            Chosen::Plugin(plugin) => return plugin.take_over(),
        },
        Command::Inspect(args) => inspect::run(args)?,
        Command::Report(args) => report::run(args)?,
        Command::Export(args) => export::run(args)?,
        Command::Schema(args) => schema::run(args)?,
        Command::Compare(args) => compare::run(args)?,
        Command::Plot(args) => plot::run(args)?,
        Command::Backends(args) => list_backends::run(args, backends)?,
        Command::DescribeBackend => list_backends::describe(backends)?,
    }
    Ok(ExitCode::SUCCESS)
}
