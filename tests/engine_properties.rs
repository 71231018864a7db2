//! Properties of the engine on random small models of both architectures, through the naive float64 backend.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod at_target;
mod effects;
mod masked_model;
mod optimizing;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fastrand::Rng;
use proptest::prelude::*;
use tributary_backend::{AttributionBackend, Dtype};
use tributary_engine::{
    Attributions, EngineError, Method, Model, Request, Sets, Sink, SinkError, Stages, attribute, model_ci, outline,
    stream,
};
use tributary_model::{CiSet, Layer, PairAttribution, SetAttributions, Thresholds, Weights};
use tributary_testing::config;
use tributary_tests::direct::Direct;
use tributary_tests::discard::Discard;
use tributary_tests::distance::Distance;
use tributary_tests::naive::NaiveBackend;
use tributary_tests::random_case::{CI_THRESHOLD, Shape, shapes};
use tributary_tests::rounding::Rounding;

const THRESHOLDS: Thresholds = Thresholds { ci: CI_THRESHOLD, output_prob: 0.15, ..Thresholds::MASKED };

fn run(weights: &Weights, sets: &[CiSet], thresholds: Thresholds) -> Attributions<f64> {
    let model = Model::upload(NaiveBackend, weights.clone()).unwrap();
    attribute(&model, &Request { thresholds, method: Method::Autograd, ..Request::new(Sets::Given(sets)) }, &mut |_| {})
        .unwrap()
}

/// Nodes and edges of a set as maps from entries, so that graphs with other rows can be compared.
type Edges = BTreeMap<(Layer, Layer), BTreeMap<[usize; 4], f64>>;

fn edges(set: &SetAttributions<f64>) -> Edges {
    let of_pair = |pair: &PairAttribution<f64>| {
        let (source, target): (Vec<_>, Vec<_>) = (pair.source.iter().collect(), pair.target.iter().collect());
        let edge = |((from, to), &value): ((usize, usize), &f64)| {
            ([source[from].0, source[from].1, target[to].0, target[to].1], value)
        };
        pair.edges().zip(&pair.values).map(edge).collect()
    };
    set.pairs.iter().map(|pair| ((pair.pair.source, pair.pair.target), of_pair(pair))).collect()
}

/// A random subset of the linear layers; at `seed` 0 and often otherwise, all of them.
fn some_layers(shape: &Shape) -> BTreeSet<Layer> {
    let mut rng = Rng::with_seed(shape.seed ^ 0xdec0);
    let keep = if rng.bool() { 1.0 } else { 0.5 };
    shape.architecture().linear_layers().filter(|_| rng.f64() < keep).collect()
}

fn rounding(shape: &Shape, weights: &Weights, sets: &[CiSet], method: Method) -> Rounding {
    Rounding::new(weights, Sets::Given(sets), THRESHOLDS, method, shape.seed)
}

/// The engine against one backward pass per target entry of a model written separately; also that no pair and no position
/// outside the reported ones has a gradient, which is exactly zero where no path is. Both sides round as their arithmetic
/// does, which is much the same.
fn equals_direct(shape: &Shape, weights: &Weights, sets: &[CiSet], method: Method) -> Result<(), TestCaseError> {
    let rounding = rounding(shape, weights, sets, method);
    for (index, (set, graph)) in sets.iter().zip(&rounding.exact).enumerate() {
        let direct = Direct { weights, set };
        let all = edges(graph);
        let bounds: BTreeMap<(Layer, Layer), f64> = graph
            .pairs
            .iter()
            .enumerate()
            .map(|(pair, of_pair)| {
                ((of_pair.pair.source, of_pair.pair.target), 2.0 * rounding.bound(Dtype::F64, index, pair))
            })
            .collect();
        let targets: Vec<(&Layer, _)> = graph.nodes.iter().filter(|(layer, _)| !layer.is_embedding()).collect();
        for (&target, nodes) in targets {
            for (s_out, c_out) in nodes.alive.iter() {
                for (source, expected) in direct.attributions(target, s_out, c_out) {
                    let components = expected.len() / shape.positions;
                    let found = all.get(&(source, target));
                    for (at, &expected) in expected.iter().enumerate() {
                        let (s_in, c_in) = (at / components, at % components);
                        let got = found.and_then(|edges| edges.get(&[s_in, c_in, s_out, c_out]));
                        let alive = graph.nodes[&source].alive.row_of(s_in, c_in).is_some();
                        match got {
                            Some(&got) => prop_assert!(
                                alive && (got - expected).abs() <= bounds[&(source, target)],
                                "{source} ({s_in}, {c_in}) -> {target} ({s_out}, {c_out}): {got} against {expected}, {:e} apart, at most {:e}",
                                (got - expected).abs(),
                                bounds[&(source, target)]
                            ),
                            None => prop_assert!(
                                !alive || expected == 0.0,
                                "{source} ({s_in}, {c_in}) -> {target} ({s_out}, {c_out}) is missing: {expected}"
                            ),
                        }
                    }
                }
            }
        }
    }
    Ok(())
}

