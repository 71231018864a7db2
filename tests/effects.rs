//! What happens without a source, and what a target's activation is made of, against difference quotients and against a model
//! written separately.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use fastrand::Rng;
use proptest::prelude::*;
use tributary_backend::AttributionBackend;
use tributary_engine::{DeltaGradient, Effects, Forward, Method, Model, Node, Parts, Request, Sets, attribute};
use tributary_model::{
    Array, CausalImportances, CiSet, Components, Layer, Norm, Role, SetAttributions, Thresholds, Weights,
};
use tributary_testing::config;
use tributary_tests::direct::Direct;
use tributary_tests::naive::{NaiveBackend, NaiveTensor};
use tributary_tests::random_case::{CI_THRESHOLD, Shape, shapes};

use super::at_target::without_delta;
use super::some_layers;

const FORWARDS: [Forward; 3] =
    [Forward::Masked, Forward::Target(DeltaGradient::Stopped), Forward::Target(DeltaGradient::Through)];

fn thresholds(forward: Forward) -> Thresholds {
    match forward {
        Forward::Masked => Thresholds { ci: CI_THRESHOLD, output_prob: 0.05, ..Thresholds::MASKED },
        // So that something is dead.
        Forward::Target(_) => Thresholds { ci: CI_THRESHOLD, output_prob: 0.05, ..Thresholds::TARGET },
    }
}

fn graph(model: &Model<NaiveBackend>, set: &CiSet, forward: Forward) -> SetAttributions<f64> {
    let sets = std::slice::from_ref(set);
    let request =
        Request { thresholds: thresholds(forward), forward, method: Method::Mixed, ..Request::new(Sets::Given(sets)) };
    attribute(model, &request, &mut |_| {}).unwrap().sets.remove(0)
}

fn effects<'a>(model: &'a Model<NaiveBackend>, set: &'a CiSet, forward: Forward) -> Effects<'a, NaiveBackend> {
    Effects::new(model, set, forward, thresholds(forward), &[], u64::MAX).unwrap()
}

/// Edges of a graph with their attributions, of each pair so many at most.
fn edges(graph: &SetAttributions<f64>, most: usize, seed: u64) -> (Vec<(Node, Node)>, Vec<f64>) {
    let mut rng = Rng::with_seed(seed);
    let mut found = Vec::new();
    for pair in &graph.pairs {
        let (sources, targets): (Vec<_>, Vec<_>) = (pair.source.iter().collect(), pair.target.iter().collect());
        let node = |layer, (position, component)| Node { layer, position, component };
        let mut of_pair: Vec<((Node, Node), f64)> = pair
            .edges()
            .zip(&pair.values)
            .map(|((source, target), &value)| {
                ((node(pair.pair.source, sources[source]), node(pair.pair.target, targets[target])), value)
            })
            .collect();
        rng.shuffle(&mut of_pair);
        of_pair.truncate(most);
        found.extend(of_pair);
    }
    found.into_iter().unzip()
}

fn parts(effects: &Effects<'_, NaiveBackend>, graph: &SetAttributions<f64>, targets: &[Node]) -> Vec<Parts> {
    let nodes = graph.nodes.iter().map(|(&layer, nodes)| (layer, Arc::clone(&nodes.alive))).collect();
    effects.parts(targets, &nodes).unwrap()
}

/// The model as one whose components hold all of the weights: beside its own, of every decomposed layer one for each number that
/// it reads, with a row of the delta. Masked by 1, it is the target model.
fn with_delta_components(weights: &Weights) -> Weights {
    let mut whole = weights.clone();
    for (&layer, Components { v, u }) in &weights.decomposed {
        let (d_in, count, d_out) = (v.shape[0], v.shape[1], u.shape[1]);
        let lm_head = weights.lm_head.as_ref().unwrap_or(&weights.wte);
        // `[d_in, d_out]`
        let weight = |i: usize, o: usize| match layer.role() {
            Role::TokenEmbedding => weights.wte.values.at(i * d_out + o),
            Role::Unembedding => lm_head.values.at(o * d_in + i),
            _ => weights.linear[&layer].weight.values.at(o * d_in + i),
        };
        let delta = |at: usize| {
            let (i, o) = (at / d_out, at % d_out);
            let product: f64 = (0..count).map(|c| v.values.at(i * count + c) * u.values.at(c * d_out + o)).sum();
            weight(i, o) - product
        };
        let reads = |at: usize| match (at / (count + d_in), at % (count + d_in)) {
            (i, c) if c < count => v.values.at(i * count + c),
            (i, c) => f64::from(u8::from(i == c - count)),
        };
        let writes = |at: usize| if at < count * d_out { u.values.at(at) } else { delta(at - count * d_out) };
        let v = Array::of([d_in, count + d_in], (0..d_in * (count + d_in)).map(reads).collect::<Vec<f64>>());
        let u = Array::of([count + d_in, d_out], (0..(count + d_in) * d_out).map(writes).collect::<Vec<f64>>());
        whole.decomposed.insert(layer, Components { v, u });
    }
    whole
}

