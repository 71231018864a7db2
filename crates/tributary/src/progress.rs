//! What a session says while at work.

use std::path::Path;

use tributary_engine as engine;

/// What is being done.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Progress<'a> {
    /// A trained run and its inputs are read.
    Reading(&'a Path),
    /// The engine is at work.
    Engine(engine::Progress),
    /// A CI set is evaluated, number `done + 1`.
    Evaluating {
        /// Name of the set.
        set: &'a str,
        /// Sets finished.
        done: usize,
        /// Sets in all.
        sets: usize,
    },
    /// CI sets are made; an update is done.
    Optimizing(&'a BatchStep),
    /// Edges are drawn from a result.
    Drawing(&'a Path),
    /// A result is moved into its folder.
    Finishing(&'a Path),
    /// What was taken of the inputs but is worth knowing: a sentence.
    Note(&'a str),
}

/// Is told what is being done. It is called on a thread of the pool.
pub type OnProgress<'a> = dyn FnMut(Progress<'_>) + Send + 'a;

/// How far a set has come.
#[derive(Clone, Debug, PartialEq)]
pub struct SetStep {
    /// Name of the set.
    pub name: String,
    /// What is optimised, before the last update.
    pub total: f64,
    /// Number of components alive, a mean over the positions, summed over layers.
    pub l0: f64,
    /// Probability of the label under the masks, before the last update.
    pub label_prob: f64,
}

/// How far a batch of sets has come.
#[derive(Clone, Debug, PartialEq)]
pub struct BatchStep {
    /// Number of the batch, from 0.
    pub batch: usize,
    /// Number of batches.
    pub batches: usize,
    /// Updates made.
    pub step: usize,
    /// Updates that are asked for.
    pub steps: usize,
    /// The sets of the batch.
    pub sets: Vec<SetStep>,
}
