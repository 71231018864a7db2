//! The masked model that is run again and again, against single passes told in another way and against difference quotients.

use std::collections::BTreeMap;

use fastrand::Rng;
use proptest::prelude::*;
use tributary_engine::{Delta, LayerMask, LayerMasks, MaskedModel, Masks, Model, Pass, logits};
use tributary_model::{CausalImportances, Components, Layer, Prompt, Role, Weights};
use tributary_testing::config;
use tributary_tests::close::assert_close;
use tributary_tests::naive::NaiveBackend;
use tributary_tests::random_case::{Shape, shapes};

use super::some_layers;

/// Factors of all components in f32, which single passes take: of each item, by layer `[positions, C]`.
fn factors(shape: &Shape, weights: &Weights, items: usize) -> Vec<BTreeMap<Layer, Vec<f32>>> {
    let mut rng = Rng::with_seed(shape.seed ^ 0xfac);
    let counts = weights.component_counts();
    let mut values = |count: usize| (0..shape.positions * count).map(|_| rng.f32()).collect();
    let mut item = || counts.iter().map(|(&layer, &count)| (layer, values(count))).collect();
    (0..items).map(|_| item()).collect()
}

fn importances(factors: &BTreeMap<Layer, Vec<f32>>, weights: &Weights) -> BTreeMap<Layer, CausalImportances> {
    let counts = weights.component_counts();
    factors.iter().map(|(&layer, values)| (layer, CausalImportances::from_dense(counts[&layer], values))).collect()
}

/// The masks of all components by these factors, and of what no component holds by one number.
fn masks(factors: &[BTreeMap<Layer, Vec<f32>>], delta: f64, positions: usize) -> LayerMasks<f64> {
    let of_layer = |layer: Layer| {
        let mask = factors.iter().flat_map(|item| &item[&layer]).map(|&factor| f64::from(factor) - delta).collect();
        let whole = if delta == 0.0 { Vec::new() } else { vec![delta; factors.len() * positions] };
        (layer, LayerMask { mask, whole })
    };
    factors[0].keys().map(|&layer| of_layer(layer)).collect()
}

fn all(weights: &Weights) -> BTreeMap<Layer, Vec<usize>> {
    weights.component_counts().into_iter().map(|(layer, count)| (layer, (0..count).collect())).collect()
}

/// The same model with the part of each decomposed weight that no component holds multiplied.
fn with_delta(weights: &Weights, factor: f64) -> Weights {
    let mut weights = weights.clone();
    // Tied to the embedding, it is another matrix from here on.
    weights.lm_head.get_or_insert(weights.wte.clone());
    for (layer, Components { v, u }) in &weights.decomposed.clone() {
        let (d_in, count, d_out) = (v.shape[0], v.shape[1], u.shape[1]);
        // As the weight is kept, `[d_out, d_in]`, or of the embedding `[d_in, d_out]`.
        let weight = match layer.role() {
            Role::TokenEmbedding => &mut weights.wte,
            Role::Unembedding => weights.lm_head.as_mut().unwrap(),
            _ => &mut weights.linear.get_mut(layer).unwrap().weight,
        };
        let is_turned = layer.role() != Role::TokenEmbedding;
        let values = (0..d_in * d_out).map(|at| {
            let (i, o) = if is_turned { (at % d_in, at / d_in) } else { (at / d_out, at % d_out) };
            let product: f64 = (0..count).map(|c| v.values.at(i * count + c) * u.values.at(c * d_out + o)).sum();
            product + factor * (weight.values.at(at) - product)
        });
        *weight = tributary_model::Array::of([weight.shape[0], weight.shape[1]], values.collect::<Vec<f64>>());
    }
    weights
}