fn all_ones(weights: &Weights, set: &CiSet) -> CiSet {
    let positions = set.prompt.tokens.len();
    let ones = |count: usize| CausalImportances::from_dense(count, &vec![1.0; positions * count]);
    CiSet {
        layers: weights.component_counts().into_iter().map(|(layer, count)| (layer, ones(count))).collect(),
        ..set.clone()
    }
}

/// The model whose forward pass a set's attributions are made in, as one that is masked.
fn masked(weights: &Weights, set: &CiSet, forward: Forward) -> (Weights, CiSet) {
    match forward {
        Forward::Masked => (weights.clone(), set.clone()),
        Forward::Target(_) => {
            let whole = with_delta_components(weights);
            let ones = all_ones(&whole, set);
            (whole, ones)
        }
    }
}

fn at(activations: &BTreeMap<Layer, NaiveTensor>, Node { layer, position, component }: Node) -> f64 {
    let tensor = &activations[&layer];
    NaiveBackend.download(tensor).unwrap()[position * NaiveBackend.shape(tensor)[1] + component]
}

/// The same weights with biases and learned positions multiplied.
fn with_biases(weights: &Weights, factor: f64) -> Weights {
    let mut weights = weights.clone();
    // Tied to the embedding, it stays what it is.
    weights.lm_head.get_or_insert(weights.wte.clone());
    let scaled = |array: &mut Array| {
        let count = array.shape.iter().product::<usize>();
        let values: Vec<f64> = (0..count).map(|at| factor * array.values.at(at)).collect();
        array.values = values.into();
    };
    weights.wpe.iter_mut().for_each(scaled);
    weights.linear.values_mut().filter_map(|linear| linear.bias.as_mut()).for_each(scaled);
    for norms in &mut weights.norms {
        norms.attention.bias.iter_mut().chain(&mut norms.mlp.bias).for_each(scaled);
    }
    weights.ln_f.bias.iter_mut().for_each(scaled);
    weights
}

/// Float64, some hundred operations deep, with norms that divide by as little as sqrt(eps) = 1e-3 one after the other; `scale` is
/// that of what is computed.
fn close(found: f64, expected: f64, scale: f64) -> bool {
    (found - expected).abs() <= 1e-9 * scale.max(1.0)
}

/// A difference quotient at a step, and at half of it: what is left of the error of the second is a third of how far they are
/// apart, and rounding, which a step of 1e-4 magnifies.
fn quotient_is(expected: f64, [coarse, fine]: [f64; 2], scale: f64) -> bool {
    (fine - expected).abs() <= (coarse - fine).abs() + 1e-7 * scale.max(1.0)
}

const STEPS: [f64; 2] = [2e-4, 1e-4];