/// What the sink takes is counted once, on its own.
#[test]
fn stages_are_parts_of_the_attribution() {
    let shape = Shape { n_blocks: 2, n_kv_heads: 2, positions: 3, sets: 2, seed: 1, ..Shape::SMALL };
    let weights = shape.model();
    let sets = shape.ci_sets(&weights);
    let model = Model::upload(NaiveBackend, weights).unwrap();
    for method in [Method::ClosedForm, Method::Autograd] {
        let request = Request { thresholds: THRESHOLDS, method, ..Request::new(Sets::Given(&sets)) };
        let timings =
            stream(&model, &request, &mut Discard { pause: Duration::from_millis(1) }, &mut |_| {}).unwrap().timings;
        let Stages { residual, attention, elementwise, autograd } = timings.stages;
        let parts = timings.forward + timings.output + timings.target_output;
        let parts = parts + residual + attention + elementwise + autograd;
        assert!(parts > 0.0 && parts <= timings.attribution, "{timings:?}");
        // A pair of every set, at least.
        assert!(timings.sink >= 1e-3 * (2 * model.architecture().n_blocks) as f64, "{timings:?}");
    }
}

proptest! {
    #![proptest_config(config(48))]

    #[test]
    fn equals_one_backward_pass_per_entry(shape in shapes()) {
        let weights = shape.model_decomposed_at(&some_layers(&shape));
        equals_direct(&shape, &weights, &shape.ci_sets(&weights), Method::Autograd)?;
    }

    /// Where few components act, much of what is in the support of a batch does not act at a position.
    #[test]
    fn equals_one_backward_pass_per_entry_where_few_components_act(shape in shapes()) {
        let weights = shape.model_decomposed_at(&some_layers(&shape));
        let sets = shape.sparse_ci_sets(&weights);
        for method in [Method::Autograd, Method::Mixed] {
            equals_direct(&shape, &weights, &sets, method)?;
        }
    }

    /// With a threshold of 0 all components are alive, and have their activations, also where they do not act: on a CPU,
    /// too, which otherwise computes only those that act.
    #[test]
    fn activations_are_those_of_all_components(shape in shapes()) {
        let weights = shape.model();
        let sets = shape.sparse_ci_sets(&weights);
        let thresholds = Thresholds { ci: 0.0, ..THRESHOLDS };
        let on_cpu = Model::upload(tributary_flex::f64(), weights.clone()).unwrap();
        let on_cpu = attribute(&on_cpu, &Request { thresholds, ..Request::new(Sets::Given(&sets)) }, &mut |_| {}).unwrap().sets;
        let graphs = run(&weights, &sets, thresholds).sets;
        for (set, graph) in sets.iter().chain(&sets).zip(graphs.iter().chain(&on_cpu)) {
            let post = Direct { weights: &weights, set }.run(&BTreeMap::new()).post;
            for layer in weights.decomposed.keys() {
                let expected = NaiveBackend.download(&post[layer]).unwrap();
                let found = &graph.nodes[layer].activation;
                prop_assert_eq!(found.len(), expected.len());
                for (found, expected) in found.iter().zip(&expected) {
                    // As for logits in passes.rs.
                    prop_assert!((found - expected).abs() <= 1e-10 * expected.abs().max(1.0), "{} {}", found, expected);
                }
            }
        }
    }

    /// The engine against finite differences of the separately written forward pass: no automatic differentiation.
    #[test]
    fn equals_finite_differences(shape in shapes()) {
        let weights = shape.model();
        let sets = shape.ci_sets(&weights);
        let rounding = rounding(&shape, &weights, &sets, Method::Autograd);
        let mut rng = Rng::with_seed(shape.seed);
        for (index, (set, graph)) in sets.iter().zip(&rounding.exact).enumerate() {
            let direct = Direct { weights: &weights, set };
            let post = direct.run(&BTreeMap::new()).post;
            for (at_pair, pair) in graph.pairs.iter().enumerate() {
                let edges: Vec<(usize, usize)> = pair.edges().collect();
                if edges.is_empty() || pair.pair.source.is_embedding() {
                    continue;
                }
                let leaf = &post[&pair.pair.source];
                let shape_of_leaf = NaiveBackend.shape(leaf);
                let values = NaiveBackend.download(leaf).unwrap();
                // A few edges of each pair: every one costs eight forward passes.
                for _ in 0..3 {
                    let edge = rng.usize(0..edges.len());
                    let (from, to) = edges[edge];
                    let (s_in, c_in) = pair.source.iter().nth(from).unwrap();
                    let (s_out, c_out) = pair.target.iter().nth(to).unwrap();
                    let at = s_in * shape_of_leaf[1] + c_in;
                    let pre = |offset: f64| {
                        let mut moved = values.clone();
                        moved[at] += offset;
                        let mut leaves = post.clone();
                        leaves.insert(pair.pair.source, NaiveBackend.upload(&moved, &shape_of_leaf).unwrap());
                        let pre = direct.run(&leaves).pre.remove(&pair.pair.target).unwrap();
                        let width = NaiveBackend.shape(&pre)[1];
                        NaiveBackend.download(&pre).unwrap()[s_out * width + c_out]
                    };
                    let derivative = |step: f64| {
                        (8.0 * (pre(step) - pre(-step)) - (pre(2.0 * step) - pre(-2.0 * step))) / (12.0 * step)
                    };
                    // Five-point differences err by (step / length)^4 of the derivative, where a norm that divides by as
                    // little as sqrt(eps) = 1e-3 sets the length, and so do 16 times as much with twice the step, which
                    // shows how much it is; and by the rounding of what is subtracted over the step, 18 / 12 in all.
                    let step = 1e-5;
                    let (fine, coarse) = (derivative(step), derivative(2.0 * step));
                    let of_pre = rounding.activation_bound(Dtype::F64, index, pair.pair.target, to);
                    let bound = values[at].abs() * ((fine - coarse).abs() + 1.5 * of_pre / step)
                        + rounding.bound(Dtype::F64, index, at_pair);
                    let (got, expected) = (pair.values[edge], values[at] * fine);
                    prop_assert!(
                        (got - expected).abs() <= bound,
                        "{} -> {}: {got} against {expected}, {:e} apart, at most {bound:e}",
                        pair.pair.source, pair.pair.target, (got - expected).abs()
                    );
                }
            }
        }
    }

    #[test]
    fn closed_form_equals_autograd(shape in shapes()) {
        let method = if shape.fused { Method::Mixed } else { Method::ClosedForm };
        check_closed_form(&shape, &shape.model(), method)?;
    }

    /// Where some layers are not decomposed, targets that a closed form covers take it, and the others do not.
    #[test]
    fn mixed_routes_equal_autograd(shape in shapes()) {
        check_closed_form(&shape, &shape.model_decomposed_at(&some_layers(&shape)), Method::Mixed)?;
    }

    /// A set's result is its own: not a bit of it changes with the other sets, their number or their order.
    #[test]
    fn sets_do_not_touch_each_other(shape in shapes()) {
        let weights = shape.model_decomposed_at(&some_layers(&shape));
        let sets = shape.ci_sets(&weights);
        let together = run(&weights, &sets, THRESHOLDS).sets;
        let reversed: Vec<CiSet> = sets.iter().rev().cloned().collect();
        let reversed = run(&weights, &reversed, THRESHOLDS).sets;
        for (index, set) in sets.iter().enumerate() {
            let alone = &run(&weights, std::slice::from_ref(set), THRESHOLDS).sets[0];
            prop_assert_eq!(&together[index], alone);
            prop_assert_eq!(&reversed[sets.len() - 1 - index], alone);
        }
    }

    /// Sets of prompts of different lengths keep their order and their results.
    #[test]
    fn grouping_by_length_changes_nothing(shape in shapes(), longer in 1..3_usize) {
        let weights = shape.model();
        let long = Shape { positions: shape.positions + longer.min(2), ..shape.clone() };
        let mut sets = shape.ci_sets(&weights);
        sets.extend(long.ci_sets(&weights));
        Rng::with_seed(shape.seed).shuffle(&mut sets);
        let together = run(&weights, &sets, THRESHOLDS).sets;
        for (set, graph) in sets.iter().zip(&together) {
            prop_assert_eq!(graph, &run(&weights, std::slice::from_ref(set), THRESHOLDS).sets[0]);
        }
    }

    /// Raising a threshold removes entries and leaves the values of the others alone.
    #[test]
    fn raising_a_threshold_only_removes(shape in shapes(), ci in 0.3..1.0_f64, output_prob in 0.15..0.6_f64) {
        let weights = shape.model();
        let sets = shape.ci_sets(&weights);
        let low = run(&weights, &sets, THRESHOLDS).sets;
        let high = run(&weights, &sets, Thresholds { ci, output_prob, ..Thresholds::MASKED }).sets;
        for (low, high) in low.iter().zip(&high) {
            let (low_edges, high_edges) = (edges(low), edges(high));
            for (pair, kept) in &high_edges {
                for (edge, value) in kept {
                    prop_assert_eq!(low_edges[pair].get(edge), Some(value));
                }
            }
            for (layer, nodes) in &high.nodes {
                let threshold = if layer.is_output() { output_prob } else { f64::from(ci as f32) };
                prop_assert!(nodes.importance.iter().all(|&importance| importance >= threshold));
                let kept = low.nodes[layer].importance.iter().filter(|&&importance| importance >= threshold).count();
                if !layer.is_embedding() {
                    prop_assert_eq!(nodes.alive.len(), kept);
                }
            }
        }
    }

    /// The model's own causal importances against every kind of CI function computed one number at a time.
    #[test]
    fn model_ci_is_that_of_the_ci_functions(shape in shapes()) {
        let weights = shape.model_decomposed_at(&some_layers(&shape));
        let sets = shape.ci_sets(&weights);
        let model = Model::upload(NaiveBackend, weights.clone()).unwrap();
        let own = model_ci(&model, "own", &sets[0].prompt).unwrap();
        let expected = Direct { weights: &weights, set: &sets[0] }.model_ci();
        prop_assert!(own.layers.keys().eq(expected.keys()));
        for (layer, ci) in &own.layers {
            for (&got, &expected) in ci.to_dense().iter().zip(&expected[layer]) {
                // Both in float64, of which the engine keeps the float32: off by 2^-25 of the value.
                prop_assert!((f64::from(got) - expected).abs() <= 1e-7 * (1.0 + expected.abs()), "{layer}: {got} {expected}");
            }
        }
    }

    /// What is originally alive is what the model's own causal importances, run as a set of their own, keep alive.
    #[test]
    fn original_alive_is_the_models_own_set(shape in shapes()) {
        let weights = shape.model();
        let sets = shape.ci_sets(&weights);
        let model = Model::upload(NaiveBackend, weights.clone()).unwrap();
        let own = model_ci(&model, "own", &sets[0].prompt).unwrap();
        let own = run(&weights, &[own], THRESHOLDS).sets.remove(0);
        let prompts = [sets[0].prompt.clone()];
        let by_prompt = attribute(&model, &Request { thresholds: THRESHOLDS, method: Method::Autograd, ..Request::new(Sets::ModelCi(&prompts)) }, &mut |_| {});
        let by_prompt = by_prompt.unwrap().sets.remove(0);
        prop_assert_eq!(&by_prompt.name, "prompt_0");
        prop_assert_eq!(&SetAttributions { name: own.name.clone(), ..by_prompt }, &own);
        for graph in &run(&weights, &sets, THRESHOLDS).sets {
            for (layer, nodes) in &graph.nodes {
                prop_assert_eq!(&nodes.original, &own.nodes[layer].alive);
            }
        }
    }

    /// The dense view holds every edge at its index and nothing else.
    #[test]
    fn the_dense_view_holds_the_edges(shape in shapes()) {
        let weights = shape.model();
        for graph in &run(&weights, &shape.ci_sets(&weights), THRESHOLDS).sets {
            for pair in &graph.pairs {
                let dense = pair.dense();
                let (c_in, c_out) = (pair.trimmed_c_in_idxs(), pair.trimmed_c_out_idxs());
                prop_assert_eq!(dense.shape, [shape.positions, c_in.len(), shape.positions, c_out.len()]);
                let total: f64 = dense.values.iter().map(|value| value.abs()).sum();
                let sum: f64 = pair.values.iter().map(|value| value.abs()).sum();
                // The same numbers in two orders, none negative: each addition rounds to half an epsilon of the sum.
                prop_assert!((total - sum).abs() <= pair.values.len() as f64 * f64::EPSILON * sum);
                let (source, target): (Vec<_>, Vec<_>) = (pair.source.iter().collect(), pair.target.iter().collect());
                for ((from, to), &value) in pair.edges().zip(&pair.values) {
                    let index = |trimmed: &[usize], component| trimmed.binary_search(&component).unwrap();
                    let [_, n_in, s, n_out] = dense.shape;
                    let row = source[from].0 * n_in + index(&c_in, source[from].1);
                    let at = (row * s + target[to].0) * n_out + index(&c_out, target[to].1);
                    prop_assert_eq!(dense.values[at].to_bits(), value.to_bits());
                }
                prop_assert_eq!(pair.original_alive_mask_in().len(), shape.positions * c_in.len());
                prop_assert_eq!(pair.original_alive_mask_out().len(), shape.positions * c_out.len());
            }
        }
    }
}

