//! CI sets made for prompts: from a run and a request to a file.

mod asked;
mod ci_file;
mod context;
mod finished;
mod metadata;
mod optimized;
mod plan;
mod recorded_curve;
mod request;
mod saved;

use std::collections::BTreeMap;

use tributary_backend::{AttributionBackend, Providers, Work};
use tributary_engine::Model;
use tributary_inputs::TrainedRun;
use tributary_model::{CausalImportances, CiSet, Layer};
use tributary_optimize::{Entries, Optimizer, SetState, Task, sigmoid};

use crate::sets::InputSets;
use crate::{BatchStep, Error, OnProgress, Progress, SetStep, memory, on_backend};
use asked::AskedSet;
use ci_file::CiFile;
use context::Context;
use finished::finished;
use plan::groups;
use saved::SavedSet;

pub use ci_file::CiDestination;
pub use optimized::{Optimized, OptimizedSet};
pub use recorded_curve::RecordedCurve;
pub use request::Optimization;

/// Makes CI sets on a backend of `L` and writes them to a file, which appears whole or not at all.
///
/// While `goes_on` holds: when it does not any more, what is reached is written, and beside it what a run needs to go on from
/// there. Where the loss of a set is no number, the others are made all the same: [`Optimized::failure`] tells of it.
pub fn optimize<L: Providers>(
    asked: &Optimization,
    destination: CiDestination<'_>,
    on_progress: &mut OnProgress<'_>,
    goes_on: &(dyn Fn() -> bool + Sync),
) -> Result<Optimized, Error> {
    make_ci_sets::<L>(asked, destination, on_progress, goes_on)?.commit(None)
}

/// As [`optimize`], but for putting the files into place, for who has another to add to them.
pub fn make_ci_sets<'a, L: Providers>(
    asked: &Optimization,
    destination: CiDestination<'a>,
    on_progress: &mut OnProgress<'_>,
    goes_on: &(dyn Fn() -> bool + Sync),
) -> Result<PendingCiSets<'a>, Error> {
    asked.check()?;
    let file = CiFile::begin(destination)?;
    on_backend::<L, _, _, _>(&asked.compute, Make { asked, file, on_progress, goes_on })
}

/// Sets that were made, written and not yet in place. Dropped, everything is as it was.
pub struct PendingCiSets<'a> {
    optimized: Optimized,
    file: CiFile<'a>,
}

impl PendingCiSets<'_> {
    /// What has become of them.
    pub fn optimized(&self) -> &Optimized {
        &self.optimized
    }

    /// Puts the files into place, together with the one [beside](CiDestination::beside) them, if this is what is in it.
    pub fn commit(self, beside: Option<&[u8]>) -> Result<Optimized, Error> {
        self.file.commit(beside)?;
        Ok(self.optimized)
    }
}

struct Make<'a, 'f, 'p> {
    asked: &'a Optimization,
    file: CiFile<'f>,
    on_progress: &'a mut OnProgress<'p>,
    goes_on: &'a (dyn Fn() -> bool + Sync),
}

impl<'f> Work for Make<'_, 'f, '_> {
    type Output = Result<PendingCiSets<'f>, Error>;

    fn run<B: AttributionBackend>(self, backend: B) -> Self::Output {
        let Self { asked, mut file, on_progress, goes_on } = self;
        let run = asked.run.open(on_progress)?;
        let prompts = InputSets::prompts(&asked.input, &run, &mut |text| on_progress(Progress::Note(text)))?;
        let there = file.finished(&run)?;
        let TrainedRun { fingerprint, tokenizer, weights, .. } = run;
        let model = Model::upload(backend, weights)?;
        let info = model.backend().device();
        let context = Context { asked, fingerprint: &fingerprint, tokenizer: &tokenizer, device: &info };
        let sets = AskedSet::all(&context, &model, &prompts, &mut |text| on_progress(Progress::Note(text)))?;
        if let Some(there) = there {
            let sets = finished(&there, &sets, asked).ok_or_else(|| file.is_there())?;
            let optimized = Optimized { sets, is_complete: true, was_complete: true };
            return Ok(PendingCiSets { optimized, file });
        }
        let mut saved = file.read_saved(&sets, asked)?;
        let tasks: Vec<Task<'_>> = sets.iter().map(|set| set.task.clone()).collect();
        let allowed = memory::allowed(asked.max_memory);
        let batches = groups(&model, &tasks, &saved, &asked.settings, allowed)?;
        let steps = asked.settings.steps;
        for (batch, members) in batches.iter().enumerate() {
            let of_batch: Vec<Task<'_>> = members.iter().map(|&set| tasks[set].clone()).collect();
            let step = saved[members[0]].step();
            let states = members.iter().map(|&set| saved[set].state.clone()).collect();
            let mut optimizer = Optimizer::resume(&model, asked.settings.clone(), &of_batch, states, step)?;
            while !optimizer.is_done() && goes_on() {
                optimizer.advance()?;
                if asked.snapshots.contains(&optimizer.step()) {
                    for (&set, state) in members.iter().zip(optimizer.states()) {
                        saved[set].keep(optimizer.step(), state);
                    }
                }
                let of_set = |(&set, state): (&usize, &SetState)| {
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
                saved[set].reach(state.clone(), metrics);
            }
            if !goes_on() {
                break;
            }
        }
        let is_complete = saved.iter().all(|saved| saved.is_done(&asked.settings));
        on_progress(Progress::Finishing(file.path()));
        let written = written(&sets, &saved, model.component_counts(), steps);
        file.write(&written, (!is_complete).then_some((&saved, asked)))?;
        let of_set = |(asked, saved): (&AskedSet<'_>, &SavedSet)| OptimizedSet {
            step: saved.step(),
            metrics: saved.metrics,
            failed: saved.state.failed,
            curve: RecordedCurve::new(&saved.state.curve, sets.len()),
            ..asked.begun()
        };
        let optimized =
            Optimized { sets: sets.iter().zip(&saved).map(of_set).collect(), is_complete, was_complete: false };
        Ok(PendingCiSets { optimized, file })
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
            let name = metadata::snapshot_name(&set.name, snapshot.step);
            all.push((
                of(name, &snapshot.parameters),
                set.has_text,
                metadata::of_snapshot(&set.metadata, snapshot.step),
            ));
        }
        let reached = (saved.step() < steps).then_some(saved.step());
        let metadata = metadata::of_set(&set.metadata, reached, &saved.state, saved.metrics, sets.len());
        all.push((of(set.name.clone(), &saved.state.parameters), set.has_text, metadata));
    }
    all
}