proptest! {
    #![proptest_config(config(24))]

    #[test]
    fn a_small_share_of_a_source_is_worth_that_share_of_its_attribution(shape in shapes(), partly in any::<bool>()) {
        let weights = if partly { shape.model_decomposed_at(&some_layers(&shape)) } else { shape.model() };
        let set = &shape.ci_sets(&weights)[0];
        let model = Model::upload(NaiveBackend, weights).unwrap();
        for forward in FORWARDS {
            let graph = graph(&model, set, forward);
            let (edges, values) = edges(&graph, 4, shape.seed);
            let effects = effects(&model, set, forward);
            let quotients = STEPS.map(|step| {
                let [less, more] = [step, -step].map(|share| effects.in_segment(&edges, share).unwrap());
                less.iter().zip(&more).map(|(less, more)| (less - more) / (2.0 * step)).collect::<Vec<f64>>()
            });
            let scale = values.iter().fold(0.0_f64, |scale, value| scale.max(value.abs()));
            for (edge, ((source, target), value)) in edges.iter().zip(&values).enumerate() {
                let quotients = [quotients[0][edge], quotients[1][edge]];
                prop_assert!(
                    quotient_is(*value, quotients, scale),
                    "{:?}: {:?} -> {:?}: {} against {:?}", forward, source, target, value, quotients
                );
            }
        }
    }

    /// Values with the attention fixed, the part of a gated MLP that is not gated, and components of the unembedding.
    #[test]
    fn where_the_target_is_linear_in_a_source_an_attribution_is_the_effect(shape in shapes()) {
        let weights = shape.model();
        let set = &shape.ci_sets(&weights)[0];
        let model = Model::upload(NaiveBackend, weights).unwrap();
        for forward in FORWARDS {
            let (edges, values) = edges(&graph(&model, set, forward), usize::MAX, 0);
            let is_linear = |(source, target): &(Node, Node)| match (source.layer.role(), target.layer.role()) {
                (Role::Value, Role::AttentionOutput) | (Role::Unembedding, Role::Output) => true,
                (Role::MlpUp, Role::MlpDown) => shape.gated,
                _ => false,
            };
            let (edges, values): (Vec<_>, Vec<_>) = edges.into_iter().zip(values).filter(|(edge, _)| is_linear(edge)).unzip();
            let found = effects(&model, set, forward).in_segment(&edges, 1.0).unwrap();
            for ((found, expected), edge) in found.iter().zip(&values).zip(&edges) {
                prop_assert!(close(*found, *expected, expected.abs()), "{:?}: {} against {}", edge, found, expected);
            }
        }
    }

    #[test]
    fn without_a_source_the_model_is_the_one_written_separately(shape in shapes(), partly in any::<bool>()) {
        let weights = if partly { shape.model_decomposed_at(&some_layers(&shape)) } else { shape.model() };
        let set = &shape.ci_sets(&weights)[0];
        let model = Model::upload(NaiveBackend, weights.clone()).unwrap();
        for forward in [Forward::Masked, Forward::Target(DeltaGradient::Through)] {
            let (edges, _) = edges(&graph(&model, set, forward), 2, shape.seed);
            let found = effects(&model, set, forward).in_model(&edges).unwrap();
            let (whole, masks) = masked(&weights, set, forward);
            let direct = Direct { weights: &whole, set: &masks };
            let before = direct.run(&BTreeMap::new());
            for (&(source, target), found) in edges.iter().zip(found) {
                let leaf = &before.post[&source.layer];
                let dims = NaiveBackend.shape(leaf);
                let mut values = NaiveBackend.download(leaf).unwrap();
                let row = source.position * dims[1];
                if source.layer.is_embedding() {
                    values[row..row + dims[1]].fill(0.0);
                } else {
                    values[row + source.component] = 0.0;
                }
                let leaves = BTreeMap::from([(source.layer, NaiveBackend.upload(&values, &dims).unwrap())]);
                let (with, without) = (at(&before.pre, target), at(&direct.run(&leaves).pre, target));
                prop_assert!(
                    close(found, with - without, with.abs()),
                    "{:?}: {:?} -> {:?}: {} against {}", forward, source, target, found, with - without
                );
            }
        }
    }

    /// Where nothing passes through deltas, each part is what the definition says, in a model written separately; so the curvature
    /// is what is left of the activation.
    #[test]
    fn parts_are_those_of_the_model_written_separately(shape in shapes(), partly in any::<bool>()) {
        let weights = if partly { shape.model_decomposed_at(&some_layers(&shape)) } else { shape.model() };
        let set = &shape.ci_sets(&weights)[0];
        let model = Model::upload(NaiveBackend, weights.clone()).unwrap();
        for forward in [Forward::Masked, Forward::Target(DeltaGradient::Stopped)] {
            let graph = graph(&model, set, forward);
            let (edges, _) = edges(&graph, 2, shape.seed);
            let mut targets: Vec<Node> = edges.iter().map(|&(_, target)| target).collect::<BTreeSet<_>>().into_iter().collect();
            Rng::with_seed(shape.seed).shuffle(&mut targets);
            targets.truncate(12);
            let (whole, masks) = masked(&weights, set, forward);
            let direct = Direct { weights: &whole, set: &masks };
            let base = direct.run(&BTreeMap::new());
            let scaled = |factor| {
                let weights = with_biases(&whole, factor);
                Direct { weights: &weights, set: &masks }.run(&base.post).pre
            };
            let by_step = STEPS.map(|step| [scaled(1.0 + step), scaled(1.0 - step)]);
            let found = parts(&effects(&model, set, forward), &graph, &targets);
            for (&target, found) in targets.iter().zip(&found) {
                let mut expected = Parts { activation: at(&base.pre, target), ..Parts::default() };
                for (source, values) in direct.attributions(target.layer, target.position, target.component) {
                    let width = values.len() / shape.positions;
                    let own = weights.decomposed.get(&source).map_or(1, Components::count);
                    for (index, value) in values.into_iter().enumerate() {
                        let (position, component) = (index / width, index % width);
                        if component >= own {
                            expected.deltas += value;
                        } else if graph.nodes[&source].alive.row_of(position, component).is_some() {
                            expected.edges += value;
                        } else {
                            expected.dead += value;
                        }
                    }
                }
                let scale = [expected.activation, expected.edges, expected.dead, expected.deltas]
                    .iter()
                    .fold(0.0_f64, |scale, part| scale.max(part.abs()));
                for (name, found, expected) in [
                    ("activation", found.activation, expected.activation),
                    ("edges", found.edges, expected.edges),
                    ("dead", found.dead, expected.dead),
                    ("deltas", found.deltas, expected.deltas),
                    ("other positions", found.other_positions, 0.0),
                    ("held", found.held, 0.0),
                ] {
                    prop_assert!(close(found, expected, scale), "{:?}: {} of {:?}: {} against {}", forward, name, target, found, expected);
                }
                let mut quotients = [0.0; 2];
                for (quotient, (step, [more, less])) in quotients.iter_mut().zip(STEPS.iter().zip(&by_step)) {
                    *quotient = (at(more, target) - at(less, target)) / (2.0 * step);
                }
                prop_assert!(
                    quotient_is(found.biases, quotients, scale),
                    "{:?}: biases of {:?}: {} against {:?}", forward, target, found.biases, quotients
                );
            }
        }
    }

    /// A norm gives the same whatever its argument is multiplied by, so that gradient times activation of all that it reads is 0:
    /// what is left of the activation of a target behind it is the norm's own bias. To rounding where next to nothing is added to the
    /// variance; nothing at all would make no number of a stream of zeros.
    #[test]
    fn of_a_read_of_the_stream_all_but_the_bias_of_the_norm_is_curvature(shape in shapes()) {
        let mut weights = shape.model();
        weights.architecture.norm = match weights.architecture.norm {
            Norm::LayerNorm { .. } => Norm::LayerNorm { eps: 1e-30 },
            Norm::RmsNorm { .. } => Norm::RmsNorm { eps: 1e-30 },
        };
        let set = &all_ones(&weights, &shape.ci_sets(&weights)[0]);
        let model = Model::upload(NaiveBackend, weights.clone()).unwrap();
        for forward in [Forward::Masked, Forward::Target(DeltaGradient::Stopped)] {
            let graph = graph(&model, set, forward);
            let (edges, _) = edges(&graph, 4, shape.seed);
            let targets: BTreeSet<Node> = edges.into_iter().map(|(_, target)| target).collect();
            let norm = |layer: Layer| match (layer.block(), layer.role()) {
                (Some(block), Role::Query | Role::Key | Role::Value | Role::QueryKeyValue) => Some(&weights.norms[block].attention),
                (Some(block), Role::MlpGate | Role::MlpUp) => Some(&weights.norms[block].mlp),
                _ => None,
            };
            let targets: Vec<Node> = targets.into_iter().filter(|node| norm(node.layer).is_some()).collect();
            for (target, parts) in targets.iter().zip(parts(&effects(&model, set, forward), &graph, &targets)) {
                let v = &weights.decomposed[&target.layer].v;
                let of_bias = norm(target.layer).and_then(|norm| norm.bias.as_ref()).map_or(0.0, |bias| {
                    (0..v.shape[0]).map(|i| bias.values.at(i) * v.values.at(i * v.shape[1] + target.component)).sum()
                });
                let terms = [parts.edges, parts.dead, parts.biases, parts.deltas];
                let scale = terms.iter().fold(0.0_f64, |scale, part| scale.max(part.abs()));
                let curvature = parts.activation - of_bias;
                prop_assert!(
                    close(parts.curvature(), curvature, scale.max(curvature.abs())),
                    "{:?}: {:?}: {:?} leave {}, not {}", forward, target, parts, parts.curvature(), curvature
                );
            }
        }
    }

    #[test]
    fn where_there_is_no_delta_it_is_no_part_and_lets_nothing_through(shape in shapes()) {
        let weights = without_delta(&shape.model());
        let set = &shape.ci_sets(&weights)[0];
        let model = Model::upload(NaiveBackend, weights).unwrap();
        let [stopped, through] = [DeltaGradient::Stopped, DeltaGradient::Through].map(Forward::Target);
        let graph = graph(&model, set, stopped);
        let (edges, _) = edges(&graph, 4, shape.seed);
        let targets: Vec<Node> = edges.iter().map(|&(_, target)| target).collect();
        let [of_stopped, of_through] =
            [stopped, through].map(|forward| parts(&effects(&model, set, forward), &graph, &targets));
        for ((target, stopped), through) in targets.iter().zip(&of_stopped).zip(&of_through) {
            let all = |parts: &Parts| [parts.activation, parts.edges, parts.dead, parts.biases, parts.deltas, parts.held, parts.other_positions];
            let scale = all(stopped).iter().fold(0.0_f64, |scale, part| scale.max(part.abs()));
            prop_assert!(close(stopped.deltas, 0.0, scale), "{:?}: {:?}", target, stopped);
            for (of_stopped, of_through) in all(stopped).into_iter().zip(all(through)) {
                prop_assert!(close(of_through, of_stopped, scale), "{:?}: {:?} against {:?}", target, through, stopped);
            }
        }
        let [of_stopped, of_through] =
            [stopped, through].map(|forward| effects(&model, set, forward).in_segment(&edges, 1.0).unwrap());
        for ((edge, stopped), through) in edges.iter().zip(of_stopped).zip(of_through) {
            prop_assert!(close(through, stopped, stopped.abs()), "{:?}: {} against {}", edge, through, stopped);
        }
    }

    /// The attributions of a result are what parts say edges are, also through deltas.
    #[test]
    fn edges_are_the_sum_of_all_attributions_to_a_target(shape in shapes(), partly in any::<bool>()) {
        let weights = if partly { shape.model_decomposed_at(&some_layers(&shape)) } else { shape.model() };
        let set = &shape.ci_sets(&weights)[0];
        let model = Model::upload(NaiveBackend, weights).unwrap();
        for forward in FORWARDS {
            let graph = graph(&model, set, forward);
            let (edges, values) = edges(&graph, usize::MAX, 0);
            let mut sums: BTreeMap<Node, (f64, f64)> = BTreeMap::new();
            for ((_, target), value) in edges.iter().zip(&values) {
                let sum = sums.entry(*target).or_default();
                *sum = (sum.0 + value, sum.1 + value.abs());
            }
            let targets: Vec<Node> = sums.keys().copied().collect();
            let found = parts(&effects(&model, set, forward), &graph, &targets);
            for ((target, (sum, scale)), found) in sums.into_iter().zip(found) {
                prop_assert!(close(found.edges, sum, scale), "{:?}: {:?}: {} against {}", forward, target, found.edges, sum);
                let nodes = &graph.nodes[&target.layer];
                let activation = nodes.activation[nodes.alive.row_of(target.position, target.component).unwrap()];
                prop_assert!(close(found.activation, activation, activation.abs()), "{} against {}", found.activation, activation);
            }
        }
    }
}

