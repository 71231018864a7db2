//! Benchmarks: `cargo xtask bench`.
//!
//! - [`stages`]: the main job on each CPU backend, stage by stage, against its own forward pass and against writing bytes;
//! - [`peer`]: the command beside the same computation in PyTorch;
//! - [`growth`]: how time grows with sets, positions and alive components, on generated runs;
//! - [`large`]: one run of some 10^9 edges within a bound on memory;
//! - [`published`]: a run of the published sizes, from its files to its graphs;
//! - [`optimize`]: CI sets made together and one by one, and beside PyTorch;
//! - [`target`]: attributions at the target model's activations, by the number of sets, and beside PyTorch.
//!
//! Every ratio is between two things measured in the same run, taking turns.

#![allow(clippy::print_stderr, clippy::print_stdout, reason = "it talks to a terminal")]

mod definition;
mod floor;
mod generated;
mod growth;
mod large;
mod median;
mod optimize;
mod peer;
mod process;
mod published;
mod stages;
mod target;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// As in the command: what is measured here runs as it does there.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How long tributary takes, and compared to what.
#[derive(Debug, Parser)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Stage by stage on each CPU backend
    Stages(stages::StagesArgs),
    /// Beside the same computation in PyTorch
    Peer(peer::PeerArgs),
    /// How time grows with sets, positions and alive components
    Growth(growth::GrowthArgs),
    /// A generated run of some 10^9 edges, and the memory it takes
    Large(large::LargeArgs),
    /// A generated run of the published sizes, as a whole process
    Published(published::PublishedArgs),
    /// Making CI sets, together and beside PyTorch
    Optimize(optimize::OptimizeArgs),
    /// At the target model's activations, by the number of sets and beside PyTorch
    Target(target::TargetArgs),
}

fn main() -> ExitCode {
    let command = Args::parse().command;
    let outcome = match &command {
        Command::Stages(args) => on_threads(args.threads, || stages::run(args)),
        Command::Peer(args) => peer::run(args),
        Command::Growth(args) => on_threads(args.threads, || growth::run(args)),
        Command::Large(args) => large::run(args),
        Command::Published(args) => published::run(args),
        Command::Optimize(args) => on_threads(args.threads, || optimize::run(args)),
        Command::Target(args) => on_threads(args.threads, || target::run(args)),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Why a benchmark could not be run; shown as it is.
type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Runs `f` where the command runs: on one of so many threads of rayon's pool.
fn on_threads(threads: usize, f: impl FnOnce() -> Result<(), Failure> + Send) -> Result<(), Failure> {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build_global()?;
    rayon::scope(|_| f())
}
