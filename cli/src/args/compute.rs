//! Flags of the commands that compute.

use std::path::{Path, PathBuf};

use bytesize::ByteSize;
use clap::{ArgGroup, ValueEnum};
use tributary::backend::Dtype;
use tributary::engine::Method;
use tributary::inputs::{TokenName, parse_token_ids};
use tributary::model::Thresholds;
use tributary::results::At;
use tributary::{Compute, Input, ResultRun, Run};

use super::optimization::OptimizationArgs;
use super::{OutputArgs, ci_threshold, probability, threshold};

/// What `--backend` takes to leave the choice open.
const AUTO: &str = "auto";

/// The token ids of one prompt.
#[derive(Clone, Debug)]
pub(crate) struct TokenIds(pub(crate) Vec<u64>);

pub(crate) fn token_ids(text: &str) -> Result<TokenIds, String> {
    parse_token_ids(text).map(TokenIds)
}

/// Prompts as a text or as tokens, of which one was given.
pub(crate) fn prompts(texts: &[String], tokens: &[TokenIds], file: Option<&PathBuf>) -> Input {
    match file {
        Some(file) => Input::TokenFile(file.clone()),
        None if !tokens.is_empty() => Input::Tokens(tokens.iter().map(|tokens| tokens.0.clone()).collect()),
        None => Input::Prompts(texts.to_vec()),
    }
}

/// The trained run, and where to look for what is not in its folder.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct RunArgs {
    /// Folder of the target model, with `model_config.yaml` and `tokenizer.json` [default: RUN/target, else where the
    /// run's config points to]
    #[arg(long, value_name = "DIR")]
    pub(crate) target: Option<PathBuf>,
    /// Tokenizer file [default: tokenizer.json of the target model]
    #[arg(long, value_name = "FILE")]
    pub(crate) tokenizer: Option<PathBuf>,
    /// Checkpoint: a file, or the name of one in the run's folder [default: `model_STEP.pth`, .pt or .safetensors with
    /// the largest step]
    #[arg(long, value_name = "FILE")]
    pub(crate) checkpoint: Option<PathBuf>,
}

impl RunArgs {
    /// The run in a folder.
    pub(crate) fn of(&self, folder: &Path) -> Run {
        Run {
            folder: folder.to_owned(),
            target: self.target.clone(),
            tokenizer: self.tokenizer.clone(),
            checkpoint: self.checkpoint.clone(),
        }
    }

    /// That of a result, in a folder of its own or where the result says.
    pub(crate) fn of_result(&self, result: &Path, folder: Option<&PathBuf>) -> ResultRun {
        ResultRun {
            result: result.to_owned(),
            run: folder.cloned(),
            target: self.target.clone(),
            tokenizer: self.tokenizer.clone(),
            checkpoint: self.checkpoint.clone(),
        }
    }
}

/// What computes.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ComputeArgs {
    /// What computes (see `tributary backends`); `auto` takes the first usable of cuda, tch with a GPU, flex,
    /// ndarray, and for `verify` the first on the CPU
    #[arg(long, value_name = "NAME", default_value = AUTO)]
    pub(crate) backend: String,
    /// Device of the backend: `cpu`, `cuda`, `cuda:1` [default: its first; for `verify`, the CPU]
    #[arg(long, value_name = "DEVICE")]
    pub(crate) device: Option<String>,
    /// Let an NVIDIA GPU multiply f32 numbers in TF32, of 10 bits: faster, and off by about 1e-3
    #[arg(long)]
    pub(crate) allow_tf32: bool,
    /// Threads of the CPU backends [default: as many as there are cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(crate) threads: Option<u16>,
}

impl ComputeArgs {
    /// What is asked for; without a backend for `auto`.
    pub(crate) fn wanted(&self, dtype: DtypeArg) -> Compute {
        Compute {
            backend: (self.backend != AUTO).then(|| self.backend.clone()),
            device: self.device.clone(),
            dtype: dtype.into(),
            allow_tf32: self.allow_tf32,
            threads: self.threads.map(usize::from),
        }
    }
}