/// The closed form against automatic differentiation: the same nodes, and every pair of every set as near as both may be
/// off by rounding. How far that is depends on the case: a norm may divide by as little as sqrt(eps) = 1e-3, and the
/// residual stream be all that a source wrote, which a norm's gradient takes away again.
fn check_closed_form(shape: &Shape, weights: &Weights, method: Method) -> Result<(), TestCaseError> {
    let sets = shape.ci_sets(weights);
    let [closed, autograd] = [method, Method::Autograd].map(|method| rounding(shape, weights, &sets, method));
    for (set, (found, expected)) in closed.exact.iter().zip(&autograd.exact).enumerate() {
        prop_assert_eq!(&found.nodes, &expected.nodes);
        for (pair, (found, expected)) in found.pairs.iter().zip(&expected.pairs).enumerate() {
            let distance = Distance::of_pair(found, expected).expect("the same nodes");
            let bound = closed.bound(Dtype::F64, set, pair) + autograd.bound(Dtype::F64, set, pair);
            prop_assert!(
                distance.error() <= bound,
                "set {set}, {:?}: {:e} apart, at most {bound:e}; norm {:e}",
                found.pair,
                distance.error(),
                distance.norm()
            );
        }
    }
    Ok(())
}

/// An attribution from the embedding that its norm takes away but for rounding, at a position where the residual stream is
/// small: 2e-12 of the whole, in relative L2.
#[test]
fn closed_form_equals_autograd_where_a_norm_cancels() -> Result<(), TestCaseError> {
    for (adjacent_pairs, biases) in [(false, false), (false, true), (true, false), (true, true)] {
        let seed = 8_090_286_457_182_399_478;
        let small = Shape { llama: true, adjacent_pairs, biases, seed, ..Shape::SMALL };
        let shape = Shape { n_kv_heads: 2, group: 2, positions: 1, ..small };
        check_closed_form(&shape, &shape.model(), Method::ClosedForm)?;
    }
    Ok(())
}

