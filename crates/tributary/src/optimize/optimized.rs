//! What has become of an optimisation.

use std::path::Path;

use tributary_optimize::Metrics;

use super::recorded_curve::RecordedCurve;
use crate::Error;

/// A set that was made.
#[derive(Clone, Debug, PartialEq)]
pub struct OptimizedSet {
    /// Name of the set.
    pub name: String,
    /// Number of its prompt, from 0.
    pub prompt: usize,
    /// What importance minimality is multiplied by.
    pub sparsity: f64,
    /// Its seed.
    pub seed: u64,
    /// Its label, as the vocabulary spells it.
    pub label: String,
    /// The position of the label.
    pub position: usize,
    /// Number of entries that may be alive.
    pub entries: usize,
    /// Updates made.
    pub step: usize,
    /// How it does; of one that was not begun nothing is known.
    pub metrics: Option<Metrics>,
    /// The step, from 0, at which its loss was no number; it is as it was then.
    pub failed: Option<usize>,
    /// How it went.
    pub curve: RecordedCurve,
}

/// What has become of an optimisation.
#[derive(Clone, Debug, PartialEq)]
pub struct Optimized {
    /// The sets, without snapshots.
    pub sets: Vec<OptimizedSet>,
    /// Whether all steps are done.
    pub is_complete: bool,
    /// Whether they were before: the file was there, and stays as it is.
    pub was_complete: bool,
}

impl Optimized {
    /// [`Error::LossNotFinite`] where the loss of a set was no number; `file` holds the sets.
    pub fn failure(&self, file: &Path) -> Option<Error> {
        let failed = self.sets.iter().find_map(|set| Some((set, set.failed?)));
        failed.map(|(set, step)| Error::LossNotFinite { set: set.name.clone(), step, file: file.to_owned() })
    }
}
