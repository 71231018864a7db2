//! The edge cases and tests that the plan of the published batched algorithm names.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::print_stdout, reason = "what was measured, for who asks with --nocapture")]

use std::collections::BTreeMap;
use std::sync::Arc;

use tributary_backend::AttributionBackend;
use tributary_engine::{Method, Model, Progress, Request, Sets, attribute};
use tributary_inputs::{RunOptions, TrainedRun};
use tributary_model::{CausalImportances, CiSet, Layer, Role, SetAttributions, Thresholds};
use tributary_tests::direct::Direct;
use tributary_tests::distance::Distance;
use tributary_tests::golden::GoldenCase;
use tributary_tests::naive::NaiveBackend;
use tributary_tests::random_case::{CI_THRESHOLD, Shape};

const THRESHOLDS: Thresholds = Thresholds { ci: CI_THRESHOLD, output_prob: 0.15, ..Thresholds::MASKED };

fn shape(sets: usize) -> Shape {
    Shape {
        llama: true,
        adjacent_pairs: false,
        biases: true,
        n_blocks: 2,
        n_kv_heads: 1,
        group: 2,
        half_head: 2,
        positions: 3,
        sets,
        seed: 11,
        ..Shape::SMALL
    }
}

/// One set gives what the unbatched algorithm gives: one backward pass per target entry, with a leading axis of one.
#[test]
fn one_set_is_the_unbatched_algorithm() {
    let shape = shape(1);
    let weights = shape.model();
    let set = &shape.ci_sets(&weights)[0];
    let model = Model::upload(NaiveBackend, weights.clone()).unwrap();
    let sets = Sets::Given(std::slice::from_ref(set));
    let result = attribute(
        &model,
        &Request { thresholds: THRESHOLDS, method: Method::Autograd, ..Request::new(sets) },
        &mut |_| {},
    )
    .unwrap();
    assert_eq!(result.sets.len(), 1);
    let graph = &result.sets[0];
    let direct = Direct { weights: &weights, set };
    let mut compared = 0;
    for pair in &graph.pairs {
        let (sources, targets): (Vec<_>, Vec<_>) = (pair.source.iter().collect(), pair.target.iter().collect());
        let mut expected = BTreeMap::new();
        for (row, &(s_out, c_out)) in targets.iter().enumerate() {
            expected
                .insert(row, direct.attributions(pair.pair.target, s_out, c_out).remove(&pair.pair.source).unwrap());
        }
        for ((from, to), &got) in pair.edges().zip(&pair.values) {
            let (s_in, c_in) = sources[from];
            let width = expected[&to].len() / shape.positions;
            let expected = expected[&to][s_in * width + c_in];
            // Both in float64, some hundred roundings deep.
            assert!((got - expected).abs() <= 1e-12 * (1.0 + expected.abs()), "{:?}: {got} {expected}", pair.pair);
            compared += 1;
        }
    }
    assert!(compared > 50, "{compared} edges are too few to say anything");
}

/// Sets in which other components are alive are trimmed to their own.
#[test]
fn sets_with_other_components_are_trimmed_separately() {
    let shape = shape(1);
    let weights = shape.model();
    let base = shape.ci_sets(&weights).remove(0);
    // Set `i` keeps only components `i` modulo 2.
    let keep = |parity: usize| CiSet {
        name: format!("parity_{parity}"),
        layers: base
            .layers
            .iter()
            .map(|(&layer, ci)| {
                let value = |component: usize| if component % 2 == parity { 1.0 } else { 0.0 };
                let row: Vec<f32> = (0..ci.components()).map(value).collect();
                (layer, CausalImportances::from_dense(ci.components(), &row.repeat(ci.positions())))
            })
            .collect(),
        ..base.clone()
    };
    let sets = [keep(0), keep(1)];
    let model = Model::upload(NaiveBackend, weights.clone()).unwrap();
    let result = attribute(
        &model,
        &Request { thresholds: THRESHOLDS, method: Method::Autograd, ..Request::new(Sets::Given(&sets)) },
        &mut |_| {},
    )
    .unwrap();
    for (parity, graph) in result.sets.iter().enumerate() {
        for pair in &graph.pairs {
            let own = |layer: Layer| -> Vec<usize> {
                let components = weights.component_counts()[&layer];
                (0..components).filter(|component| component % 2 == parity).collect()
            };
            if pair.pair.source.is_linear() {
                assert_eq!(pair.trimmed_c_in_idxs(), own(pair.pair.source));
                assert_eq!(pair.dense().shape[1], own(pair.pair.source).len());
            }
            if pair.pair.target.is_linear() {
                assert_eq!(pair.trimmed_c_out_idxs(), own(pair.pair.target));
            }
        }
    }
}

/// The model's own causal importances are computed once for a prompt, and what is originally alive is shared.
#[test]
fn original_ci_is_computed_once_and_shared() {
    let shape = shape(3);
    let weights = shape.model();
    let sets = shape.ci_sets(&weights);
    let model = Model::upload(NaiveBackend, weights.clone()).unwrap();
    let mut computed = 0;
    let mut count = |progress| computed += usize::from(matches!(progress, Progress::ModelCi { .. }));
    let result = attribute(
        &model,
        &Request { thresholds: THRESHOLDS, method: Method::Autograd, ..Request::new(Sets::Given(&sets)) },
        &mut count,
    )
    .unwrap();
    assert_eq!(computed, 1);
    let layer = Layer::published(1, Role::MlpUp);
    let of = |graph: &SetAttributions<f64>| Arc::clone(&graph.nodes[&layer].original);
    assert!(result.sets.iter().all(|graph| Arc::ptr_eq(&of(graph), &of(&result.sets[0]))));
}

/// Several sets in one batch give what one run for each gives: the same entries, and values within rounding, since a
/// library may block a larger product in another way.
fn batched_equals_sequential<B: AttributionBackend>(backend: B, tolerance: f64) {
    let cases = GoldenCase::bundled();
    let case = cases.iter().find(|case| case.name == "gpt2s-2L/walked").unwrap();
    let run = TrainedRun::load(&case.run, &RunOptions::default()).unwrap();
    let sets = run.ci_sets(&case.ci_sets, &[]).unwrap().sets;
    let thresholds =
        Thresholds { ci: case.ci_threshold, output_prob: case.output_prob_threshold, ..Thresholds::MASKED };
    let model = Model::upload(backend, run.weights.clone()).unwrap();
    let attribute = |sets: &[CiSet]| {
        attribute(
            &model,
            &Request { thresholds, method: Method::Autograd, ..Request::new(Sets::Given(sets)) },
            &mut |_| {},
        )
        .unwrap()
        .sets
    };
    for (batched, set) in attribute(&sets).iter().zip(&sets) {
        let alone = &attribute(std::slice::from_ref(set))[0];
        let error = Distance::of_set(batched, alone).expect("the same entries").relative();
        println!("{}: batched against alone, relative L2 {error:.1e}", set.name);
        assert!(error <= tolerance, "{}: {error:e}", set.name);
    }
}

/// Two f32 computations of the same values, each some 3e-7 from the truth.
const F32: f64 = 1e-6;
/// The same in f64: 2^-29 of it.
const F64: f64 = 2e-15;

#[test]
fn batched_equals_sequential_on_ndarray() {
    batched_equals_sequential(tributary_ndarray::f32(), F32);
    batched_equals_sequential(tributary_ndarray::f64(), F64);
}

#[test]
fn batched_equals_sequential_on_flex() {
    batched_equals_sequential(tributary_flex::f32(), F32);
    batched_equals_sequential(tributary_flex::f64(), F64);
}
