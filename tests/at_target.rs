//! Attributions at the target model's activations: what has to hold on any model.

use proptest::prelude::*;
use tributary_engine::{DeltaGradient, Forward, Method, Model, OutputEntries, Request, Sets, attribute};
use tributary_model::{
    Array, CausalImportances, CiSet, Components, Contrast, Layer, Role, SetAttributions, Thresholds, Weights,
};
use tributary_testing::config;
use tributary_tests::naive::NaiveBackend;
use tributary_tests::random_case::{Shape, shapes};

use super::some_layers;

/// All that is alive, so that there is something to compare.
const THRESHOLDS: Thresholds = Thresholds { output_prob: 0.05, ..Thresholds::TARGET };

fn graphs(
    weights: &Weights,
    sets: &[CiSet],
    forward: Forward,
    method: Method,
    until: &[Option<usize>],
) -> Vec<SetAttributions<f64>> {
    let model = Model::upload(NaiveBackend, weights.clone()).unwrap();
    let request = Request { thresholds: THRESHOLDS, forward, method, until, ..Request::new(Sets::Given(sets)) };
    attribute(&model, &request, &mut |_| {}).unwrap().sets
}

/// What two computations of an attribution of `graph` may differ by. Both start from the same activations, so what is left is
/// the rounding of one derivative, 1e-16 of its largest term; a norm divides by sqrt(eps) = 1e-3 at the least, a few times
/// over. Where everything cancels, the terms are still activations of about 1, so that 1e-4 stands for the largest.
fn rounding(graph: &SetAttributions<f64>) -> f64 {
    let values = graph.pairs.iter().flat_map(|pair| &pair.values);
    1e-8 * values.fold(1e-4_f64, |largest, value| largest.max(value.abs()))
}

fn alike(a: &SetAttributions<f64>, b: &SetAttributions<f64>) -> Result<(), TestCaseError> {
    prop_assert_eq!(a.pairs.len(), b.pairs.len());
    let rounding = rounding(b);
    for (of_a, of_b) in a.pairs.iter().zip(&b.pairs) {
        prop_assert_eq!((&of_a.source, &of_a.target), (&of_b.source, &of_b.target));
        prop_assert_eq!(of_a.values.len(), of_b.values.len());
        for (x, y) in of_a.values.iter().zip(&of_b.values) {
            let pair = of_a.pair;
            prop_assert!((x - y).abs() <= rounding, "{} -> {}: {x} {y}, within {rounding}", pair.source, pair.target);
        }
    }
    Ok(())
}

/// The weights with those of every decomposed layer what its components make: no delta is left.
pub(super) fn without_delta(weights: &Weights) -> Weights {
    let mut weights = weights.clone();
    for (layer, components) in &weights.decomposed {
        let product = product(components);
        match layer.role() {
            Role::TokenEmbedding => weights.wte = product,
            Role::Unembedding => weights.lm_head = Some(product.transposed()),
            _ => weights.linear.get_mut(layer).unwrap().weight = product.transposed(),
        }
    }
    weights
}

/// `V U`, `[d_in, d_out]`.
fn product(Components { v, u }: &Components) -> Array {
    let (d_in, count, d_out) = (v.shape[0], v.shape[1], u.shape[1]);
    let element = |at: usize| -> f64 {
        (0..count).map(|c| v.values.at(at / d_out * count + c) * u.values.at(c * d_out + at % d_out)).sum()
    };
    Array::of([d_in, d_out], (0..d_in * d_out).map(element).collect::<Vec<f64>>())
}

fn with_all(set: &CiSet) -> CiSet {
    let ones = |ci: &CausalImportances| {
        CausalImportances::from_dense(ci.components(), &vec![1.0; ci.positions() * ci.components()])
    };
    CiSet { layers: set.layers.iter().map(|(&layer, ci)| (layer, ones(ci))).collect(), ..set.clone() }
}