/// Without room for two sources at once they are taken away one after the other, which is the same; without room for one the
/// error says how much it takes. A node that there is not is named.
#[test]
fn memory_decides_how_many_sources_are_taken_away_at_once() {
    let shape = Shape { positions: 3, ..Shape::SMALL };
    let weights = shape.model();
    let set = &shape.ci_sets(&weights)[0];
    let model = Model::upload(NaiveBackend, weights).unwrap();
    let forward = Forward::Masked;
    let graph = graph(&model, set, forward);
    let (edges, _) = edges(&graph, 3, 1);
    let targets: Vec<Node> = edges.iter().map(|&(_, target)| target).collect();
    let of = |memory| Effects::new(&model, set, forward, thresholds(forward), &[], memory);
    let needed = match of(0).err().unwrap() {
        tributary_engine::EngineError::Memory { needed, .. } => needed,
        error => panic!("{error}"),
    };
    let (roomy, narrow) = (of(u64::MAX).unwrap(), of(needed).unwrap());
    assert_eq!(roomy.in_segment(&edges, 1.0).unwrap(), narrow.in_segment(&edges, 1.0).unwrap());
    assert_eq!(roomy.in_model(&edges).unwrap(), narrow.in_model(&edges).unwrap());
    assert_eq!(parts(&roomy, &graph, &targets), parts(&narrow, &graph, &targets));
    assert!(of(needed - 1).is_err());
    let (source, target) = edges[0];
    for wrong in [
        (Node { position: 3, ..source }, target),
        (source, Node { position: 3, ..target }),
        (source, Node { component: 99, ..target }),
        (target, source),
    ] {
        let message = roomy.in_segment(&[wrong], 1.0).unwrap_err().to_string();
        assert!(message.contains("takes no part in its forward pass"), "{message}");
    }
}
