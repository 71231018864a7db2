//! Backends held to one another: on random models and CI sets, in batches and alone, from run to run.

use std::collections::{BTreeMap, BTreeSet};

use fastrand::Rng;
use proptest::prelude::*;
use tributary_backend::{AttributionBackend, Dtype, Element};
use tributary_engine::{Method, Model, Sets, attribute, model_ci};
use tributary_inputs::{RunOptions, TrainedRun};
use tributary_model::{Array, CiSet, Layer, PairAttribution, SetAttributions, Thresholds, Weights};
use tributary_tests::backends::{Visitor, open_or_say, visit_all};
use tributary_tests::golden::GoldenCase;
use tributary_tests::naive::NaiveBackend;
use tributary_tests::on_every_backend;
use tributary_tests::random_case::{CI_THRESHOLD, config, shapes};

const THRESHOLDS: Thresholds = Thresholds { ci: CI_THRESHOLD, output_prob: 0.15 };

/// An entry of a layer.
type Entry = (Layer, usize, usize);

/// What one backend gave, in float64.
struct Outcome {
    /// Backend, device, dtype and method.
    by: String,
    dtype: Dtype,
    sets: Vec<SetAttributions<f64>>,
}

/// Runs a case on every backend by every method.
struct RunAll<'a> {
    weights: &'a Weights,
    sets: Sets<'a>,
    thresholds: Thresholds,
    outcomes: Vec<Outcome>,
}

impl Visitor for RunAll<'_> {
    fn visit<B: AttributionBackend>(&mut self, backend: B) {
        let model = Model::upload(backend, self.weights.clone()).unwrap();
        let info = model.backend().device();
        for method in [Method::ClosedForm, Method::Autograd] {
            let result = attribute(&model, self.sets, self.thresholds, method, &mut |_| {}).unwrap();
            let by = format!("{} {} {} {}", info.backend, info.device, info.dtype, method.name());
            self.outcomes.push(Outcome {
                by,
                dtype: info.dtype,
                sets: result.sets.iter().map(|set| set.map(Element::to_f64)).collect(),
            });
        }
    }
}

fn run_all(weights: &Weights, sets: Sets<'_>, thresholds: Thresholds) -> Vec<Outcome> {
    let mut all = RunAll { weights, sets, thresholds, outcomes: Vec::new() };
    visit_all(&mut all);
    assert!(all.outcomes.len() >= 8, "fewer backends than are always there");
    all.outcomes
}

/// How much every pair of every set moves, in L2, when the weights move by their own rounding in f32: what any f32
/// computation of it must be allowed, however carefully it is made. Both fields are `[set]`, then `[pair]`.
struct Sensitivity {
    exact: Vec<SetAttributions<f64>>,
    largest: Vec<Vec<f64>>,
}

impl Sensitivity {
    /// The largest of a few random movements of the weights, each weight by up to 2^-23 of itself, on the naive float64
    /// backend. And 2^-23 of the target's activations and of the largest pair that leads to it: some attributions are the
    /// difference of terms of that size that are equal whatever the weights, as from a query at the first position, or
    /// through a norm from the only thing it normalises.
    fn new(weights: &Weights, sets: &[CiSet], thresholds: Thresholds, seed: u64) -> Self {
        let run = |weights: &Weights| {
            let model = Model::upload(NaiveBackend, weights.clone()).unwrap();
            attribute(&model, Sets::Given(sets), thresholds, Method::ClosedForm, &mut |_| {}).unwrap().sets
        };
        let exact = run(weights);
        let mut rng = Rng::with_seed(seed);
        let mut largest: Vec<Vec<f64>> = exact.iter().map(|set| vec![0.0; set.pairs.len()]).collect();
        for _ in 0..4 {
            let moved = run(&moved(weights, &mut rng));
            for ((largest, exact), moved) in largest.iter_mut().zip(&exact).zip(&moved) {
                for ((largest, exact), moved) in largest.iter_mut().zip(&exact.pairs).zip(&moved.pairs) {
                    // Where moving the weights changes who is alive, nothing can be said of the edges.
                    *largest = largest.max(distance(exact, moved).unwrap_or(f64::INFINITY));
                }
            }
        }
        for (largest, exact) in largest.iter_mut().zip(&exact) {
            let mut of_target: BTreeMap<Layer, f64> =
                exact.nodes.iter().map(|(&layer, nodes)| (layer, norm(&nodes.activation))).collect();
            for pair in &exact.pairs {
                let of_target = of_target.entry(pair.pair.target).or_default();
                *of_target = of_target.max(norm(&pair.values));
            }
            for (largest, pair) in largest.iter_mut().zip(&exact.pairs) {
                *largest += Dtype::F32.epsilon() * of_target[&pair.pair.target];
            }
        }
        Self { exact, largest }
    }

