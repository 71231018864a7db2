//! What a run needs to go on from where it ended.

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tributary_optimize::{Metrics, SetState, Settings};

use super::asked::AskedSet;
use crate::Error;

/// Names the format of the file.
const FORMAT: &str = "tributary-optimize-1";

/// How far a set has come.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SavedSet {
    name: String,
    tokens: Vec<u32>,
    /// Its metadata as asked for.
    asked: Map<String, Value>,
    /// Updates made.
    pub(super) step: usize,
    pub(super) state: SetState,
    pub(super) snapshots: Vec<Snapshot>,
    pub(super) metrics: Option<Metrics>,
}

/// What a set was after some updates.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Snapshot {
    pub(super) step: usize,
    pub(super) parameters: Vec<f64>,
}

/// The file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Saved {
    format: String,
    sets: Vec<SavedSet>,
}

impl SavedSet {
    /// Of a set before its first step.
    pub(super) fn new(set: &AskedSet<'_>, settings: &Settings) -> Self {
        Self {
            name: set.name.clone(),
            tokens: set.task.prompt.tokens.clone(),
            asked: set.metadata.clone(),
            step: 0,
            state: SetState::start(&set.task, settings),
            snapshots: Vec::new(),
            metrics: None,
        }
    }

    pub(super) fn keep(&mut self, step: usize, parameters: &[f64]) {
        self.snapshots.push(Snapshot { step, parameters: parameters.to_vec() });
    }

    pub(super) fn reach(&mut self, step: usize, state: SetState, metrics: Metrics) {
        (self.step, self.state, self.metrics) = (step, state, Some(metrics));
    }

    /// Why it is not what has become of a set so far.
    fn differs(&self, set: &AskedSet<'_>) -> Option<String> {
        if self.tokens != set.task.prompt.tokens {
            return Some("it was begun on another prompt".to_owned());
        }
        let keys = self.asked.keys().chain(set.metadata.keys());
        let differing = keys.filter(|key| self.asked.get(*key) != set.metadata.get(*key));
        let said = |value: Option<&Value>| value.map_or_else(|| "nothing".to_owned(), Value::to_string);
        if let Some(key) = differing.into_iter().next() {
            let (was, is) = (said(self.asked.get(key)), said(set.metadata.get(key)));
            return Some(format!("it was begun with {key} {was}, and {is} is asked for now"));
        }
        let (count, curve) = (set.task.entries.len(), &self.state.curve);
        let of_entries = [&self.state.parameters, &self.state.adam.first, &self.state.adam.second];
        let kept = self.snapshots.iter().map(|snapshot| &snapshot.parameters);
        let is_whole = of_entries.into_iter().chain(kept).all(|values| values.len() == count)
            && [&curve.recon, &curve.imp_min, &curve.label_prob].iter().all(|part| part.len() == curve.total.len())
            && curve.l0.len() == if curve.total.is_empty() { 0 } else { curve.total.len() + 1 }
            && (curve.total.len() == self.step || self.state.failed == Some(curve.total.len()))
            && (curve.adversarial.len() == curve.total.len() || curve.adversarial.is_empty());
        (!is_whole).then(|| "it does not hold what its own numbers say".to_owned())
    }
}

impl Saved {
    pub(super) fn of(sets: &[SavedSet]) -> Self {
        Self { format: FORMAT.to_owned(), sets: sets.to_vec() }
    }

    /// Of a file's text, if it is of these sets.
    pub(super) fn read(file: &Path, text: &[u8], sets: &[AskedSet<'_>]) -> Result<Vec<SavedSet>, Error> {
        let fail = |problem: String| Error::Resume { file: file.to_owned(), problem };
        let saved: Self = serde_json::from_slice(text).map_err(|error| fail(format!("it is none: {error}")))?;
        if saved.format != FORMAT {
            return Err(fail(format!("its format is {:?}, expected {FORMAT:?}", saved.format)));
        }
        let names = |names: Vec<&str>| names.join(", ");
        if !saved.sets.iter().map(|set| &set.name).eq(sets.iter().map(|set| &set.name)) {
            let (was, is) = (
                names(saved.sets.iter().map(|set| set.name.as_str()).collect()),
                names(sets.iter().map(|set| set.name.as_str()).collect()),
            );
            return Err(fail(format!("it is of the sets {was}; {is} are asked for now")));
        }
        for (saved, set) in saved.sets.iter().zip(sets) {
            if let Some(problem) = saved.differs(set) {
                return Err(fail(format!("set {:?}: {problem}", set.name)));
            }
        }
        Ok(saved.sets)
    }
}