/// Keeps what it is given, and checks the order in which it comes.
#[derive(Default)]
struct InOrder {
    sets: BTreeMap<usize, SetAttributions<f64>>,
    ended: BTreeSet<usize>,
}

impl Sink<f64> for InOrder {
    fn begin(&mut self, set: usize, graph: SetAttributions<f64>) -> Result<(), SinkError> {
        assert!(graph.pairs.iter().all(|pair| pair.values.is_empty()));
        assert!(self.sets.insert(set, graph).is_none(), "set {set} begins twice");
        Ok(())
    }

    fn values(&mut self, set: usize, pair: usize, values: &[f64]) -> Result<(), SinkError> {
        assert!(!self.ended.contains(&set), "values of set {set} after its end");
        let pairs = &mut self.sets.get_mut(&set).expect("values of a set that has not begun").pairs;
        assert!(pairs[..pair].iter().all(|before| before.values.len() == before.edge_count()), "pair {pair} too early");
        assert!(pairs[pair + 1..].iter().all(|after| after.values.is_empty()), "pair {pair} too late");
        pairs[pair].values.extend_from_slice(values);
        Ok(())
    }

    fn end(&mut self, set: usize) -> Result<(), SinkError> {
        assert!(
            self.sets[&set].pairs.iter().all(|pair| pair.values.len() == pair.edge_count()),
            "set {set} ends early"
        );
        assert!(self.ended.insert(set));
        Ok(())
    }
}

