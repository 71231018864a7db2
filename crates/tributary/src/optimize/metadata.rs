//! What is said of a set that was made: names are those of the command's flags, and of the field where it has one.

use serde_json::{Map, Value, json};
use tributary_optimize::{Loss, Metrics, Objective, SetState};

use super::context::Context;
use super::recorded_curve::RecordedCurve;
use crate::VERSION;

/// Updates made, where they are not all.
pub(super) const STEP: &str = "step";
/// The step, from 0, at which the loss was no number.
pub(super) const FAILED: &str = "loss_not_finite_at_step";
pub(super) const METRICS: &str = "metrics";
pub(super) const CURVE: &str = "curve";
/// What is said of what came out, and not of what was asked for.
pub(super) const OF_RESULT: [&str; 4] = [STEP, FAILED, METRICS, CURVE];

/// Everything that is needed to make a set again.
pub(super) fn asked(
    context: &Context<'_>,
    objective: &Objective,
    label: &str,
    sparsity: f64,
    seed: u64,
) -> Map<String, Value> {
    let (asked, settings) = (context.asked, &context.asked.settings);
    let mut metadata = Map::new();
    let mut say = |name: &str, value: Value| metadata.insert(name.to_owned(), value);
    say("label_token", json!(objective.label));
    say("label", json!(label));
    say("position", json!(objective.position));
    // Of a loss at one position nothing after it takes part.
    if objective.loss != Loss::MeanKl {
        say("until", json!(objective.position));
    }
    say("loss", json!(objective.loss.name()));
    if let Some(against) = objective.against {
        say("against_token", json!(against));
    }
    say("loss_weight", json!(settings.loss_weight));
    say("imp_min_coeff", json!(sparsity));
    say("seed", json!(seed));
    say("steps", json!(settings.steps));
    say("lr", json!(settings.learning_rate));
    say("schedule", json!(settings.schedule));
    say("pnorm", json!(settings.pnorm.initial));
    if settings.pnorm.is_annealed() {
        say("pnorm_final", json!(settings.pnorm.last));
        say("pnorm_anneal", json!([settings.pnorm.start, settings.pnorm.end]));
    }
    say("beta", json!(settings.beta));
    say("mask_type", json!(settings.masks));
    if let Some(adversarial) = settings.adversary {
        let (adversary, weight) = (adversarial.adversary, adversarial.weight);
        say("pgd", json!({ "n_steps": adversary.steps, "step_size": adversary.step_size, "weight": weight }));
    }
    say("init", json!(settings.init));
    say("dtype", json!(asked.compute.dtype.to_string()));
    say("backend", json!(context.device.backend));
    say("device", json!(context.device.device));
    if asked.compute.allow_tf32 {
        say("allow_tf32", json!(true));
    }
    say("model_fingerprint", json!(context.fingerprint.to_string()));
    say("tool_version", json!(VERSION));
    metadata
}

/// Name of what a set was after some updates.
pub(super) fn snapshot_name(set: &str, step: usize) -> String {
    format!("{set}@{step}")
}

/// Of what a set was after some updates, beside what it was asked for with.
pub(super) fn of_snapshot(asked: &Map<String, Value>, step: usize) -> Value {
    let mut metadata = asked.clone();
    metadata.insert(STEP.to_owned(), json!(step));
    Value::Object(metadata)
}

/// Of a set as it is in the end, or as `reached`; `sets` are in the file.
pub(super) fn of_set(
    asked: &Map<String, Value>,
    reached: Option<usize>,
    state: &SetState,
    metrics: Option<Metrics>,
    sets: usize,
) -> Value {
    let mut metadata = asked.clone();
    if let Some(step) = reached {
        metadata.insert(STEP.to_owned(), json!(step));
    }
    if let Some(step) = state.failed {
        metadata.insert(FAILED.to_owned(), json!(step));
    }
    if let Some(metrics) = metrics {
        metadata.insert(METRICS.to_owned(), json!(metrics));
    }
    metadata.insert(CURVE.to_owned(), json!(RecordedCurve::new(&state.curve, sets)));
    Value::Object(metadata)
}