#[derive(Clone, Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag")]
#[command(group(ArgGroup::new("input").args(["ci_sets", "prompt", "tokens", "tokens_file"]).required(true).multiple(true)))]
pub(crate) struct AttributeArgs {
    /// Folder of the trained run, with `final_config.yaml` and `model_STEP.pth` (or `.pt`, `.safetensors`)
    #[arg(long, value_name = "RUN")]
    pub(crate) model: PathBuf,
    /// CI sets to compute (JSON)
    #[arg(long, value_name = "FILE")]
    pub(crate) ci_sets: Option<PathBuf>,
    /// Folder to write to
    #[arg(long, value_name = "DIR", required_unless_present = "dry_run")]
    pub(crate) out: Option<PathBuf>,
    /// Without --ci-sets: use the model's own causal importances on this text, as a set named `prompt_0` (`prompt_1` for
    /// a second --prompt, and so on). With --ci-sets: insist that this is the file's prompt
    #[arg(long, value_name = "TEXT")]
    pub(crate) prompt: Vec<String>,
    /// In place of a text: use the model's own causal importances on these token ids, such as `762,1,32`, as a set named
    /// `prompt_0` (`prompt_1` for a second --tokens, and so on)
    #[arg(long, value_name = "ID,ID", value_parser = token_ids, allow_hyphen_values = true)]
    #[arg(conflicts_with_all = ["ci_sets", "prompt", "tokens_file"])]
    pub(crate) tokens: Vec<TokenIds>,
    /// The same with the prompts of a file: one a line, its token ids separated by commas or spaces, or JSON, an array of ids
    /// or an array of such arrays
    #[arg(long, value_name = "FILE", conflicts_with_all = ["ci_sets", "prompt"])]
    pub(crate) tokens_file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) run: RunArgs,
    /// Compute only these sets of the file
    #[arg(long, value_name = "NAME,NAME", requires = "ci_sets")]
    pub(crate) sets: Vec<String>,
    /// Where attributions are evaluated [default: masked; with --from-prompt: target]
    #[arg(long, value_enum)]
    pub(crate) forward: Option<ForwardArg>,
    /// With --forward target: what gradients do at the part of each weight that no component holds, its delta [default: through]
    #[arg(long, value_enum)]
    pub(crate) delta: Option<DeltaArg>,
    /// A component is alive where its causal importance is at least this (compared in f32); with --forward target, where it is
    /// above this [default: 1e-6; with --forward target: 0]
    #[arg(long, value_name = "X", value_parser = ci_threshold, allow_negative_numbers = true)]
    pub(crate) ci_threshold: Option<f64>,
    /// An output token is alive where its probability in the masked model is at least this; with --forward target, where it is
    /// above this [default: 0.1; with --forward target: 0.01]
    #[arg(long, value_name = "P", value_parser = probability, allow_negative_numbers = true)]
    pub(crate) output_prob_threshold: Option<f64>,
    /// How many output tokens of a position are alive at most, the most probable [default: any number; with --forward target: 15]
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) output_top: Option<u32>,
    /// Make this token an output node whatever its probability (repeatable): POS is a position or `last`, TOKEN its decoded text
    /// or the vocabulary's spelling, exactly (`5: the`, `5:" the"`), or its number (`5:#262`)
    #[arg(long, value_name = "POS:TOKEN", value_parser = output_token)]
    pub(crate) output_token: Vec<OutputArg<TokenName>>,
    /// Make the difference of two logits an output node (repeatable): that of the first token less that of the second, such
    /// as `last:" he"-" she"`
    #[arg(long, value_name = "POS:TOKEN-TOKEN", value_parser = output_contrast)]
    pub(crate) output_contrast: Vec<OutputArg<(TokenName, TokenName)>>,
    /// The last position that takes part, in every set or, as SET=POS, in one (repeatable): nothing after it is a node
    /// [default: what `until` in the metadata of a set says, else the prompt's last]
    #[arg(long, value_name = "POS|SET=POS", value_parser = until)]
    pub(crate) until: Vec<UntilArg>,
    #[command(flatten)]
    pub(crate) compute: ComputeArgs,
    /// Floating-point type to compute in; result files hold f32 either way
    #[arg(long, value_enum, default_value_t = DtypeArg::F32)]
    pub(crate) dtype: DtypeArg,
    /// How attributions are computed
    #[arg(long, value_enum, default_value_t = MethodArg::Auto)]
    pub(crate) method: MethodArg,
    /// Leave the output probabilities out of the result files
    #[arg(long)]
    pub(crate) no_output_probs: bool,
    /// Leave the index of edges out of the result files, nearly two thirds of them: it follows from the nodes
    #[arg(long)]
    pub(crate) implied_index: bool,
    /// Do without what the model's own causal importances keep alive beside the sets of a file, and without computing them
    #[arg(long, requires = "ci_sets")]
    pub(crate) no_ghosts: bool,
    /// Memory to take beside the model, such as `500MB` or `2GB`; sets that do not fit together are computed one after the
    /// other [default: half of what is free]
    #[arg(long, value_name = "SIZE")]
    pub(crate) max_memory: Option<ByteSize>,
    /// Say how many nodes, edges and bytes there would be and what memory it takes, and compute no attributions
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Draw the graphs too, as `tributary plot` does, into the folder `plots` of the output
    #[arg(long, conflicts_with = "dry_run")]
    pub(crate) plot: bool,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
    /// All the way from prompts: make CI sets as `optimize` does, into `ci_sets.json` of the output, compute their graphs, put them to
    /// the test as `evaluate` does, and record in the result what comes out
    #[arg(long, help_heading = FROM_PROMPT, conflicts_with_all = ["ci_sets", "dry_run", "until"])]
    pub(crate) from_prompt: bool,
    /// Go on from where making CI sets was interrupted
    #[arg(long, help_heading = FROM_PROMPT, requires = "from_prompt")]
    pub(crate) resume: bool,
    #[command(flatten, next_help_heading = FROM_PROMPT)]
    pub(crate) optimization: OptimizationArgs,
}

