//! What CI sets are asked for, of `optimize` and of `attribute --from-prompt`.

use clap::{Parser, ValueEnum};
use tributary::inputs::TokenName;
use tributary::optimization::{Adversarial, Adversary, Init, Loss, MaskKind, Pnorm, Schedule, Settings};
use tributary::results::At;
use tributary::{Compute, Input, Optimization, Run};

use super::compute::position;
use super::threshold;

/// The most updates, which are counted in 32 bits.
const LARGEST_STEPS: i64 = i32::MAX as i64;
/// The largest seed, the largest number that JSON holds exactly everywhere.
const LARGEST_SEED: u64 = 1 << 53;

#[derive(Clone, Debug, PartialEq, clap::Args)]
pub(crate) struct OptimizationArgs {
    /// The token that is looked at: its decoded text or the vocabulary's spelling, exactly, or `#ID` [default: the target model's
    /// likeliest]
    #[arg(long, value_name = "TOKEN", value_parser = TokenName::parse)]
    pub(crate) label: Option<TokenName>,
    /// With --loss logit-difference: the token that the label is compared with
    #[arg(long, value_name = "TOKEN", value_parser = TokenName::parse)]
    pub(crate) against: Option<TokenName>,
    /// The position that is looked at, from 0, or `last`
    #[arg(long, value_name = "POS", value_parser = position, default_value = "last", allow_negative_numbers = true)]
    pub(crate) position: At,
    /// What is asked of the masked model
    #[arg(long, value_enum, default_value_t = LossArg::Ce)]
    pub(crate) loss: LossArg,
    /// What the loss is multiplied by
    #[arg(long, value_name = "W", value_parser = threshold, default_value_t = 1.0, allow_negative_numbers = true)]
    pub(crate) loss_weight: f64,
    /// Coefficients of importance minimality: one set of each prompt and seed for every one
    #[arg(long, value_name = "X,X", value_parser = threshold, value_delimiter = ',', default_value = "0.01", allow_negative_numbers = true)]
    pub(crate) sparsity: Vec<f64>,
    /// Seeds of what is drawn: one set of each prompt and coefficient for every one
    #[arg(long, value_name = "N,N", value_delimiter = ',', default_value = "0", value_parser = clap::value_parser!(u64).range(0..=LARGEST_SEED), allow_negative_numbers = true)]
    pub(crate) seeds: Vec<u64>,
    /// Number of updates
    #[arg(long, value_name = "N", default_value_t = 400, value_parser = clap::value_parser!(u32).range(1..=LARGEST_STEPS), allow_negative_numbers = true)]
    pub(crate) steps: u32,
    /// Learning rate
    #[arg(long, value_name = "X", value_parser = positive, default_value_t = 0.01, allow_negative_numbers = true)]
    pub(crate) lr: f64,
    /// How the learning rate goes
    #[arg(long, value_enum, default_value_t = ScheduleArg::Constant)]
    pub(crate) schedule: ScheduleArg,
    /// Exponent of importance minimality
    #[arg(long, value_name = "P", value_parser = positive, default_value_t = 0.3, allow_negative_numbers = true)]
    pub(crate) pnorm: f64,
    /// What the exponent becomes
    #[arg(long, value_name = "Q", value_parser = positive, allow_negative_numbers = true)]
    pub(crate) pnorm_final: Option<f64>,
    /// From which part of the steps on, and to which, the exponent changes [default: 0:1]
    #[arg(long, value_name = "START:END", value_parser = anneal, requires = "pnorm_final", allow_hyphen_values = true)]
    pub(crate) pnorm_anneal: Option<Anneal>,
    /// Factor of the logarithm in importance minimality
    #[arg(long, value_name = "B", value_parser = threshold, default_value_t = 0.0, allow_negative_numbers = true)]
    pub(crate) beta: f64,
    /// What components are masked by
    #[arg(long, value_enum, default_value_t = MasksArg::Stochastic)]
    pub(crate) masks: MasksArg,
    /// Add the loss under the masks of an adversary, who takes so many steps of this size [default size: 1]
    #[arg(long, value_name = "STEPS[:SIZE]", value_parser = adversary, allow_hyphen_values = true)]
    pub(crate) adversary: Option<AdversaryArg>,
    /// What the loss under the adversary's masks is multiplied by [default: --loss-weight]
    #[arg(long, value_name = "W", value_parser = threshold, requires = "adversary", allow_negative_numbers = true)]
    pub(crate) adversary_weight: Option<f64>,
    /// Where importances start
    #[arg(long, value_enum, default_value_t = InitArg::Model)]
    pub(crate) init: InitArg,
    /// Keep what is reached after these updates too, as sets named NAME@STEP
    #[arg(long, value_name = "N,N", value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..), allow_negative_numbers = true)]
    pub(crate) snapshots: Vec<u32>,
}

