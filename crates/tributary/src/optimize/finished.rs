//! Whether a file holds what is asked for, made to its end.

use serde_json::{Map, Value};
use tributary_inputs::CiSetFile;
use tributary_model::CiSet;
use tributary_optimize::Metrics;

use super::asked::AskedSet;
use super::metadata::{self, CURVE, FAILED, METRICS, STEP};
use super::optimized::OptimizedSet;
use super::recorded_curve::RecordedCurve;
use super::request::Optimization;

/// The sets of a file, if they are those that are asked for, all of them made to their ends.
pub(super) fn finished(file: &CiSetFile, sets: &[AskedSet<'_>], asked: &Optimization) -> Option<Vec<OptimizedSet>> {
    let mut there = file.sets.iter();
    let mut found = Vec::new();
    for set in sets {
        let mut next = |name: String| {
            let CiSet { name: of_file, prompt, .. } = there.next()?;
            let metadata = file.metadata.get(of_file)?.as_object()?;
            let is_same = name == *of_file && prompt.tokens == set.task.prompt.tokens;
            (is_same && is_of(metadata, &set.metadata)).then_some(metadata)
        };
        let own = file.metadata.get(&set.name)?.as_object()?;
        let failed = number(own, FAILED);
        let reached = failed.unwrap_or(asked.settings.steps);
        for step in asked.snapshots_in_order().into_iter().filter(|&step| step <= reached) {
            let snapshot = next(metadata::snapshot_name(&set.name, step))?;
            (number(snapshot, STEP) == Some(step)).then_some(())?;
        }
        let own = next(set.name.clone())?;
        // What an interrupted run reached says so.
        (number(own, STEP) == failed).then_some(())?;
        let curve: RecordedCurve = serde_json::from_value(own.get(CURVE)?.clone()).ok()?;
        let metrics: Metrics = serde_json::from_value(own.get(METRICS)?.clone()).ok()?;
        curve.is_whole().then_some(())?;
        found.push(OptimizedSet { step: reached, metrics: Some(metrics), failed, curve, ..set.begun() });
    }
    there.next().is_none().then_some(found)
}

/// Whether metadata are of a set that was asked for so.
fn is_of(metadata: &Map<String, Value>, asked: &Map<String, Value>) -> bool {
    let is_asked = |(key, _): &(&String, &Value)| !metadata::OF_RESULT.contains(&key.as_str());
    metadata.iter().filter(is_asked).count() == asked.len()
        && asked.iter().all(|(key, value)| metadata.get(key) == Some(value))
}

fn number(metadata: &Map<String, Value>, key: &str) -> Option<usize> {
    usize::try_from(metadata.get(key)?.as_u64()?).ok()
}