/// Over flags in the help text.
const FROM_PROMPT: &str = "From a prompt";

impl AttributeArgs {
    /// Where attributions are evaluated.
    pub(crate) fn forward(&self) -> ForwardArg {
        self.forward.unwrap_or(if self.from_prompt { ForwardArg::Target } else { ForwardArg::Masked })
    }

    pub(crate) fn thresholds(&self) -> Thresholds {
        let default = match self.forward() {
            ForwardArg::Masked => Thresholds::MASKED,
            ForwardArg::Target => Thresholds::TARGET,
        };
        Thresholds {
            ci: self.ci_threshold.unwrap_or(default.ci),
            output_prob: self.output_prob_threshold.unwrap_or(default.output_prob),
            output_top: self.output_top.map(|top| top as usize).or(default.output_top),
            ..default
        }
    }
}

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct VerifyArgs {
    /// Folder of results
    #[arg(value_name = "RESULT")]
    pub(crate) result: PathBuf,
    /// Folder of the trained run [default: the one the result was computed from]
    #[arg(long, value_name = "RUN")]
    pub(crate) model: Option<PathBuf>,
    /// CI sets the result was computed from [default: the file it names]
    #[arg(long, value_name = "FILE")]
    pub(crate) ci_sets: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) run: RunArgs,
    #[command(flatten)]
    pub(crate) compute: ComputeArgs,
    /// Floating-point type to compute in
    #[arg(long, value_enum, default_value_t = DtypeArg::F64)]
    pub(crate) dtype: DtypeArg,
    /// How attributions are computed; `auto` is the other method than the result's where the model allows
    #[arg(long, value_enum, default_value_t = MethodArg::Auto)]
    pub(crate) method: MethodArg,
    /// How many edges to recompute, drawn evenly from the pairs of all sets; with as many as there are, all [default: one
    /// of each pair of each set, and at least 200]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) samples: Option<u64>,
    /// Which edges are drawn: the same ones for the same seed
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) seed: u64,
    /// Largest difference that passes, as a part of the largest value at the edge's target: the attributions to it, and the
    /// activations of layers that read what its layer reads [default: 1e-5; 1e-6 between two float64 computations; 1e-2 with TF32]
    #[arg(long, value_name = "X", value_parser = threshold, allow_negative_numbers = true)]
    pub(crate) tolerance: Option<f64>,
    /// No progress and no notes
    #[arg(long, short)]
    pub(crate) quiet: bool,
    /// Print one line of JSON instead of a table
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum DtypeArg {
    F32,
    F64,
}

