//! What is asked of the engine, and what it says while at work.

use std::collections::BTreeMap;

use tributary_backend::{AttributionBackend, Dtype};

use crate::{AliveEntries, CiSet, Layer, Model, Prompt, closed_form};

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The CI sets.
    pub sets: Sets<'a>,
    /// What is alive.
    pub thresholds: Thresholds,
    /// How attributions are computed.
    pub method: Method,
    /// Bytes of memory that may be taken beside the model, the CI sets themselves included; `None` for any number. Sets
    /// that do not fit together are computed one after the other.
    pub max_memory: Option<u64>,
}

/// Where the CI sets come from.
#[derive(Clone, Copy, Debug)]
pub enum Sets<'a> {
    /// Sets that were read or made elsewhere.
    Given(&'a [CiSet]),
    /// The model's own causal importances on each prompt, as sets named `prompt_0`, `prompt_1`, ...
    ModelCi(&'a [Prompt]),
}

impl Sets<'_> {
    /// Number of sets.
    pub fn len(&self) -> usize {
        match self {
            Self::Given(sets) => sets.len(),
            Self::ModelCi(prompts) => prompts.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What makes an entry alive.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Thresholds {
    /// Least causal importance of an alive component. Compared in f32, the type of causal importances.
    pub ci: f64,
    /// Least probability of an alive output token. Compared in the backend's element type.
    pub output_prob: f64,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self { ci: 1e-6, output_prob: 0.1 }
    }
}

impl Thresholds {
    /// How far causal importances and probabilities that are computed in `dtype` may be off: what lies nearer to its
    /// threshold is [borderline](crate::Borderline).
    ///
    /// Both are numbers from 0 to 1 that come out of sums of some hundred terms of order 1, some ten layers deep, each
    /// rounded: 256 units in the last place of 1, or 3e-5 in f32. Golden results differ by 6e-7 at most.
    pub fn margin(dtype: Dtype) -> f64 {
        256.0 * dtype.epsilon()
    }
}

/// Entries of target layers, by layer, to which attributions are wanted; a layer that is not named has none.
pub type Targets = BTreeMap<Layer, AliveEntries>;

/// How attributions are computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// The backend's automatic differentiation: works for every model, and is what other methods are checked against.
    Autograd,
    /// The gradients written out: one pass, no differentiation. For models whose every linear layer is decomposed.
    ClosedForm,
}

impl Method {
    /// The fastest method that covers a model.
    pub fn fastest<B: AttributionBackend>(model: &Model<B>) -> Self {
        if closed_form::uncovered(model).is_none() { Self::ClosedForm } else { Self::Autograd }
    }

    /// Name of the method, as users choose it and results record it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Autograd => "autograd",
            Self::ClosedForm => "closed-form",
        }
    }
}

/// What the engine is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The model's own causal importances on prompt number `done + 1`.
    ModelCi {
        /// Prompts finished.
        done: usize,
        /// Prompts in all.
        prompts: usize,
    },
    /// The masked forward pass of batch number `done + 1`.
    Forward {
        /// Batches finished.
        done: usize,
        /// Batches in all: at least one for each prompt length, and more where memory asks for it.
        batches: usize,
    },
    /// Backward passes of the current batch.
    Backward {
        /// Passes finished.
        done: usize,
        /// Passes in all.
        passes: usize,
    },
}