proptest! {
    #![proptest_config(config(24))]

    #[test]
    fn logits_are_those_of_single_passes(shape in shapes(), partly in any::<bool>(), delta in prop::sample::select(vec![0.0, 0.3, 1.0])) {
        let weights = if partly { shape.model_decomposed_at(&some_layers(&shape)) } else { shape.model() };
        let sets = shape.ci_sets(&weights);
        let prompts: Vec<&Prompt> = sets.iter().map(|set| &set.prompt).collect();
        let model = Model::upload(NaiveBackend, weights.clone()).unwrap();
        let factors = factors(&shape, &weights, sets.len());
        let read: Vec<(usize, usize)> =
            (0..sets.len()).flat_map(|item| (0..shape.positions).map(move |position| (item, position))).collect();
        if weights.decomposed.is_empty() {
            return Ok(());
        }
        let masked = MaskedModel::new(&model, &prompts, &all(&weights), &read).unwrap();
        let found = masked.logits(&masks(&factors, delta, shape.positions)).unwrap();
        let importances: Vec<_> = factors.iter().map(|item| importances(item, &weights)).collect();
        let pass = Pass {
            masks: Masks::Given(importances.iter().collect()),
            delta: if delta == 0.0 { Delta::None } else { Delta::Stopped },
            edits: &[],
        };
        let scaled = Model::upload(NaiveBackend, with_delta(&weights, delta)).unwrap();
        assert_close(&found, &logits(&scaled, &prompts, &pass).unwrap())?;
    }

    #[test]
    fn a_support_is_as_good_as_all(shape in shapes(), partly in any::<bool>(), without in any::<bool>()) {
        let weights = if partly { shape.model_decomposed_at(&some_layers(&shape)) } else { shape.model() };
        let sets = shape.ci_sets(&weights);
        let model = Model::upload(NaiveBackend, weights.clone()).unwrap();
        let mut rng = Rng::with_seed(shape.seed);
        let supports: BTreeMap<Layer, Vec<usize>> =
            all(&weights).into_iter().map(|(layer, all)| (layer, all.into_iter().filter(|_| rng.bool()).collect())).collect();
        // Everything but the support is masked by 0, or as the target model has it.
        let mut factors = factors(&shape, &weights, 1);
        for (layer, values) in &mut factors[0] {
            let count = values.len() / shape.positions;
            for (at, value) in values.iter_mut().enumerate() {
                if supports[layer].binary_search(&(at % count)).is_err() {
                    *value = f32::from(u8::from(without));
                }
            }
        }
        let delta = f64::from(u8::from(without));
        let of_all = masks(&factors, delta, shape.positions);
        let cut = |(&layer, mask): (&Layer, &LayerMask<f64>)| {
            let count = mask.mask.len() / shape.positions;
            let rows = mask.mask.chunks_exact(count.max(1));
            let kept = rows.flat_map(|row| supports[&layer].iter().map(|&component| row[component])).collect();
            (layer, LayerMask { mask: kept, whole: mask.whole.clone() })
        };
        let of_support = of_all.iter().map(cut).collect();
        let read = [(0, shape.positions - 1)];
        let prompt = [&sets[0].prompt];
        let found = MaskedModel::new(&model, &prompt, &supports, &read).unwrap().logits(&of_support).unwrap();
        let expected = MaskedModel::new(&model, &prompt, &all(&weights), &read).unwrap().logits(&of_all).unwrap();
        assert_close(&found, &expected)?;
    }

    #[test]
    fn gradients_are_difference_quotients(shape in shapes(), partly in any::<bool>(), delta in prop::sample::select(vec![0.0, 0.3])) {
        let weights = if partly { shape.model_decomposed_at(&some_layers(&shape)) } else { shape.model() };
        let sets = shape.ci_sets(&weights);
        let prompts: Vec<&Prompt> = sets.iter().map(|set| &set.prompt).collect();
        let model = Model::upload(NaiveBackend, weights.clone()).unwrap();
        let mut rng = Rng::with_seed(shape.seed);
        let read: Vec<(usize, usize)> = (0..sets.len()).map(|item| (item, rng.usize(0..shape.positions))).collect();
        let masked = MaskedModel::new(&model, &prompts, &all(&weights), &read).unwrap();
        let masks = masks(&factors(&shape, &weights, sets.len()), delta, shape.positions);
        let cotangent: Vec<f64> = (0..read.len() * weights.architecture.vocab).map(|_| rng.f64() - 0.5).collect();
        let value = |masks: &LayerMasks<f64>| -> f64 {
            masked.logits(masks).unwrap().iter().zip(&cotangent).map(|(logit, factor)| logit * factor).sum()
        };
        let gradient = masked.gradient(&masks, |_| cotangent.clone()).unwrap();
        let largest = gradient.values().flatten().fold(0.0_f64, |largest, value| largest.max(value.abs()));
        let layers: Vec<Layer> = masks.iter().filter(|(_, mask)| !mask.mask.is_empty()).map(|(&layer, _)| layer).collect();
        for &layer in &layers {
            let at = rng.usize(0..masks[&layer].mask.len());
            let moved = |by: f64| {
                let mut moved = masks.clone();
                moved.get_mut(&layer).unwrap().mask[at] += by;
                value(&moved)
            };
            // By Richardson: what is left is of the fourth power of the step.
            let quotient = |step: f64| (moved(step) - moved(-step)) / (2.0 * step);
            let expected = (4.0 * quotient(5e-5) - quotient(1e-4)) / 3.0;
            // Rounding of the value, 1e-13 where a norm magnifies it, by a step of 5e-5.
            prop_assert!(
                (gradient[&layer][at] - expected).abs() <= 1e-6 * largest.max(1e-2),
                "{layer}: {} against {expected}", gradient[&layer][at]
            );
        }
    }
}