#[derive(Parser)]
struct Defaults {
    #[command(flatten)]
    of: OptimizationArgs,
}

impl OptimizationArgs {
    /// Whether anything is as it is unless asked for.
    pub(crate) fn is_default(&self) -> bool {
        *self == Defaults::parse_from(["tributary"]).of
    }

    /// For prompts of a run.
    pub(crate) fn of(&self, run: Run, input: Input, max_memory: Option<u64>, compute: Compute) -> Optimization {
        Optimization {
            run,
            input,
            label: self.label.clone(),
            against: self.against.clone(),
            position: self.position,
            loss: self.loss(),
            sparsity: self.sparsity.clone(),
            seeds: self.seeds.clone(),
            settings: self.settings(),
            snapshots: self.snapshots.iter().map(|&step| step as usize).collect(),
            max_memory,
            compute,
        }
    }

    fn settings(&self) -> Settings {
        let Anneal { start, end } = self.pnorm_anneal.unwrap_or(Anneal { start: 0.0, end: 1.0 });
        Settings {
            steps: self.steps as usize,
            learning_rate: self.lr,
            schedule: match self.schedule {
                ScheduleArg::Constant => Schedule::Constant,
                ScheduleArg::Linear => Schedule::Linear,
                ScheduleArg::Cosine => Schedule::Cosine,
            },
            loss_weight: self.loss_weight,
            pnorm: Pnorm { initial: self.pnorm, last: self.pnorm_final.unwrap_or(self.pnorm), start, end },
            beta: self.beta,
            masks: match self.masks {
                MasksArg::Ci => MaskKind::Ci,
                MasksArg::Stochastic => MaskKind::Stochastic,
            },
            adversary: self.adversary.map(|AdversaryArg(adversary)| Adversarial {
                adversary,
                weight: self.adversary_weight.unwrap_or(self.loss_weight),
            }),
            init: match self.init {
                InitArg::Model => Init::Model,
                InitArg::Random => Init::Random,
            },
        }
    }

    fn loss(&self) -> Loss {
        match self.loss {
            LossArg::Ce => Loss::CrossEntropy,
            LossArg::Kl => Loss::Kl,
            LossArg::Logit => Loss::Logit,
            LossArg::LogitDifference => Loss::LogitDifference,
            LossArg::MeanKl => Loss::MeanKl,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LossArg {
    /// Cross-entropy of the label
    Ce,
    /// Divergence from the target model at the position
    Kl,
    /// Minus the label's logit
    Logit,
    /// Minus the label's logit, plus that of --against
    LogitDifference,
    /// The mean over all positions of the divergence from the target model
    MeanKl,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ScheduleArg {
    /// As it begins
    Constant,
    /// Down a line to 0
    Linear,
    /// Down half a cosine to 0
    Cosine,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum MasksArg {
    /// The causal importances
    Ci,
    /// The causal importances, and every component raised by a number that is drawn anew in every step; what no component holds
    /// is masked by another
    Stochastic,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum InitArg {
    /// At the model's own causal importances, before their sigmoid
    Model,
    /// Drawn evenly from 0 to 1
    Random,
}

/// Parts of all steps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Anneal {
    start: f64,
    end: f64,
}

fn anneal(text: &str) -> Result<Anneal, String> {
    let part = |text: &str| text.parse::<f64>().ok().filter(|part| (0.0..=1.0).contains(part));
    let parts = text.split_once(':').and_then(|(start, end)| Some(Anneal { start: part(start)?, end: part(end)? }));
    parts
        .filter(|Anneal { start, end }| start <= end)
        .ok_or_else(|| "expected two numbers from 0 to 1, the second not smaller, such as 0.2:0.9".to_owned())
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct AdversaryArg(pub(crate) Adversary);

pub(crate) fn adversary(text: &str) -> Result<AdversaryArg, String> {
    let (steps, size) = text.split_once(':').unwrap_or((text, "1"));
    let steps = steps.parse::<u32>().ok().filter(|&steps| steps > 0);
    steps
        .zip(positive(size).ok())
        .map(|(steps, step_size)| AdversaryArg(Adversary { steps: steps as usize, step_size }))
        .ok_or_else(|| "expected a number of steps and, after a colon, the size of one, such as 4 or 20:0.1".to_owned())
}

/// A number above 0.
fn positive(text: &str) -> Result<f64, String> {
    threshold(text).ok().filter(|&value| value > 0.0).ok_or_else(|| "expected a number above 0".to_owned())
}