proptest! {
    #![proptest_config(config(24))]

    #[test]
    fn closed_forms_equal_backward_passes(shape in shapes(), partly in any::<bool>()) {
        let weights = if partly { shape.model_decomposed_at(&some_layers(&shape)) } else { shape.model() };
        let sets = shape.sparse_ci_sets(&weights);
        for gradient in [DeltaGradient::Through, DeltaGradient::Stopped] {
            let forward = Forward::Target(gradient);
            let closed = graphs(&weights, &sets, forward, Method::Mixed, &[]);
            let by_passes = graphs(&weights, &sets, forward, Method::Autograd, &[]);
            for (closed, by_passes) in closed.iter().zip(&by_passes) {
                alike(closed, by_passes)?;
            }
        }
    }

    #[test]
    fn both_at_once_are_what_each_is_alone(shape in shapes()) {
        let weights = shape.model();
        let sets = shape.sparse_ci_sets(&weights);
        let [through, stopped, both] = [DeltaGradient::Through, DeltaGradient::Stopped, DeltaGradient::Both]
            .map(|gradient| graphs(&weights, &sets, Forward::Target(gradient), Method::Mixed, &[]));
        for ((through, stopped), both) in through.iter().zip(&stopped).zip(&both) {
            for ((through, stopped), both) in through.pairs.iter().zip(&stopped.pairs).zip(&both.pairs) {
                prop_assert_eq!((&both.values, &both.stopped), (&through.values, &stopped.values));
            }
        }
    }

    #[test]
    fn where_there_is_no_delta_nothing_passes_through_it(shape in shapes()) {
        let weights = without_delta(&shape.model());
        let sets: Vec<CiSet> = shape.ci_sets(&weights).iter().map(with_all).collect();
        let [through, stopped] = [DeltaGradient::Through, DeltaGradient::Stopped]
            .map(|gradient| graphs(&weights, &sets, Forward::Target(gradient), Method::Mixed, &[]));
        let masked = graphs(&weights, &sets, Forward::Masked, Method::Mixed, &[]);
        for ((through, stopped), masked) in through.iter().zip(&stopped).zip(&masked) {
            alike(through, stopped)?;
            alike(masked, stopped)?;
        }
    }

    #[test]
    fn sets_are_none_of_each_others_business(shape in shapes()) {
        let weights = shape.model();
        let sets = shape.sparse_ci_sets(&weights);
        let forward = Forward::Target(DeltaGradient::Through);
        let together = graphs(&weights, &sets, forward, Method::Mixed, &[]);
        let mut turned = sets.clone();
        turned.reverse();
        let mut turned = graphs(&weights, &turned, forward, Method::Mixed, &[]);
        turned.reverse();
        for ((set, together), turned) in sets.iter().zip(&together).zip(&turned) {
            let alone = graphs(&weights, std::slice::from_ref(set), forward, Method::Mixed, &[]);
            alike(&alone[0], together)?;
            alike(turned, together)?;
        }
    }

    #[test]
    fn a_last_position_only_removes(shape in shapes(), at in any::<prop::sample::Index>()) {
        let weights = shape.model();
        let sets = shape.sparse_ci_sets(&weights);
        let last = at.index(sets[0].prompt.tokens.len());
        let until: Vec<Option<usize>> = (0..sets.len()).map(|set| (set % 2 == 0).then_some(last)).collect();
        for forward in [Forward::Masked, Forward::Target(DeltaGradient::Through)] {
            let all = graphs(&weights, &sets, forward, Method::Mixed, &[]);
            let cut = graphs(&weights, &sets, forward, Method::Mixed, &until);
            for ((all, cut), until) in all.iter().zip(&cut).zip(&until) {
                let Some(last) = *until else {
                    alike(cut, all)?;
                    continue;
                };
                for (of_all, of_cut) in all.pairs.iter().zip(&cut.pairs) {
                    prop_assert_eq!(&*of_cut.source, &of_all.source.until(last));
                    prop_assert_eq!(&*of_cut.target, &of_all.target.until(last));
                    // Targets come position by position, and sources are no later: what is kept are the first.
                    let kept = &of_all.values[..of_cut.values.len()];
                    for (x, y) in of_cut.values.iter().zip(kept) {
                        prop_assert!((x - y).abs() <= rounding(all), "{x} {y}");
                    }
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(config(24))]

    #[test]
    fn a_contrast_is_the_difference_of_its_two_targets(shape in shapes(), partly in any::<bool>(), at in any::<[prop::sample::Index; 3]>()) {
        let weights = if partly { shape.model_decomposed_at(&some_layers(&shape)) } else { shape.model() };
        let sets = shape.sparse_ci_sets(&weights);
        let model = Model::upload(NaiveBackend, weights.clone()).unwrap();
        let vocab = weights.architecture.vocab;
        let position = at[0].index(shape.positions);
        let (token, against) = (at[1].index(vocab), at[2].index(vocab));
        let contrasts = [(against, token), (token, against)]
            .map(|(token, against)| Contrast { token: token as u32, against: against as u32 });
        let contrast = vocab + 1;
        let of_sets = vec![vec![(position, contrast), (position, token), (position, against)]; sets.len()];
        let output = OutputEntries { contrasts: &contrasts, of_sets: &of_sets };
        // Nothing else of the output.
        let thresholds = Thresholds { output_prob: 2.0, ..THRESHOLDS };
        for forward in [Forward::Masked, Forward::Target(DeltaGradient::Through), Forward::Target(DeltaGradient::Stopped)] {
            for method in [Method::Mixed, Method::Autograd] {
                let request = Request { thresholds, forward, method, output, ..Request::new(Sets::Given(&sets)) };
                for graph in attribute(&model, &request, &mut |_| {}).unwrap().sets {
                    let nodes = &graph.nodes[&Layer::output()];
                    let row = |component| nodes.alive.row_of(position, component).unwrap();
                    prop_assert_eq!(nodes.alive.len(), if token == against { 2 } else { 3 });
                    let (of_contrast, of_token, of_other) = (row(contrast), row(token), row(against));
                    // Terms as large as what they are the difference of, some tens of them.
                    let near = |a: f64, b: f64, of: f64| (a - b).abs() <= 1e-12 * of.max(1e-3);
                    let logit = &nodes.activation;
                    let difference = logit[of_token] - logit[of_other];
                    prop_assert!(near(logit[of_contrast], difference, logit[of_token].abs() + logit[of_other].abs() + 1.0));
                    let prediction = graph.prediction.as_ref().unwrap();
                    for probs in [&nodes.importance, &prediction.target_prob] {
                        let of_two = probs[of_token] / (probs[of_token] + probs[of_other]);
                        prop_assert!(near(probs[of_contrast], of_two, 1.0), "{} {of_two}", probs[of_contrast]);
                    }
                    for pair in graph.pairs.iter().filter(|pair| pair.pair.target.is_output()) {
                        // All targets are at one position, so each has the same sources; of a value projection that no
                        // decomposed output projection follows, they are at earlier positions too.
                        let sources = pair.values.len() / pair.target.len();
                        let of_row = |row: usize| &pair.values[row * sources..][..sources];
                        let both = of_row(of_token).iter().zip(of_row(of_other));
                        for (found, (a, b)) in of_row(of_contrast).iter().zip(both) {
                            prop_assert!((found - (a - b)).abs() <= rounding(&graph), "{found} {a} {b}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn what_is_asked_for_of_the_output_only_adds(shape in shapes(), at in any::<[prop::sample::Index; 2]>()) {
        let weights = shape.model();
        let sets = shape.sparse_ci_sets(&weights);
        let model = Model::upload(NaiveBackend, weights.clone()).unwrap();
        let entry = (at[0].index(shape.positions), at[1].index(weights.architecture.vocab));
        let of_sets: Vec<Vec<(usize, usize)>> = (0..sets.len()).map(|set| if set == 0 { vec![entry] } else { Vec::new() }).collect();
        for forward in [Forward::Masked, Forward::Target(DeltaGradient::Through)] {
            let request = Request { thresholds: THRESHOLDS, forward, ..Request::new(Sets::Given(&sets)) };
            let without = attribute(&model, &request, &mut |_| {}).unwrap().sets;
            let output = OutputEntries { contrasts: &[], of_sets: &of_sets };
            let with = attribute(&model, &Request { output, ..request }, &mut |_| {}).unwrap().sets;
            for (set, (without, with)) in without.iter().zip(&with).enumerate() {
                for (of_without, of_with) in without.pairs.iter().zip(&with.pairs) {
                    if !of_with.pair.target.is_output() || set > 0 {
                        prop_assert_eq!(&of_without.target, &of_with.target);
                        for (x, y) in of_without.values.iter().zip(&of_with.values) {
                            prop_assert!((x - y).abs() <= rounding(with), "{x} {y}");
                        }
                        continue;
                    }
                    let mut expected: Vec<(usize, usize)> = of_without.target.iter().chain([entry]).collect();
                    expected.sort_unstable();
                    expected.dedup();
                    prop_assert_eq!(of_with.target.iter().collect::<Vec<_>>(), expected);
                }
            }
        }
    }
}

/// The shapes draw every class; here one of them is looked at by itself, so that it is certain that something was compared.
#[test]
fn something_passes_through_deltas() {
    let shape = Shape { n_blocks: 2, positions: 3, sets: 2, seed: 3, ..Shape::SMALL };
    let weights = shape.model();
    let sets = shape.ci_sets(&weights);
    let [through, stopped] = [DeltaGradient::Through, DeltaGradient::Stopped]
        .map(|gradient| graphs(&weights, &sets, Forward::Target(gradient), Method::Mixed, &[]));
    let differ = through
        .iter()
        .zip(&stopped)
        .any(|(through, stopped)| through.pairs.iter().zip(&stopped.pairs).any(|(a, b)| a.values != b.values));
    assert!(differ);
}