/// The activations at which attributions are evaluated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ForwardArg {
    /// Those of the model that each set's causal importances mask, which are factors of the attributions
    Masked,
    /// Those of the target model, the same for all sets of a prompt: causal importances say who is alive, and no more
    Target,
}

/// What gradients do at deltas.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum DeltaArg {
    /// Pass through: a target depends on a source by way of the deltas of all layers between them
    Through,
    /// Stop there
    Stopped,
    /// Both, in two arrays, and how far they lie apart
    Both,
}

/// The last position of all sets, or of one by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UntilArg {
    pub(crate) set: Option<String>,
    pub(crate) position: usize,
}

fn until(text: &str) -> Result<UntilArg, String> {
    // A name may have the sign, too.
    let (set, position) =
        text.rsplit_once('=').map_or((None, text), |(set, position)| (Some(set.to_owned()), position));
    let is_plain = !position.is_empty() && position.bytes().all(|byte| byte.is_ascii_digit());
    let position = position.parse().ok().filter(|_| is_plain);
    position
        .map(|position| UntilArg { set, position })
        .ok_or_else(|| "expected a position, from 0, or SET=POSITION".to_owned())
}

/// Something of the output at a position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OutputArg<T>(pub(crate) At, pub(crate) T);

fn output_token(text: &str) -> Result<OutputArg<TokenName>, String> {
    let (at, token) = at(text)?;
    TokenName::parse(token).map(|token| OutputArg(at, token))
}

fn output_contrast(text: &str) -> Result<OutputArg<(TokenName, TokenName)>, String> {
    let (at, tokens) = at(text)?;
    TokenName::parse_two(tokens).map(|tokens| OutputArg(at, tokens))
}

/// The position before the first colon, and what follows.
fn at(text: &str) -> Result<(At, &str), String> {
    let (at, rest) = text.split_once(':').ok_or("expected a position from 0 or last, a colon, and a token")?;
    Ok((position(at)?, rest))
}

pub(crate) fn position(text: &str) -> Result<At, String> {
    let is_plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let at = match text {
        "last" => Some(At::Last),
        _ => text.parse().ok().filter(|_| is_plain).map(At::Position),
    };
    at.ok_or_else(|| format!("{text:?} is no position; expected a number from 0, or last"))
}

impl From<DtypeArg> for Dtype {
    fn from(dtype: DtypeArg) -> Self {
        match dtype {
            DtypeArg::F32 => Self::F32,
            DtypeArg::F64 => Self::F64,
        }
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum MethodArg {
    /// The fastest method that covers the model
    Auto,
    /// The gradients written out; for models whose every linear layer is decomposed, queries, keys and values each by themselves
    ClosedForm,
    /// Automatic differentiation by the backend, for any model; slow, and what closed-form is checked against
    Autograd,
}

impl From<MethodArg> for Option<Method> {
    /// `None` for `auto`.
    fn from(method: MethodArg) -> Self {
        match method {
            MethodArg::Auto => None,
            MethodArg::ClosedForm => Some(Method::ClosedForm),
            MethodArg::Autograd => Some(Method::Autograd),
        }
    }
}