    /// The bound on the distance of two outcomes at a pair: each may be off by what moving every weight by some tens of
    /// roundings gives, since every weight goes through a product, a sum, two norms and a softmax on its way.
    ///
    /// Nothing is known of entries that the naive backend has not alive.
    fn bound(&self, set: usize, pair: usize, found: &PairAttribution<f64>, dtypes: [Dtype; 2]) -> f64 {
        const ROUNDINGS: f64 = 32.0;
        if self.exact[set].pairs[pair].target != found.target {
            return f64::INFINITY;
        }
        dtypes.map(|dtype| ROUNDINGS * self.largest[set][pair] * dtype.epsilon() / Dtype::F32.epsilon()).iter().sum()
    }
}

/// `weights` with each decomposed layer's and the embedding's numbers moved by up to 2^-23 of themselves.
fn moved(weights: &Weights, rng: &mut Rng) -> Weights {
    let mut weights = weights.clone();
    let mut shift = |array: &mut Array| {
        for value in &mut array.values {
            *value *= 1.0 + f32::EPSILON * (2.0 * rng.f32() - 1.0);
        }
    };
    shift(&mut weights.wte);
    for layer in weights.decomposed.values_mut() {
        shift(&mut layer.components.v);
        shift(&mut layer.components.u);
    }
    weights
}

fn norm(values: &[f64]) -> f64 {
    values.iter().map(|value| value * value).sum::<f64>().sqrt()
}

/// L2 distance of two attributions of one pair; `None` when they do not have the same entries.
fn distance<E: Element>(a: &PairAttribution<E>, b: &PairAttribution<E>) -> Option<f64> {
    let same = a.source == b.source && a.target == b.target;
    let differences = a.values.iter().zip(&b.values).map(|(a, b)| a.to_f64() - b.to_f64());
    same.then(|| norm(&differences.collect::<Vec<_>>()))
}

/// The entries that only one of two graphs has alive.
fn disagreements(a: &SetAttributions<f64>, b: &SetAttributions<f64>) -> BTreeSet<Entry> {
    let mut found = BTreeSet::new();
    for (&layer, nodes) in &a.nodes {
        let entries = |set: &SetAttributions<f64>| set.nodes[&layer].alive.iter().collect::<BTreeSet<_>>();
        assert_eq!(nodes.alive.positions(), b.nodes[&layer].alive.positions());
        let differing: Vec<_> = entries(a).symmetric_difference(&entries(b)).copied().collect();
        found.extend(differing.into_iter().map(|(position, component)| (layer, position, component)));
    }
    found
}

fn borderline(set: &SetAttributions<f64>) -> BTreeSet<Entry> {
    set.borderline.iter().map(|entry| (entry.layer, entry.position, entry.component)).collect()
}

