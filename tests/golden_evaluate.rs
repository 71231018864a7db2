//! What becomes of a prediction when nodes are kept, on every backend, against numbers of the published code.

#![allow(clippy::print_stdout, reason = "what was measured, for who asks with --nocapture")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use serde_json::Value;
use tributary_backend::{AttributionBackend, BackendError, Dtype};
use tributary_engine::{Model, own_importances};
use tributary_inputs::{RunOptions, TrainedRun};
use tributary_model::{AliveEntries, Layer, Prompt};
use tributary_optimize::{Adversary, Entries, Evaluated, Kept, Trials, evaluate, target_log_probs};
use tributary_tests::backends::open_or_skip;
use tributary_tests::on_every_backend;

const SELECTIONS: [&str; 4] = ["all", "top_half_into_label", "top_half_outgoing", "empty"];

fn tests() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap()
}

fn index(value: &Value) -> usize {
    value.as_u64().unwrap() as usize
}

/// Nodes `[layer, position, component, ...]`, each with its last number.
fn nodes(weights: &tributary_model::Weights, nodes: &Value, positions: usize) -> (Entries, Vec<f64>) {
    let mut layers: BTreeMap<Layer, BTreeMap<(usize, usize), f64>> = BTreeMap::new();
    let named: BTreeMap<String, Layer> =
        weights.component_counts().keys().map(|&layer| (layer.to_string(), layer)).collect();
    for node in nodes.as_array().unwrap() {
        let value = node.get(3).map_or(1.0, number);
        let entry = (index(&node[1]), index(&node[2]));
        layers.entry(named[node[0].as_str().unwrap()]).or_default().insert(entry, value);
    }
    let values = layers.values().flat_map(BTreeMap::values).copied().collect();
    let entries = layers.into_iter().map(|(layer, entries)| {
        let is_among = |position, component| entries.contains_key(&(position, component));
        (layer, AliveEntries::collect(positions, weights.component_counts()[&layer], is_among))
    });
    (Entries::new(entries.collect(), positions), values)
}

/// Evaluates the reference's selections; with the causal importances as masks, too.
fn evaluated<B: AttributionBackend>(backend: B, trials: Trials) -> (Value, Vec<Evaluated>, Vec<Evaluated>) {
    let reference = tests().join("golden_evaluate/llama-3L-global/israel_ce_0.02.json");
    let reference: Value = serde_json::from_slice(&fs::read(reference).unwrap()).unwrap();
    let run = TrainedRun::load(&tests().join("models/llama-3L-global"), &RunOptions::default()).unwrap();
    let tokens: Vec<u64> = reference["tokens"].as_array().unwrap().iter().map(|token| index(token) as u64).collect();
    let prompt: Prompt = run.prompt_of_tokens(&tokens).unwrap();
    let positions = tokens.len();
    let (all, importances) = nodes(&run.weights, &reference["all"], positions);
    let selected: Vec<Entries> =
        SELECTIONS[1..].iter().map(|name| nodes(&run.weights, &reference["selections"][*name], positions).0).collect();
    let model = Model::upload(backend, run.weights).unwrap();
    let own = own_importances(&model, &[&prompt]).unwrap().remove(0);
    let own = Arc::new(Entries::alive(&own.importances, positions));
    let target: Arc<[Vec<f64>]> = target_log_probs(&model, &prompt, 0..positions).unwrap().into();
    let kept = |nodes: &Entries, factors: Vec<f64>| Kept {
        prompt: &prompt,
        left_out: Arc::new(all.without(nodes)),
        nodes: Arc::new(nodes.clone()),
        factors,
        own: Arc::clone(&own),
        label: index(&reference["label_token"]),
        position: index(&reference["position"]),
        target: Arc::clone(&target),
    };
    let selections: Vec<&Entries> = std::iter::once(&all).chain(&selected).collect();
    let binary: Vec<Kept<'_>> = selections.iter().map(|nodes| kept(nodes, vec![1.0; nodes.len()])).collect();
    let by_ci: Vec<Kept<'_>> = selections
        .iter()
        .map(|nodes| {
            let of_all = all.iter().zip(&importances).collect::<BTreeMap<_, _>>();
            kept(nodes, nodes.iter().map(|node| *of_all[&node]).collect())
        })
        .collect();
    let few = Trials { draws: 1, restarts: 1, ..trials };
    let found = (evaluate(&model, &binary, trials).unwrap(), evaluate(&model, &by_ci, few).unwrap());
    (reference, found.0, found.1)
}

