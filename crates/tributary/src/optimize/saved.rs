//! What a run needs to go on from where it ended.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tributary_files::{FilesError, input};
use tributary_optimize::{Metrics, SetState, Settings};
use tributary_results::ResultError;

use super::asked::AskedSet;
use super::request::Optimization;
use crate::Error;

/// More than what a run of any size leaves.
const LARGEST: u64 = 1 << 34;

/// Names the format of the file.
const FORMAT: &str = "tributary-optimize-2";

/// How any such file begins.
const BEGINNING: &str = "{\"format\":\"tributary-optimize-";

/// How far a set has come.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SavedSet {
    name: String,
    tokens: Vec<u32>,
    /// Its metadata as asked for.
    asked: Map<String, Value>,
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
    /// The numbers of updates after which snapshots are asked for, ascending.
    snapshots: Vec<usize>,
    /// The name of the file that was written beside that of the sets, in the same folder.
    pub(super) beside: Option<PathBuf>,
    sets: Vec<SavedSet>,
}

/// What a file of any version says.
#[derive(Deserialize)]
struct Format {
    format: String,
}

impl SavedSet {
    /// Of a set before its first step.
    pub(super) fn new(set: &AskedSet<'_>, settings: &Settings) -> Self {
        Self {
            name: set.name.clone(),
            tokens: set.task.prompt.tokens.clone(),
            asked: set.metadata.clone(),
            state: SetState::start(&set.task, settings),
            snapshots: Vec::new(),
            metrics: None,
        }
    }

    /// Updates made.
    pub(super) fn step(&self) -> usize {
        self.state.updates()
    }

    /// Whether nothing becomes of it any more.
    pub(super) fn is_done(&self, settings: &Settings) -> bool {
        self.step() >= settings.steps || self.state.failed.is_some()
    }

    /// Keeps what it is after some updates; one whose loss was no number did not get there.
    pub(super) fn keep(&mut self, step: usize, state: &SetState) {
        if state.failed.is_none() {
            self.snapshots.push(Snapshot { step, parameters: state.parameters.clone() });
        }
    }

    pub(super) fn reach(&mut self, state: SetState, metrics: Metrics) {
        (self.state, self.metrics) = (state, Some(metrics));
    }

    /// Why it is not what has become of a set so far.
    fn differs(&self, set: &AskedSet<'_>, asked: &Optimization) -> Option<String> {
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
        let kept = self.snapshots.iter().map(|snapshot| snapshot.step);
        let is_whole = self.state.is_sound(set.task.entries.len(), asked.settings.steps)
            && kept.eq(asked.snapshots_in_order().into_iter().filter(|&step| step <= self.step()))
            && self.snapshots.iter().all(|snapshot| {
                snapshot.parameters.len() == set.task.entries.len()
                    && snapshot.parameters.iter().all(|parameter| parameter.is_finite())
            });
        (!is_whole).then(|| "it does not hold what its own numbers say".to_owned())
    }
}

impl Saved {
    pub(super) fn of(sets: &[SavedSet], asked: &Optimization, beside: Option<&Path>) -> Self {
        Self {
            format: FORMAT.to_owned(),
            snapshots: asked.snapshots_in_order(),
            beside: beside.map(Path::to_owned),
            sets: sets.to_vec(),
        }
    }

    /// Whether a file is what an interrupted run left, in any state.
    pub(super) fn is_one(path: &Path) -> Result<bool, FilesError> {
        let mut found = Vec::new();
        let read = input::open(path)?.take(BEGINNING.len() as u64).read_to_end(&mut found);
        read.map_err(FilesError::io("read", path))?;
        Ok(found == BEGINNING.as_bytes())
    }

    /// Reads a file.
    pub(super) fn read(path: &Path) -> Result<Self, Error> {
        let text = input::read(path, "what a run goes on from", LARGEST).map_err(ResultError::from)?;
        let fail = |problem: String| Error::Resume { file: path.to_owned(), problem };
        let format: Format = serde_json::from_slice(&text).map_err(|error| fail(format!("it is damaged: {error}")))?;
        if format.format != FORMAT {
            let problem = format!("its format is {:?}, of another version; expected {FORMAT:?}", format.format);
            return Err(fail(problem));
        }
        serde_json::from_slice(&text).map_err(|error| fail(format!("it is damaged: {error}")))
    }

    /// How far the sets have come that are asked for; `path` is where this is from.
    pub(super) fn of_asked(
        self,
        path: &Path,
        sets: &[AskedSet<'_>],
        asked: &Optimization,
    ) -> Result<Vec<SavedSet>, Error> {
        let fail = |problem: String| Err(Error::Resume { file: path.to_owned(), problem });
        let names = |names: Vec<&str>| names.join(", ");
        if !self.sets.iter().map(|set| &set.name).eq(sets.iter().map(|set| &set.name)) {
            let (was, is) = (
                names(self.sets.iter().map(|set| set.name.as_str()).collect()),
                names(sets.iter().map(|set| set.name.as_str()).collect()),
            );
            return fail(format!("it is of the sets {was}; {is} are asked for now"));
        }
        if self.snapshots != asked.snapshots_in_order() {
            let (was, is) = (&self.snapshots, asked.snapshots_in_order());
            return fail(format!("it was begun with snapshots {was:?}, and {is:?} are asked for now"));
        }
        for (saved, set) in self.sets.iter().zip(sets) {
            if let Some(problem) = saved.differs(set, asked) {
                return fail(format!("set {:?}: {problem}", set.name));
            }
        }
        Ok(self.sets)
    }
}
