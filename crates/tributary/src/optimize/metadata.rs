//! What is said of a set that was made: names are those of the command's flags, and of the field where it has one.

use serde_json::{Map, Value, json};
use tributary_optimize::{Curve, Loss, Metrics, Objective, SetState};

use super::context::Context;
use crate::VERSION;

/// The most numbers that the curves of a file have together: a reader of CI sets takes a million values of metadata.
const POINTS: usize = 1 << 18;

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
    say("model_fingerprint", json!(context.fingerprint.to_string()));
    say("tool_version", json!(VERSION));
    metadata
}

/// Of what a set was after some updates, beside what it was asked for with.
pub(super) fn of_snapshot(asked: &Map<String, Value>, step: usize) -> Value {
    let mut metadata = asked.clone();
    metadata.insert("step".to_owned(), json!(step));
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
        metadata.insert("step".to_owned(), json!(step));
    }
    if let Some(step) = state.failed {
        metadata.insert("loss_not_finite_at_step".to_owned(), json!(step));
    }
    if let Some(metrics) = metrics {
        metadata.insert("metrics".to_owned(), json!(metrics));
    }
    metadata.insert("curve".to_owned(), curve(&state.curve, sets));
    Value::Object(metadata)
}

/// The curve at every step, or at every second, third and so on of long ones; L0 is that before the step's update.
fn curve(curve: &Curve, sets: usize) -> Value {
    let steps = curve.total.len();
    let columns = [
        ("recon", &curve.recon),
        ("imp_min", &curve.imp_min),
        ("adversarial", &curve.adversarial),
        ("total", &curve.total),
        ("l0", &curve.l0),
        ("label_prob", &curve.label_prob),
    ];
    let columns: Vec<_> = columns.into_iter().filter(|(_, values)| !values.is_empty()).collect();
    let stride = (steps * (columns.len() + 1) * sets).div_ceil(POINTS).max(1);
    let kept: Vec<usize> = (0..steps).step_by(stride).collect();
    let mut written = Map::new();
    written.insert("step".to_owned(), json!(kept));
    for (name, values) in columns {
        written.insert(name.to_owned(), kept.iter().map(|&step| json!(values[step])).collect());
    }
    Value::Object(written)
}