fn is_what_the_reference_says<B: AttributionBackend>(open: impl Fn() -> Result<B, BackendError>) {
    let Some(backend) = open_or_skip("the reference's evaluation", open) else { return };
    let info = backend.device();
    // Numbers are at most some tens; in float32 a probability of a small one is off by some roundings of its logit.
    let most = if info.dtype == Dtype::F64 { 1e-6 } else { 1e-4 };
    let adversary = Adversary { steps: 1, step_size: 1.0 };
    let (reference, binary, by_ci) = evaluated(backend, Trials { draws: 1, adversary, restarts: 1, seed: 0 });
    let mut farthest = 0.0_f64;
    let mut near = |found: f64, expected: &Value, what: String| {
        let apart = (found - number(expected)).abs();
        farthest = farthest.max(apart);
        assert!(apart <= most, "{what}: {found}, not {expected}");
    };
    for ((name, found), by_ci) in SELECTIONS.iter().zip(&binary).zip(&by_ci) {
        let expected = &reference["results"][*name];
        for (regime, found) in [("ci", &found.ci), ("ablated", &found.ablated)] {
            near(found.label_prob, &expected[regime]["label_prob"], format!("{name} {regime} label_prob"));
            near(found.kl, &expected[regime]["kl"], format!("{name} {regime} kl"));
            near(found.kl_mean, &expected[regime]["kl_mean_positions"], format!("{name} {regime} kl_mean"));
        }
        near(found.target.label_prob, &reference["target"]["label_prob"], format!("{name} target"));
        assert_eq!((found.target.kl, found.target.kl_mean), (0.0, 0.0));
        near(by_ci.ci.label_prob, &expected["ci_values_as_mask"]["label_prob"], format!("{name} by CI label_prob"));
        near(by_ci.ci.kl, &expected["ci_values_as_mask"]["kl"], format!("{name} by CI kl"));
        assert!((found.ci.top[0].1 - found.ci.label_prob).abs() < 1e-12 || found.ci.top[0].1 > found.ci.label_prob);
    }
    println!("{} {}: at most {farthest:e} off", info.backend, info.dtype);
}

on_every_backend!([is_what_the_reference_says]);

/// What is drawn, in the mean.
#[test]
fn what_is_drawn_is_what_the_reference_says() {
    let adversary = Adversary { steps: 4, step_size: 1.0 };
    let trials = Trials { draws: 400, adversary, restarts: 40, seed: 0 };
    let (reference, found, _) = evaluated(tributary_flex::f32(), trials);
    for (name, found) in SELECTIONS.iter().zip(&found) {
        let expected = &reference["results"][*name];
        let (stochastic, adversarial) = (&found.stochastic, &found.adversarial);
        let regimes = [
            ("stochastic", "label_prob", stochastic.label_prob),
            ("stochastic", "kl", stochastic.kl),
            ("adversarial", "label_prob", adversarial.label_prob),
            ("adversarial", "kl", adversarial.kl),
            ("adversarial", "label_prob_dead_at_zero", found.adversarial_dead_at_zero.label_prob),
        ];
        for (regime, what, found) in regimes {
            let expected = &expected[regime][what];
            let (mean, error) = (number(&expected["mean"]), number(&expected["standard_error"]));
            // Both are means of draws; four standard errors of their difference.
            let most = 4.0 * error.hypot(found.standard_error);
            println!("{name} {regime} {what}: {} +- {} against {mean} +- {error}", found.mean, found.standard_error);
            assert!((found.mean - mean).abs() <= most, "{name} {regime} {what}: {} against {mean}", found.mean);
        }
    }
}
