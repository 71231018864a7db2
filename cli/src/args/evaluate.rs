//! Flags of `evaluate`.

use std::path::PathBuf;

use bytesize::ByteSize;
use tributary::inputs::TokenName;
use tributary::optimization::Trials;
use tributary::results::At;
use tributary::{NodePattern, Selections};

use super::compute::{ComputeArgs, DtypeArg, position};
use super::optimize::{AdversaryArg, adversary};
use super::{RunArgs, threshold};

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct EvaluateArgs {
    /// Folder of the trained run
    #[arg(long, value_name = "RUN")]
    pub(crate) model: PathBuf,
    /// CI sets to evaluate (JSON)
    #[arg(long, value_name = "FILE")]
    pub(crate) ci_sets: PathBuf,
    #[command(flatten)]
    pub(crate) run: RunArgs,
    /// Evaluate only these sets of the file
    #[arg(long, value_name = "NAME,NAME")]
    pub(crate) sets: Vec<String>,
    /// The token whose probability is looked at: its text, exactly, or `#ID` [default: `label_token` of each set's metadata, else
    /// the target model's likeliest]
    #[arg(long, value_name = "TOKEN", value_parser = TokenName::parse)]
    pub(crate) label: Option<TokenName>,
    /// The position it is looked at, or `last`; no nodes after it are kept [default: `position` of each set's metadata, else the
    /// last]
    #[arg(long, value_name = "POS", value_parser = position)]
    pub(crate) position: Option<At>,
    /// Beside each set its nodes of a causal importance above this (repeatable)
    #[arg(long, value_name = "CI", value_parser = threshold)]
    pub(crate) above: Vec<f64>,
    /// Beside each set the nodes of a file, one `LAYER:POSITION:COMPONENT` a line (repeatable)
    #[arg(long, value_name = "FILE")]
    pub(crate) nodes: Vec<PathBuf>,
    /// Beside each set those of its nodes that any of these takes in, `LAYER:POSITION:COMPONENT` with `*` for any
    #[arg(long, value_name = "NODE,NODE", value_parser = NodePattern::parse, value_delimiter = ',')]
    pub(crate) keep: Vec<NodePattern>,
    /// Beside each set all of its nodes but those that this takes in, for each of these
    #[arg(long, value_name = "NODE,NODE", value_parser = NodePattern::parse, value_delimiter = ',')]
    pub(crate) ablate: Vec<NodePattern>,
    /// Controls: for each of all these as many nodes of each layer, drawn N times from what is alive under the model's own causal
    /// importances
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) random: usize,
    /// Mask what is kept by its causal importance, and not by 1
    #[arg(long)]
    pub(crate) mask_by_ci: bool,
    /// Draws of stochastic masks
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) draws: u32,
    /// Steps of the adversary, and the size of one
    #[arg(long, value_name = "STEPS[:SIZE]", value_parser = adversary, default_value = "4")]
    pub(crate) adversary: AdversaryArg,
    /// How often the adversary starts anew
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) restarts: u32,
    /// What is drawn: the same for the same seed
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) seed: u64,
    #[command(flatten)]
    pub(crate) compute: ComputeArgs,
    /// Floating-point type to compute in
    #[arg(long, value_enum, default_value_t = DtypeArg::F32)]
    pub(crate) dtype: DtypeArg,
    /// Memory to take beside the model, such as `500MB` or `2GB` [default: half of what is free]
    #[arg(long, value_name = "SIZE")]
    pub(crate) max_memory: Option<ByteSize>,
    /// No progress and no notes
    #[arg(long, short)]
    pub(crate) quiet: bool,
    /// Print one line of JSON instead of a table
    #[arg(long)]
    pub(crate) json: bool,
}

impl EvaluateArgs {
    pub(crate) fn selections(&self) -> Selections {
        Selections {
            above: self.above.clone(),
            files: self.nodes.clone(),
            keep: self.keep.clone(),
            ablate: self.ablate.clone(),
            random: self.random,
        }
    }

    pub(crate) fn trials(&self) -> Trials {
        Trials {
            draws: self.draws as usize,
            adversary: self.adversary.0,
            restarts: self.restarts as usize,
            seed: self.seed,
        }
    }
}
