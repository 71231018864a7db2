//! Flags of `evaluate`.

use std::path::PathBuf;

use bytesize::ByteSize;
use clap::ArgGroup;
use tributary::inputs::TokenName;
use tributary::optimization::Trials;
use tributary::results::{At, OutputName};
use tributary::{Compute, Effects, NodePattern, Selections, Subjects, TopInfluence};

use super::compute::{ComputeArgs, DtypeArg, position};
use super::optimization::{AdversaryArg, adversary};
use super::{OutputArgs, RunArgs, figure, probability, threshold};

#[derive(Clone, Debug, clap::Args)]
#[command(group(ArgGroup::new("subjects").args(["result", "ci_sets"]).required(true).multiple(true)))]
pub(crate) struct EvaluateArgs {
    /// Folder of a result: the nodes of its graphs are evaluated
    #[arg(value_name = "RESULT")]
    pub(crate) result: Option<PathBuf>,
    /// Folder of the trained run [default: with RESULT, where the result says]
    #[arg(long, value_name = "RUN", required_unless_present = "result")]
    pub(crate) model: Option<PathBuf>,
    /// In place of a result CI sets (JSON); with --edges those that RESULT was computed from, where the file has moved
    #[arg(long, value_name = "FILE")]
    pub(crate) ci_sets: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) run: RunArgs,
    /// Evaluate only these sets
    #[arg(long, value_name = "NAME,NAME")]
    pub(crate) sets: Vec<String>,
    /// In place of all else, of each set so many edges, drawn evenly from the pairs of layers: their attributions beside what their
    /// targets lose without the source, and what the targets' activations are made of
    #[arg(
        long,
        value_name = "N",
        value_parser = clap::value_parser!(u64).range(1..),
        allow_negative_numbers = true,
        requires = "result",
        conflicts_with_all = [
            "label", "position", "above", "sweep", "top_influence", "nodes", "keep", "ablate", "random", "mask_by_ci", "draws",
            "adversary", "restarts", "record",
        ]
    )]
    pub(crate) edges: Option<u64>,
    /// The token whose probability is looked at: its text, exactly, or `#ID` [default: `label_token` of each set's metadata, else
    /// the target model's likeliest]
    #[arg(long, value_name = "TOKEN", value_parser = TokenName::parse)]
    pub(crate) label: Option<TokenName>,
    /// The position it is looked at, or `last`; no nodes after it are kept [default: `position` of each set's metadata, else the
    /// last]
    #[arg(long, value_name = "POS", value_parser = position, allow_negative_numbers = true)]
    pub(crate) position: Option<At>,
    /// Beside each set its nodes of a causal importance above this (repeatable)
    #[arg(long, value_name = "CI", value_parser = threshold, allow_negative_numbers = true)]
    pub(crate) above: Vec<f64>,
    /// Beside each set its nodes above each of a ladder of causal importances; draws the label's probability against their number as
    /// a figure: .svg or .png
    #[arg(long, value_name = "FIGURE", value_parser = figure)]
    pub(crate) sweep: Option<PathBuf>,
    /// Beside each set of a result those of its nodes that have most influence on an output, and together this share of the
    /// influence of all, from 0 to 1
    #[arg(long, value_name = "SHARE", value_parser = probability, allow_negative_numbers = true)]
    pub(crate) top_influence: Option<f64>,
    /// The output node that they have an influence on: `output:POS:TOKEN`, where POS may be `last`, and TOKEN is `#ID`, its text or the
    /// vocabulary's spelling [default: the label at its position or, where that is no node, the likeliest output there that is]
    #[arg(long, value_name = "NODE", value_parser = OutputName::parse, requires = "top_influence")]
    pub(crate) to: Option<OutputName>,
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
    #[arg(long, value_name = "N", allow_negative_numbers = true, default_value_t = 0)]
    pub(crate) random: usize,
    /// Mask what is kept by its causal importance, and not by 1: the set's, or of nodes that it does not have the model's own
    #[arg(long)]
    pub(crate) mask_by_ci: bool,
    /// Draws of stochastic masks
    #[arg(long, value_name = "N", allow_negative_numbers = true, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) draws: u32,
    /// Steps of the adversary, and the size of one
    #[arg(long, value_name = "STEPS[:SIZE]", value_parser = adversary, default_value = "4", allow_hyphen_values = true)]
    pub(crate) adversary: AdversaryArg,
    /// How often the adversary starts anew
    #[arg(long, value_name = "N", allow_negative_numbers = true, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) restarts: u32,
    /// What is drawn: the same for the same seed
    #[arg(long, value_name = "N", allow_negative_numbers = true, default_value_t = 0)]
    pub(crate) seed: u64,
    #[command(flatten)]
    pub(crate) compute: ComputeArgs,
    /// Floating-point type to compute in
    #[arg(long, value_enum, default_value_t = DtypeArg::F32)]
    pub(crate) dtype: DtypeArg,
    /// Memory to take beside the model, such as `500MB` or `2GB` [default: half of what is free]
    #[arg(long, value_name = "SIZE")]
    pub(crate) max_memory: Option<ByteSize>,
    /// Put what comes out into the metadata of the result's sets, where report and plot show it
    #[arg(long, requires = "result")]
    pub(crate) record: bool,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

impl EvaluateArgs {
    pub(crate) fn subjects(&self) -> Subjects {
        let sets = self.sets.clone();
        match (&self.result, &self.ci_sets, &self.model) {
            (None, Some(file), Some(model)) => Subjects::File { run: self.run.of(model), file: file.clone(), sets },
            (Some(result), ..) => Subjects::Result { result: self.run.of_result(result, self.model.as_ref()), sets },
            (None, ..) => unreachable!("one of both is required, and without a result a run"),
        }
    }

    /// What is asked of the edges of a result, if anything.
    pub(crate) fn effects(&self, compute: Compute) -> Option<Effects> {
        Some(Effects {
            result: self.run.of_result(self.result.as_ref()?, self.model.as_ref()),
            ci_sets: self.ci_sets.clone(),
            sets: self.sets.clone(),
            edges: self.edges?,
            seed: self.seed,
            max_memory: self.max_memory.map(|size| size.as_u64()),
            compute,
        })
    }

    pub(crate) fn selections(&self) -> Selections {
        Selections {
            above: self.above.clone(),
            sweep: self.sweep.is_some(),
            top_influence: self.top_influence.map(|share| TopInfluence { share, to: self.to.clone() }),
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
