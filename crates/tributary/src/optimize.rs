//! CI sets made for prompts: from a run and a request to a file.

mod asked;
mod ci_file;
mod context;
mod metadata;
mod plan;
mod request;
mod saved;

use std::collections::BTreeMap;

use tributary_backend::{AttributionBackend, Providers, Work};
use tributary_engine::Model;
use tributary_inputs::TrainedRun;
use tributary_model::{CausalImportances, CiSet, Layer};
use tributary_optimize::{Entries, Metrics, Optimizer, Task, sigmoid};

use crate::sets::InputSets;
use crate::{BatchStep, Error, OnProgress, Progress, SetStep, memory, on_backend};
use asked::AskedSet;
use ci_file::CiFile;
use context::Context;
use plan::groups;
use saved::{Saved, SavedSet};

pub use ci_file::CiDestination;
pub use request::Optimization;

/// A set that was made.
#[derive(Clone, Debug, PartialEq)]
pub struct OptimizedSet {
    /// Name of the set.
    pub name: String,
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
}

/// What has become of an optimisation.
#[derive(Clone, Debug, PartialEq)]
pub struct Optimized {
    /// The sets, without snapshots.
    pub sets: Vec<OptimizedSet>,
    /// Whether all steps are done.
    pub is_complete: bool,
}

/// Makes CI sets on a backend of `L` and writes them to a file, which appears whole or not at all.
///
/// While `goes_on` holds: when it does not any more, what is reached is written, and beside it what a run needs to go on from
/// there.
///
/// # Errors
///
/// What a user can do wrong; [`Error::LossNotFinite`] after everything is written, where the loss of a set was no number.
pub fn optimize<L: Providers>(
    asked: &Optimization,
    destination: CiDestination<'_>,
    on_progress: &mut OnProgress<'_>,
    goes_on: &(dyn Fn() -> bool + Sync),
) -> Result<Optimized, Error> {
    asked.check()?;
    let file = CiFile::begin(destination)?;
    let optimized = on_backend::<L, _, _, _>(&asked.compute, Make { asked, file, on_progress, goes_on })?;
    match optimized.sets.iter().find_map(|set| Some((set, set.failed?))) {
        Some((set, step)) => {
            Err(Error::LossNotFinite { set: set.name.clone(), step, file: destination.path.to_owned() })
        }
        None => Ok(optimized),
    }
}

struct Make<'a, 'p> {
    asked: &'a Optimization,
    file: CiFile<'a>,
    on_progress: &'a mut OnProgress<'p>,
    goes_on: &'a (dyn Fn() -> bool + Sync),
}

impl Work for Make<'_, '_> {
    type Output = Result<Optimized, Error>;

    fn run<B: AttributionBackend>(self, backend: B) -> Self::Output {
        let Self { asked, file, on_progress, goes_on } = self;
        let run = asked.run.open(on_progress)?;
        let prompts = InputSets::prompts(&asked.input, &run, &mut |text| on_progress(Progress::Note(text)))?;
        let TrainedRun { fingerprint, tokenizer, weights, .. } = run;
        let model = Model::upload(backend, weights)?;
        let info = model.backend().device();
        let context = Context { asked, fingerprint: &fingerprint, tokenizer: &tokenizer, device: &info };
        let sets = AskedSet::all(&context, &model, &prompts, &mut |text| on_progress(Progress::Note(text)))?;
        let mut saved = file.read_saved(&sets, &asked.settings)?;
        let tasks: Vec<Task<'_>> = sets.iter().map(|set| set.task.clone()).collect();
        let allowed = memory::allowed(asked.max_memory);
        let batches = groups(&model, &tasks, &saved, &asked.settings, allowed)?;
        let steps = asked.settings.steps;
        for (batch, members) in batches.iter().enumerate() {
            let of_batch: Vec<Task<'_>> = members.iter().map(|&set| tasks[set].clone()).collect();
            let step = saved[members[0]].step;
            let states = members.iter().map(|&set| saved[set].state.clone()).collect();
            let mut optimizer = Optimizer::resume(&model, asked.settings.clone(), &of_batch, states, step)?;
            while !optimizer.is_done() && goes_on() {
                optimizer.advance()?;
                if asked.snapshots.contains(&optimizer.step()) {
                    for (&set, state) in members.iter().zip(optimizer.states()) {
                        saved[set].keep(optimizer.step(), &state.parameters);
                    }
                }
                let of_set = |(&set, state): (&usize, &tributary_optimize::SetState)| {
                    let last = |values: &[f64]| values.last().copied().unwrap_or(f64::NAN);
                    SetStep {
                        name: sets[set].name.clone(),
                        total: last(&state.curve.total),
                        l0: last(&state.curve.l0),
                        label_prob: last(&state.curve.label_prob),
                    }
                };
                let of_sets = members.iter().zip(optimizer.states()).map(of_set).collect();
                let reached = BatchStep { batch, batches: batches.len(), step: optimizer.step(), steps, sets: of_sets };
                on_progress(Progress::Optimizing(&reached));
            }
            let metrics = optimizer.metrics()?;
            for ((&set, state), metrics) in members.iter().zip(optimizer.states()).zip(metrics) {
                saved[set].reach(optimizer.step(), state.clone(), metrics);
            }
            if !goes_on() {
                break;
            }
        }
        let is_complete = saved.iter().all(|saved| saved.step >= steps || saved.state.failed.is_some());
        on_progress(Progress::Finishing(file.path()));
        let written = written(&sets, &saved, model.component_counts(), steps);
        file.write(&written, (!is_complete).then(|| Saved::of(&saved)).as_ref())?;
        let of_set = |(asked, saved): (&AskedSet<'_>, &SavedSet)| OptimizedSet {
            name: asked.name.clone(),
            label: asked.label.clone(),
            position: asked.task.objective.position,
            entries: asked.task.entries.len(),
            step: saved.step,
            metrics: saved.metrics,
            failed: saved.state.failed,
        };
        Ok(Optimized { sets: sets.iter().zip(&saved).map(of_set).collect(), is_complete })
    }
}

/// The sets of a file, each with its snapshots before it.
fn written(
    sets: &[AskedSet<'_>],
    saved: &[SavedSet],
    components: &BTreeMap<Layer, usize>,
    steps: usize,
) -> Vec<(CiSet, bool, serde_json::Value)> {
    let importances = |entries: &Entries, parameters: &[f64]| -> BTreeMap<Layer, CausalImportances> {
        let values: Vec<f64> = parameters.iter().map(|&parameter| sigmoid::lower_leaky(parameter)).collect();
        entries.importances(&values, components)
    };
    let mut all = Vec::new();
    for (set, saved) in sets.iter().zip(saved) {
        let of = |name: String, parameters: &[f64]| CiSet {
            name,
            prompt: set.task.prompt.clone(),
            layers: importances(&set.task.entries, parameters),
        };
        for snapshot in &saved.snapshots {
            let name = format!("{}@{}", set.name, snapshot.step);
            all.push((
                of(name, &snapshot.parameters),
                set.has_text,
                metadata::of_snapshot(&set.metadata, snapshot.step),
            ));
        }
        let reached = (saved.step < steps).then_some(saved.step);
        let metadata = metadata::of_set(&set.metadata, reached, &saved.state, saved.metrics, sets.len());
        all.push((of(set.name.clone(), &saved.state.parameters), set.has_text, metadata));
    }
    all
}
