//! What is asked of an optimisation.

use serde::{Deserialize, Serialize};

use crate::{Adversary, Pnorm, Schedule};

/// What sets that are made together share.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Number of updates.
    pub steps: usize,
    /// Learning rate of `AdamW`.
    pub learning_rate: f64,
    /// How it goes.
    pub schedule: Schedule,
    /// What the objective's loss is multiplied by.
    pub loss_weight: f64,
    /// Exponent of importance minimality.
    pub pnorm: Pnorm,
    /// Factor of its logarithm.
    pub beta: f64,
    /// What components are masked by.
    pub masks: MaskKind,
    /// Who masks once more, against the objective.
    pub adversary: Option<Adversarial>,
    /// Where parameters start.
    pub init: Init,
}

impl Default for Settings {
    /// As published where that holds for every prompt.
    fn default() -> Self {
        Self {
            steps: 400,
            learning_rate: 0.01,
            schedule: Schedule::Constant,
            loss_weight: 1.0,
            pnorm: Pnorm::constant(0.3),
            beta: 0.0,
            masks: MaskKind::Stochastic,
            adversary: None,
            init: Init::Model,
        }
    }
}

impl Settings {
    /// Whether all seeds give the same.
    pub fn draws_nothing(&self) -> bool {
        self.masks == MaskKind::Ci && self.adversary.is_none() && self.init == Init::Model
    }
}

/// What components are masked by while importances are optimised. `g` is the causal importance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MaskKind {
    /// `g`, and no delta.
    Ci,
    /// `g + (1 - g) u` for every component, alive or not, and the delta by a number for each position of each layer, all drawn
    /// anew in every step, evenly from 0 to 1.
    #[default]
    Stochastic,
}

/// An adversary as a part of what is optimised.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adversarial {
    /// Who it is.
    pub adversary: Adversary,
    /// What the loss under its masks is multiplied by.
    pub weight: f64,
}

/// Where parameters start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Init {
    /// What the model's causal-importance function gives before its sigmoid.
    #[default]
    Model,
    /// Drawn evenly from 0 to 1.
    Random,
}