/// Every pair of outcomes: gives how many values were compared within a finite bound. Nodes the same but for borderline ones, and values of every pair of layers that has the same
/// nodes within `bound`.
fn compare_all(
    outcomes: &[Outcome],
    bound: impl Fn(usize, usize, &PairAttribution<f64>, [Dtype; 2]) -> f64,
) -> Result<usize, TestCaseError> {
    let mut compared = 0;
    for (at, a) in outcomes.iter().enumerate() {
        for b in &outcomes[at + 1..] {
            for (index, (ours, theirs)) in a.sets.iter().zip(&b.sets).enumerate() {
                let context = format!("{} against {}, set {}", a.by, b.by, ours.name);
                let explained: BTreeSet<Entry> = borderline(ours).union(&borderline(theirs)).copied().collect();
                let differing = disagreements(ours, theirs);
                prop_assert!(
                    differing.is_subset(&explained),
                    "{}: alive in one alone, and not borderline: {:?}",
                    context,
                    differing.difference(&explained)
                );
                for (pair, (ours, theirs)) in ours.pairs.iter().zip(&theirs.pairs).enumerate() {
                    let Some(distance) = distance(ours, theirs) else { continue };
                    let bound = bound(index, pair, ours, [a.dtype, b.dtype]);
                    if bound == f64::INFINITY {
                        continue;
                    }
                    prop_assert!(
                        distance <= bound,
                        "{}, {:?}: {:e} apart, at most {:e}",
                        context,
                        ours.pair,
                        distance,
                        bound
                    );
                    compared += ours.values.len();
                }
            }
        }
    }
    Ok(compared)
}

proptest! {
    #![proptest_config(config(16))]

    /// Every backend, dtype and method against every other.
    #[test]
    fn all_backends_agree(shape in shapes()) {
        let weights = shape.model();
        let sets = shape.ci_sets(&weights);
        let outcomes = run_all(&weights, Sets::Given(&sets), THRESHOLDS);
        let sensitivity = Sensitivity::new(&weights, &sets, THRESHOLDS, shape.seed);
        let compared = compare_all(&outcomes, |set, pair, found, dtypes| sensitivity.bound(set, pair, found, dtypes))?;
        // Of too many cases in which nothing is compared, proptest complains.
        prop_assume!(compared > 0);
    }

    /// A threshold set at a probability that one backend found: others find it a rounding higher or lower and disagree on
    /// who is alive. Whatever they disagree on, one of the two names as borderline, and all else is as equal as ever.
    #[test]
    fn rounding_at_the_output_threshold_is_named(shape in shapes(), pick in any::<prop::sample::Index>()) {
        let weights = shape.model();
        let sets = shape.ci_sets(&weights);
        let model = Model::upload(tributary_flex::f32(), weights.clone()).unwrap();
        let found = attribute(&model, Sets::Given(&sets), THRESHOLDS, Method::ClosedForm, &mut |_| {}).unwrap();
        let probs = &found.sets[0].output_probs;
        let output_prob = f64::from(probs[pick.index(probs.len())]);
        let thresholds = Thresholds { output_prob, ..THRESHOLDS };
        let outcomes = run_all(&weights, Sets::Given(&sets), thresholds);
        // The threshold is off by a rounding in f32, which is more than one in f64.
        for outcome in outcomes.iter().filter(|outcome| outcome.dtype == Dtype::F32) {
            prop_assert!(
                !outcome.sets[0].borderline.is_empty(),
                "{} does not name the entry at {}", outcome.by, output_prob
            );
        }
        let sensitivity = Sensitivity::new(&weights, &sets, thresholds, shape.seed);
        compare_all(&outcomes, |set, pair, found, dtypes| sensitivity.bound(set, pair, found, dtypes))?;
    }

    /// The same for a causal importance that the model computes itself.
    #[test]
    fn rounding_at_the_ci_threshold_is_named(shape in shapes(), pick in any::<prop::sample::Index>()) {
        let weights = shape.model();
        let prompts = [shape.ci_sets(&weights).remove(0).prompt];
        let model = Model::upload(tributary_flex::f32(), weights.clone()).unwrap();
        let own = model_ci(&model, "own", &prompts[0]).unwrap();
        let above: Vec<f32> =
            own.layers.values().flat_map(|ci| ci.values.iter().copied()).filter(|&ci| ci > 0.0).collect();
        prop_assume!(!above.is_empty());
        let thresholds = Thresholds { ci: f64::from(above[pick.index(above.len())]), output_prob: 0.0 };
        let outcomes = run_all(&weights, Sets::ModelCi(&prompts), thresholds);
        // The masks are rounded too, so the edges are another matter: only who is alive is compared.
        compare_all(&outcomes, |_, _, _, _| f64::INFINITY)?;
    }
}

