//! Flags of the commands that show, compare and share graphs.

use std::path::PathBuf;

use clap::ValueEnum;
use tributary_export::OutputPosition;
use tributary_graph::{Limits, Normalise, Sign, View};
use tributary_plot::PlotOptions;
use tributary_report::Options;

use super::OutputArgs;

/// Pixels of a PNG per pixel of the SVG, unless asked otherwise.
pub(crate) const PIXELS: f64 = 1.5;

/// Which edges of a figure are drawn.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct LimitArgs {
    /// Draw only edges of at least this absolute attribution
    #[arg(long, value_name = "X", value_parser = magnitude)]
    pub(crate) min_edge: Option<f32>,
    /// Draw the N strongest edges of each set; `all` for all that are not zero [default: 300; all
    /// with --min-edge]
    #[arg(long, value_name = "N|all", value_parser = top)]
    pub(crate) top_edges: Option<Top>,
}

impl LimitArgs {
    pub(crate) fn limits(&self) -> Limits {
        let top_edges = match (self.top_edges, self.min_edge) {
            (Some(Top(top)), _) => top,
            (None, Some(_)) => None,
            (None, None) => Some(PlotOptions::TOP_EDGES),
        };
        Limits { min_edge: self.min_edge, top_edges }
    }
}

/// How many of the strongest; `None` for all.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Top(pub(crate) Option<usize>);

