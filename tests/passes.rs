//! Forward passes told by masks, delta and edits, against a model written separately.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;

use fastrand::Rng;
use proptest::prelude::*;
use tributary_backend::AttributionBackend;
use tributary_engine::{Delta, Edit, Masks, Model, Pass, logits};
use tributary_model::{CiSet, Layer, Prompt, Weights};
use tributary_testing::config;
use tributary_tests::close::assert_close;
use tributary_tests::direct::Direct;
use tributary_tests::naive::NaiveBackend;
use tributary_tests::random_case::{Shape, shapes, target_of};

/// Logits of one set by the separately written forward pass, in which some layers take their activations from `leaves`.
fn direct(
    weights: &Weights,
    set: &CiSet,
    leaves: &BTreeMap<Layer, <NaiveBackend as AttributionBackend>::Tensor>,
) -> Vec<f64> {
    NaiveBackend.download(&Direct { weights, set }.run(leaves).pre[&Layer::output()]).unwrap()
}

/// Masked by causal importances, every set gets the logits that it has alone.
fn masked_as_alone(weights: &Weights, sets: &[CiSet]) -> Result<(), TestCaseError> {
    fn found<B: AttributionBackend<Element = f64>>(backend: B, weights: &Weights, sets: &[CiSet]) -> Vec<f64> {
        let model = Model::upload(backend, weights.clone()).unwrap();
        let (sets, prompts): (Vec<&CiSet>, Vec<&Prompt>) = sets.iter().map(|set| (set, &set.prompt)).unzip();
        logits(&model, &prompts, &Pass::masked(&sets)).unwrap()
    }
    let expected: Vec<f64> = sets.iter().flat_map(|set| direct(weights, set, &BTreeMap::new())).collect();
    assert_close(&found(NaiveBackend, weights, sets), &expected)?;
    // A CPU, which computes only what acts where that is little.
    assert_close(&found(tributary_flex::f64(), weights, sets), &expected)
}

proptest! {
    #![proptest_config(config(48))]

    /// Masked by causal importances, every set gets the logits that it has alone.
    #[test]
    fn masks_are_those_of_each_set(shape in shapes()) {
        let weights = shape.model();
        masked_as_alone(&weights, &shape.ci_sets(&weights))?;
    }

    /// The same where few components act at all.
    #[test]
    fn masks_of_hardly_anything_are_those_of_each_set(shape in shapes()) {
        let weights = shape.model();
        masked_as_alone(&weights, &shape.sparse_ci_sets(&weights))?;
    }

    /// Components kept whole, with the delta, are the target model.
    #[test]
    fn all_components_and_the_delta_are_the_target_model(shape in shapes()) {
        let weights = shape.model();
        let sets = shape.ci_sets(&weights);
        let model = Model::upload(NaiveBackend, weights.clone()).unwrap();
        let pass = Pass { masks: Masks::Ones, delta: Delta::Stopped, edits: &[] };
        let found = logits(&model, &[&sets[0].prompt], &pass).unwrap();
        let target = target_of(&weights);
        assert_close(&found, &direct(&target, &sets[0], &BTreeMap::new()))?;
    }

    /// An edit sets one activation of one item, and nothing else.
    #[test]
    fn edits_set_single_activations(shape in shapes(), value in -2.0..2.0_f64) {
        let weights = shape.model();
        let sets = shape.ci_sets(&weights);
        let model = Model::upload(NaiveBackend, weights.clone()).unwrap();
        let (sets, prompts): (Vec<&CiSet>, Vec<&Prompt>) = sets.iter().map(|set| (set, &set.prompt)).unzip();
        let mut rng = Rng::with_seed(shape.seed);
        let layers: Vec<(Layer, usize)> = weights.component_counts().into_iter().collect();
        let (layer, components) = layers[rng.usize(0..layers.len())];
        let (item, position) = (rng.usize(0..sets.len()), rng.usize(0..shape.positions));
        let component = rng.usize(0..components);
        let edits = [Edit { item, layer, position, component, value }];
        let found = logits(&model, &prompts, &Pass { edits: &edits, ..Pass::masked(&sets) }).unwrap();
        let mut expected = Vec::new();
        for (at, set) in sets.iter().enumerate() {
            let mut leaves = BTreeMap::new();
            if at == item {
                let post = Direct { weights: &weights, set }.run(&BTreeMap::new()).post.remove(&layer).unwrap();
                let shape = NaiveBackend.shape(&post);
                let mut values = NaiveBackend.download(&post).unwrap();
                values[position * components + component] = value;
                leaves.insert(layer, NaiveBackend.upload(&values, &shape).unwrap());
            }
            expected.extend(direct(&weights, set, &leaves));
        }
        assert_close(&found, &expected)?;
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let shape = Shape::SMALL;
    let weights = shape.model();
    let sets = shape.ci_sets(&weights);
    let model = Model::upload(NaiveBackend, weights.clone()).unwrap();
    let (layer, components) = weights.component_counts().into_iter().next().unwrap();
    let edit = Edit { item: 0, layer, position: 0, component: 0, value: 1.0 };
    let wrong = [
        Edit { item: 1, ..edit },
        Edit { layer: Layer::output(), ..edit },
        Edit { position: 2, ..edit },
        Edit { component: components, ..edit },
    ];
    let pass = Pass::masked(&[&sets[0]]);
    let refusal = |prompts: &[&Prompt], pass: &Pass<'_>| logits(&model, prompts, pass).unwrap_err().to_string();
    for edit in wrong {
        let message = refusal(&[&sets[0].prompt], &Pass { edits: &[edit], ..pass.clone() });
        assert!(message.contains("an edit is of"), "{message}");
    }
    let shorter = Prompt { tokens: vec![0], ..sets[0].prompt.clone() };
    let message = refusal(&[&sets[0].prompt, &shorter], &pass);
    assert!(message.contains("1 tokens, the first prompt 2"), "{message}");
    let message = refusal(&[&sets[0].prompt, &sets[0].prompt], &pass);
    assert!(message.contains("1 masks for 2 prompts"), "{message}");
}