/// A batch of one set is another batch than one of several, with other shapes of products and so other orders of sums;
/// results may differ by rounding and no more.
fn a_set_alone_is_what_it_is_in_a_batch<B: AttributionBackend>(open: impl Fn() -> Result<B, String>) {
    let Some(backend) = open_or_say("batched against sequential", open) else { return };
    let (weights, sets) = bundled();
    let model = Model::upload(backend, weights.clone()).unwrap();
    let run = |sets: &[CiSet]| {
        attribute(&model, Sets::Given(sets), Thresholds::default(), Method::ClosedForm, &mut |_| {}).unwrap().sets
    };
    let together = run(&sets);
    assert!(sets.len() > 1);
    for (set, together) in sets.iter().zip(&together) {
        let alone = run(std::slice::from_ref(set)).remove(0);
        assert_eq!(alone.nodes.keys().collect::<Vec<_>>(), together.nodes.keys().collect::<Vec<_>>());
        let error = relative_error(&alone, together).expect("the same nodes");
        // Both within a few roundings of the truth; golden cases allow 16 and 100 times as much.
        assert!(error <= 8.0 * B::Element::DTYPE.epsilon(), "set {}: {error:e}", set.name);
    }
}

/// Bit for bit where the backend promises that; elsewhere additions come in any order, and each rounds.
fn runs_are_the_same<B: AttributionBackend>(open: impl Fn() -> Result<B, String>) {
    let Some(backend) = open_or_say("run-to-run determinism", open) else { return };
    let (weights, sets) = bundled();
    let model = Model::upload(backend, weights.clone()).unwrap();
    let one = &sets[..1];
    for method in [Method::ClosedForm, Method::Autograd] {
        let run =
            || attribute(&model, Sets::Given(one), Thresholds::default(), method, &mut |_| {}).unwrap().sets.remove(0);
        let (first, again) = (run(), run());
        if model.backend().device().capabilities.deterministic {
            assert!(first == again, "{}: two runs differ", method.name());
        } else {
            let error = relative_error(&first, &again).expect("the same nodes");
            assert!(error <= 8.0 * B::Element::DTYPE.epsilon(), "{}: {error:e}", method.name());
        }
    }
}

on_every_backend!([a_set_alone_is_what_it_is_in_a_batch, runs_are_the_same]);

/// A bundled trained run and its CI sets.
fn bundled() -> (Weights, Vec<CiSet>) {
    let case = GoldenCase::bundled().into_iter().find(|case| case.name == "gpt2s-2L/walked").expect("the case");
    let run = TrainedRun::load(&case.run, &RunOptions::default()).unwrap();
    let sets = run.ci_sets(&case.ci_sets, &[]).unwrap().sets;
    (run.weights, sets)
}

/// Relative L2 distance over all edges; `None` when nodes differ.
fn relative_error<E: Element>(a: &SetAttributions<E>, b: &SetAttributions<E>) -> Option<f64> {
    let mut squares = (0.0, 0.0);
    for (a, b) in a.pairs.iter().zip(&b.pairs) {
        squares.0 += distance(a, b)?.powi(2);
        squares.1 += b.values.iter().map(|value| value.to_f64().powi(2)).sum::<f64>();
    }
    Some((squares.0 / squares.1).sqrt())
}
