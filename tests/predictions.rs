//! What the target model predicts and how far a set's masked model is from it, against two models written separately.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;

use proptest::prelude::*;
use tributary_backend::AttributionBackend;
use tributary_engine::{Model, Request, Sets, attribute};
use tributary_model::{
    Array, CausalImportances, CiNetwork, CiSet, Components, Layer, Role, SetAttributions, Thresholds, Weights,
};
use tributary_testing::config;
use tributary_tests::direct::Direct;
use tributary_tests::naive::NaiveBackend;
use tributary_tests::random_case::{CI_THRESHOLD, shapes, target_of};

const THRESHOLDS: Thresholds = Thresholds { ci: CI_THRESHOLD, output_prob: 0.15, ..Thresholds::MASKED };

fn run(weights: &Weights, sets: &[CiSet]) -> Vec<SetAttributions<f64>> {
    let model = Model::upload(NaiveBackend, weights.clone()).unwrap();
    attribute(
        &model,
        &Request { thresholds: THRESHOLDS, method: model.fastest_method(), ..Request::new(Sets::Given(sets)) },
        &mut |_| {},
    )
    .unwrap()
    .sets
}

/// Probabilities of every token at every position.
fn probs(weights: &Weights, set: &CiSet) -> Vec<Vec<f64>> {
    let logits = &Direct { weights, set }.run(&BTreeMap::new()).pre[&Layer::output()];
    let vocab = NaiveBackend.shape(logits)[1];
    let softmax = |logits: &[f64]| {
        let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let exponentials: Vec<f64> = logits.iter().map(|logit| (logit - largest).exp()).collect();
        let sum: f64 = exponentials.iter().sum();
        exponentials.iter().map(|exponential| exponential / sum).collect()
    };
    NaiveBackend.download(logits).unwrap().chunks(vocab).map(softmax).collect()
}

/// Logits are float64 and a few hundred operations deep, in which a norm may divide by as little as sqrt(eps) = 1e-3; a
/// probability moves by as much as its logit.
fn close(found: f64, expected: f64) -> bool {
    (found - expected).abs() <= 1e-9 * (1.0 + expected.abs())
}

proptest! {
    #![proptest_config(config(48))]

    #[test]
    fn predictions_are_those_of_both_models(shape in shapes()) {
        // All layers decomposed, or some.
        let is_decomposed = |i: usize| shape.seed.is_multiple_of(2) || shape.seed >> (i + 1) & 1 == 1;
        let layers = shape.architecture().linear.into_iter().enumerate().filter(|&(i, _)| is_decomposed(i));
        let weights = shape.model_decomposed_at(&layers.map(|(_, linear)| linear.layer).collect());
        let sets = shape.ci_sets(&weights);
        for (set, graph) in sets.iter().zip(&run(&weights, &sets)) {
            let prediction = graph.prediction.as_ref().unwrap();
            let (target, masked) = (probs(&target_of(&weights), set), probs(&weights, set));
            let nodes = &graph.nodes[&Layer::output()].alive;
            prop_assert_eq!(nodes.len(), prediction.target_prob.len());
            for ((position, token), &found) in nodes.iter().zip(&prediction.target_prob) {
                prop_assert!(close(found, target[position][token]), "{} {}", found, target[position][token]);
            }
            prop_assert_eq!(prediction.kl.len(), shape.positions);
            for position in 0..shape.positions {
                let (p, q) = (&target[position], &masked[position]);
                let kl: f64 = p.iter().zip(q).map(|(p, q)| p * (p / q).ln()).sum();
                prop_assert!(close(prediction.kl[position], kl), "{} {}", prediction.kl[position], kl);
                // Equals within rounding may stand in either order.
                let own = prediction.likeliest[position] as usize;
                prop_assert!(q.iter().all(|&other| other <= q[own] + 1e-9), "{} of {:?}", own, q);
                let mut sorted = p.clone();
                sorted.sort_by(|a, b| b.total_cmp(a));
                let likeliest = &prediction.target_likeliest[position];
                prop_assert_eq!(likeliest.len(), p.len().min(5));
                for (entry, expected) in likeliest.iter().zip(sorted) {
                    prop_assert!(close(entry.prob, expected) && close(entry.prob, p[entry.token as usize]));
                }
            }
        }
    }

    /// Where components are the weights themselves and all of them are there, both models are one.
    #[test]
    fn nothing_diverges_where_nothing_is_masked(shape in shapes()) {
        let mut weights = shape.model();
        let (linear, wte) = (weights.linear.clone(), weights.wte.clone());
        let lm_head = weights.lm_head.clone().unwrap_or_else(|| wte.clone());
        for (layer, decomposed) in &mut weights.decomposed {
            *decomposed = match layer.role() {
                Role::TokenEmbedding => Components { v: identity(wte.shape[0]), u: wte.clone() },
                Role::Unembedding => exact(&lm_head),
                _ => exact(&linear[layer].weight),
            };
        }
        // That of the model was made for other numbers of components.
        weights.ci_function.network = CiNetwork::Unknown { reason: String::new() };
        let mut set = shape.ci_sets(&weights).swap_remove(0);
        for ci in set.layers.values_mut() {
            *ci = CausalImportances::from_dense(ci.components(), &vec![1.0; ci.positions() * ci.components()]);
        }
        let graph = run(&weights, &[set]).swap_remove(0);
        let prediction = graph.prediction.as_ref().unwrap();
        // Some hundred roundings of 1e-16 of logits that a norm may have made a thousand times larger.
        prop_assert!(prediction.kl.iter().all(|&kl| kl <= 1e-9), "{:?}", prediction.kl);
        for (&target, &masked) in prediction.target_prob.iter().zip(&graph.nodes[&Layer::output()].importance) {
            prop_assert!(close(masked, target), "{} {}", masked, target);
        }
        let found = graph.faithfulness(|&value| value as f32).unwrap();
        prop_assert!(!found.is_far() && found.far_outputs == 0, "{:?}", found);
    }
}

/// The decomposition whose components are the outputs of a layer: `V` is the weight, `U` the identity.
fn exact(weight: &Array) -> Components {
    Components { v: weight.transposed(), u: identity(weight.shape[0]) }
}

fn identity(width: usize) -> Array {
    let values = (0..width * width).map(|at| f32::from(u8::from(at % (width + 1) == 0)));
    Array::new([width, width], values.collect())
}
