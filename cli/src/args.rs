//! Commands and flags: those that compute are in `compute`, those that show, compare and share graphs in `graphs`.

mod compute;
mod evaluate;
mod graphs;
mod optimization;
mod optimize;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

pub(crate) use compute::{AttributeArgs, DeltaArg, ForwardArg, OutputArg, RunArgs, VerifyArgs, prompts};
pub(crate) use evaluate::EvaluateArgs;
pub(crate) use graphs::{
    CompareArgs, ExportArgs, ExportFormat, FigureFormat, PIXELS, PlotArgs, ReportArgs, SchemaArgs, SchemaFormat,
};
pub(crate) use optimize::OptimizeArgs;

/// Local attribution graphs of SPD-decomposed language models, for many CI sets at once.
#[derive(Clone, Debug, Parser)]
#[command(name = "tributary", version, about, propagate_version = true)]
pub struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Command {
    /// Compute one attribution graph per CI set and write them to a folder.
    Attribute(AttributeArgs),
    /// Make CI sets for prompts: optimise causal importances, and write them to a file.
    Optimize(OptimizeArgs),
    /// Put CI sets to the test: what the model predicts with nothing but their nodes, in several ways.
    Evaluate(EvaluateArgs),
    /// Recompute some edges of a result in another way and compare.
    Verify(VerifyArgs),
    /// Show what is in a trained run or a result folder.
    Inspect(InspectArgs),
    /// Draw the graphs of a result: one figure per set, as SVG and PNG.
    Plot(PlotArgs),
    /// Compare the graphs of several CI sets of one prompt: what they share, where they differ, their consensus.
    Compare(CompareArgs),
    /// Write one offline page that shows the graphs of all sets side by side.
    Report(ReportArgs),
    /// Write the graphs of a result for other tools: Parquet, GraphML, JSON, circuit-tracer, param-decomp.
    Export(ExportArgs),
    /// Print the JSON Schema of a JSON format that this tool writes.
    Schema(SchemaArgs),
    /// List the backends, and which can be used here.
    Backends(BackendsArgs),
    /// Say what backend this is: what a plugin is asked.
    #[command(hide = true)]
    DescribeBackend,
}

impl Command {
    pub(crate) fn json(&self) -> bool {
        match self {
            Self::Attribute(args) => args.output.json,
            Self::Optimize(args) => args.output.json,
            Self::Evaluate(args) => args.output.json,
            Self::Verify(args) => args.json,
            Self::Inspect(args) => args.json,
            Self::Plot(args) => args.output.json,
            Self::Compare(args) => args.json,
            Self::Export(args) => args.output.json,
            Self::Report(args) => args.output.json,
            Self::Backends(args) => args.json,
            Self::Schema(_) | Self::DescribeBackend => false,
        }
    }
}

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct InspectArgs {
    /// Folder of a trained run, or of results
    #[arg(value_name = "RUN_OR_RESULT")]
    pub(crate) folder: PathBuf,
    #[command(flatten)]
    pub(crate) run: RunArgs,
    /// Print one line of JSON instead of tables
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct BackendsArgs {
    /// Print one line of JSON instead of a table
    #[arg(long)]
    pub(crate) json: bool,
}

/// What becomes of files that are there, and what is said at the end.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct OutputArgs {
    /// Replace what is already there
    #[arg(long)]
    pub(crate) force: bool,
    /// No progress, no notes and no summary: errors alone
    #[arg(long, short)]
    pub(crate) quiet: bool,
    /// Print one line of JSON instead of the summary
    #[arg(long)]
    pub(crate) json: bool,
}

/// A causal importance, in float32, that not everything reaches which is not asked for: 0 itself, or a number up to 1.
fn ci_threshold(text: &str) -> Result<f64, String> {
    match threshold(text)? {
        value if value > 1.0 => Err("no causal importance reaches it; expected a number from 0 to 1".to_owned()),
        value if value > 0.0 && value as f32 == 0.0 => {
            Err("it is 0 in float32, the type of causal importances; give 0 for every component".to_owned())
        }
        value => Ok(value),
    }
}

/// A file of a format that figures have.
fn figure(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    let is_known = path.extension().is_some_and(|extension| extension == "svg" || extension == "png");
    is_known.then_some(path).ok_or_else(|| "expected a file whose name ends in .svg or .png".to_owned())
}

/// A probability.
fn probability(text: &str) -> Result<f64, String> {
    match threshold(text)? {
        value if value > 1.0 => Err("no probability reaches it; expected a number from 0 to 1".to_owned()),
        value => Ok(value),
    }
}

/// A number that is not negative.
fn threshold(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() && value >= 0.0 => Ok(value),
        _ => Err("expected a number that is not negative".to_owned()),
    }
}
