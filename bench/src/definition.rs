//! Which attributions are measured.

use tributary_engine::{DeltaGradient, Forward};
use tributary_model::Thresholds;

/// Which attributions are measured.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct DefinitionArgs {
    /// Where attributions are evaluated
    #[arg(long, value_enum, default_value = "masked")]
    forward: ForwardKind,
    /// With --forward target: what gradients do at deltas
    #[arg(long, value_enum, default_value = "through")]
    delta: DeltaKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum ForwardKind {
    Masked,
    Target,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum DeltaKind {
    Through,
    Stopped,
}

impl DefinitionArgs {
    /// As the engine takes it.
    pub(crate) fn forward(self) -> Forward {
        match (self.forward, self.delta) {
            (ForwardKind::Masked, _) => Forward::Masked,
            (ForwardKind::Target, DeltaKind::Through) => Forward::Target(DeltaGradient::Through),
            (ForwardKind::Target, DeltaKind::Stopped) => Forward::Target(DeltaGradient::Stopped),
        }
    }

    pub(crate) fn thresholds(self) -> Thresholds {
        if self.forward() == Forward::Masked { Thresholds::MASKED } else { Thresholds::TARGET }
    }

    /// The flags of the command.
    pub(crate) fn flags(self) -> &'static [&'static str] {
        match self.forward() {
            Forward::Masked => &[],
            Forward::Target(DeltaGradient::Stopped) => &["--forward", "target", "--delta", "stopped"],
            Forward::Target(_) => &["--forward", "target", "--delta", "through"],
        }
    }
}