/// How attributions are looked at.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct ViewArgs {
    /// What the sign of an edge says
    #[arg(long, value_enum, default_value_t = SignArg::Source)]
    pub(crate) sign: SignArg,
    /// What an attribution is divided by
    #[arg(long, value_enum, default_value_t = NormaliseArg::None)]
    pub(crate) normalise: NormaliseArg,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum SignArg {
    /// Whether the source raises or lowers the activation of the target
    Source,
    /// Whether the source drives the target harder or less hard: the sign of the target's activation times the attribution
    Target,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum NormaliseArg {
    /// Nothing
    None,
    /// The L2 norm over the edges to the same target node
    Target,
    /// The L2 norm over the edges to the same target layer
    Layer,
}

impl ViewArgs {
    pub(crate) fn view(self) -> View {
        View {
            sign: match self.sign {
                SignArg::Source => Sign::Source,
                SignArg::Target => Sign::Target,
            },
            normalise: match self.normalise {
                NormaliseArg::None => Normalise::None,
                NormaliseArg::Target => Normalise::Target,
                NormaliseArg::Layer => Normalise::Layer,
            },
        }
    }
}

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct PlotArgs {
    /// Folder of results
    #[arg(value_name = "RESULT")]
    pub(crate) result: PathBuf,
    /// Folder to write to; each set's figures are named as its file in the result [default: RESULT/plots]
    #[arg(long, short, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Draw only these sets
    #[arg(long, value_name = "NAME,NAME")]
    pub(crate) sets: Vec<String>,
    #[command(flatten)]
    pub(crate) limits: LimitArgs,
    #[command(flatten)]
    pub(crate) view: ViewArgs,
    /// What to write
    #[arg(long, value_enum, value_delimiter = ',', default_values = ["svg", "png"])]
    pub(crate) format: Vec<FigureFormat>,
    /// Pixels of the PNG per pixel of the SVG
    #[arg(long, value_name = "X", default_value_t = PIXELS, value_parser = pixel_scale)]
    pub(crate) scale: f64,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum FigureFormat {
    Svg,
    Png,
}

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ReportArgs {
    /// Folder of results
    #[arg(value_name = "RESULT")]
    pub(crate) result: PathBuf,
    /// The page to write (HTML)
    #[arg(long, short, value_name = "FILE")]
    pub(crate) out: PathBuf,
    /// Show only these sets
    #[arg(long, value_name = "NAME,NAME")]
    pub(crate) sets: Vec<String>,
    /// Put the N strongest edges of each set into the page; it says what is left out
    #[arg(long, value_name = "N", default_value_t = Options::default().max_edges_per_set)]
    pub(crate) max_edges: usize,
    #[command(flatten)]
    pub(crate) view: ViewArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct CompareArgs {
    /// Folders of results; the sets of several are called RESULT/SET
    #[arg(value_name = "RESULT", required = true)]
    pub(crate) results: Vec<PathBuf>,
    /// Compare only these sets, each by its name in every result or as RESULT/SET
    #[arg(long, value_name = "NAME,NAME")]
    pub(crate) sets: Vec<String>,
    /// Number of the prompt, where the first result has several (from 0, as `tributary inspect` counts)
    #[arg(long, value_name = "N")]
    pub(crate) prompt: Option<usize>,
    /// Count only edges of at least this absolute attribution
    #[arg(long, value_name = "X", value_parser = magnitude)]
    pub(crate) min_edge: Option<f32>,
    /// The consensus is what at least this many sets have [default: more than half]
    #[arg(long, value_name = "K")]
    pub(crate) at_least: Option<usize>,
    /// Longest list of nodes or edges; `all` for whole lists
    #[arg(long, value_name = "N|all", default_value = "5", value_parser = top)]
    pub(crate) top: Top,
    #[command(flatten)]
    pub(crate) view: ViewArgs,
    /// Write the consensus graph to this folder, as results
    #[arg(long, short, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Replace results that are already in that folder
    #[arg(long, requires = "out")]
    pub(crate) force: bool,
    /// Print one line of JSON instead of tables
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ExportArgs {
    /// Folder of results
    #[arg(value_name = "RESULT")]
    pub(crate) result: PathBuf,
    /// What to write
    #[arg(long, value_enum)]
    pub(crate) format: ExportFormat,
    /// Folder to write to; each set's files are named as its file in the result
    #[arg(long, short, value_name = "DIR")]
    pub(crate) out: PathBuf,
    /// Export only these sets
    #[arg(long, value_name = "NAME,NAME")]
    pub(crate) sets: Vec<String>,
    /// circuit-tracer: prune to what carries the output at this position; `last`, as circuit-tracer's own graphs, or `all`
    /// [default: all]
    #[arg(long, value_name = "N|last|all", value_parser = output_position)]
    pub(crate) output_position: Option<OutputPosition>,
    /// circuit-tracer: keep the nodes of most influence that together carry this share of it [default: 0.8]
    #[arg(long, value_name = "SHARE", value_parser = share)]
    pub(crate) node_threshold: Option<f64>,
    /// circuit-tracer: of the edges between those, keep the ones of most influence that together carry this share
    /// [default: 0.98]
    #[arg(long, value_name = "SHARE", value_parser = share)]
    pub(crate) edge_threshold: Option<f64>,
    /// circuit-tracer: write every node and every edge that is not zero; large files crash the viewer
    #[arg(long, conflicts_with_all = ["output_position", "node_threshold", "edge_threshold"])]
    pub(crate) no_pruning: bool,
    #[command(flatten)]
    pub(crate) view: ViewArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExportFormat {
    /// Two tables per set: one row per edge, one row per node or ghost
    Parquet,
    /// For Gephi, NetworkX and others
    Graphml,
    /// Nodes, ghosts and edges after a schema of ours (`tributary schema graph`)
    Json,
    /// For the local viewer of circuit-tracer
    CircuitTracer,
    /// As the published app of param-decomp has graphs, with both signs, and causal importances as a file of CI sets
    ParamDecomp,
}

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct SchemaArgs {
    /// The format
    #[arg(value_name = "FORMAT", value_enum)]
    pub(crate) format: SchemaFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum SchemaFormat {
    /// `tributary export --format json`
    Graph,
    /// `tributary export --format circuit-tracer`
    CircuitTracer,
    /// `tributary export --format param-decomp`
    ParamDecomp,
    /// `tributary compare --json`
    Comparison,
}

fn top(text: &str) -> Result<Top, String> {
    match text {
        "all" => Ok(Top(None)),
        _ => text.parse().map(|top| Top(Some(top))).map_err(|_| "expected a number, or all".to_owned()),
    }
}

fn output_position(text: &str) -> Result<OutputPosition, String> {
    match text {
        "all" => Ok(OutputPosition::All),
        "last" => Ok(OutputPosition::Last),
        _ => text.parse().map(OutputPosition::At).map_err(|_| "expected a position from 0, last, or all".to_owned()),
    }
}

/// An absolute attribution, which is an f32.
fn magnitude(text: &str) -> Result<f32, String> {
    match text.parse::<f64>() {
        Ok(value) if value == 0.0 || (value as f32).is_normal() && value > 0.0 => Ok(value as f32),
        _ => Err("expected a number that is not negative and that f32 can hold".to_owned()),
    }
}

fn share(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if (0.0..=1.0).contains(&value) => Ok(value),
        _ => Err("expected a number from 0 to 1".to_owned()),
    }
}

fn pixel_scale(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if (0.1..=10.0).contains(&value) => Ok(value),
        _ => Err("expected a number from 0.1 to 10".to_owned()),
    }
}
