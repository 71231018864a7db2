//! What is asked of the engine, and what it says while at work.

use std::collections::BTreeMap;

use tributary_model::{AliveEntries, CiSet, Contrast, Layer, Prompt, Thresholds};

use crate::Method;

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The CI sets.
    pub sets: Sets<'a>,
    /// What is alive.
    pub thresholds: Thresholds,
    /// Where attributions are evaluated.
    pub forward: Forward,
    /// How attributions are computed.
    pub method: Method,
    /// Bytes of memory that may be taken beside the model, the CI sets themselves included; `None` for any number. Sets
    /// that do not fit together are computed one after the other.
    pub max_memory: Option<u64>,
    /// For each set the last position that takes part, where it is not the prompt's; empty where it is that of every prompt.
    pub until: &'a [Option<usize>],
    /// What of the output is alive whatever its probability.
    pub output: OutputEntries<'a>,
    /// Whether what is alive under the model's own causal importances is asked for beside given sets; those are not computed
    /// otherwise.
    pub ghosts: bool,
}

impl<'a> Request<'a> {
    /// All there is of these sets: with the thresholds and the method that hold where nothing else is said.
    pub fn new(sets: Sets<'a>) -> Self {
        Self {
            sets,
            thresholds: Thresholds::default(),
            forward: Forward::Masked,
            method: Method::Mixed,
            max_memory: None,
            until: &[],
            output: OutputEntries::default(),
            ghosts: true,
        }
    }
}

/// Entries of the output that are alive whatever their probability.
#[derive(Clone, Copy, Debug, Default)]
pub struct OutputEntries<'a> {
    /// Components of the output behind the tokens of the vocabulary.
    pub contrasts: &'a [Contrast],
    /// For each set the entries, (position, component), of which those after its last position take no part; empty for none in
    /// any set. Contrasts are alive nowhere else.
    pub of_sets: &'a [Vec<(usize, usize)>],
}

/// The activations at which attributions are evaluated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Forward {
    /// Those of the model that each set's causal importances mask, which are factors of the attributions.
    #[default]
    Masked,
    /// Those of the target model, the same for all sets of a prompt: causal importances say who is alive, and no more.
    Target(DeltaGradient),
}

/// What gradients do at what no component holds of a layer's weight, its delta `W - (V U)^T`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeltaGradient {
    /// They pass through it: a target depends on a source by way of the deltas of the layers between them.
    Through,
    /// They stop there.
    Stopped,
    /// One after the other, at the same activations.
    Both,
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

/// Entries of target layers, by layer, to which attributions are wanted; a layer that is not named has none.
pub type Targets = BTreeMap<Layer, AliveEntries>;

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