proptest! {
    #![proptest_config(config(32))]

    /// Sets that do not fit into memory together are computed one after the other, and nothing of them changes.
    #[test]
    fn a_bound_on_memory_changes_the_batches_alone(shape in shapes()) {
        let weights = shape.model();
        let sets = shape.ci_sets(&weights);
        let model = Model::upload(NaiveBackend, weights.clone()).unwrap();
        for method in [Method::Mixed, Method::Autograd] {
            let request = |max_memory| Request { thresholds: THRESHOLDS, method, max_memory, ..Request::new(Sets::Given(&sets)) };
            let (mut together, mut apart, mut outlined) = (InOrder::default(), InOrder::default(), InOrder::default());
            let cost = stream(&model, &request(None), &mut together, &mut |_| {}).unwrap();
            prop_assert_eq!(cost.batches, 1);
            let outline = outline(&model, &request(None), &mut Outline(&mut outlined), &mut |_| {}).unwrap();
            prop_assert_eq!((outline.memory, outline.batches), (cost.memory, cost.batches));
            let counts = |sink: &InOrder| sink.sets.values().map(|set| {
                (set.node_count(), set.pairs.iter().map(PairAttribution::edge_count).sum::<usize>())
            }).collect::<Vec<_>>();
            prop_assert_eq!(counts(&outlined), counts(&together));

            let bounded = stream(&model, &request(Some(cost.memory - 1)), &mut apart, &mut |_| {});
            if sets.len() == 1 {
                let is_refused = matches!(bounded, Err(EngineError::Memory { needed, .. }) if needed == cost.memory);
                prop_assert!(is_refused);
                continue;
            }
            let bounded = bounded.unwrap();
            prop_assert!(bounded.batches > 1 && bounded.memory < cost.memory);
            prop_assert_eq!(together.sets, apart.sets);
        }
    }
}

/// Of an outline no values come, so its sets end without them.
struct Outline<'a>(&'a mut InOrder);

impl Sink<f64> for Outline<'_> {
    fn begin(&mut self, set: usize, graph: SetAttributions<f64>) -> Result<(), SinkError> {
        self.0.begin(set, graph)
    }

    fn values(&mut self, set: usize, _pair: usize, _values: &[f64]) -> Result<(), SinkError> {
        panic!("values of set {set} in an outline")
    }

    fn end(&mut self, set: usize) -> Result<(), SinkError> {
        assert!(self.0.ended.insert(set));
        Ok(())
    }
}
