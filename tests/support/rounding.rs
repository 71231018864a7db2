//! What rounding may do to the attributions of a case, found from the case itself.

use std::collections::BTreeMap;

use tributary_backend::{AttributionBackend, Dtype};
use tributary_engine::{Method, Model, Request, Sets, attribute};
use tributary_model::{Layer, SetAttributions, Thresholds, Weights};

use crate::distance::Distance;
use crate::naive::NaiveBackend;
use crate::noisy::NoisyBackend;

/// A closed form for every target that has one, and none for any.
pub const METHODS: [Method; 2] = [Method::Mixed, Method::Autograd];

/// Size of the noise: float32's rounding, so that what is not linear in it shows too.
const NOISE: f64 = 1.0 / (1_u32 << 23) as f64;

/// How often a case is computed with noise. The movement of a single number is about normally distributed; the largest of
/// eight is below a tenth of the standard deviation with a probability of 0.08^8 = 2e-9.
const DRAWS: u64 = 8;

/// What a distance may be of the largest movement by noise of the size of the rounding: ten, for movements that all happen
/// to be small, as above; times four, since noise disturbs a number once where a sum of up to 64 products rounds it 64
/// times, at random, which is sqrt(64) times as much, and by half a unit in the last place where noise is of up to one.
const FACTOR: f64 = 40.0;

/// How far rounding may take each pair of each set when one method computes it.
///
/// A case is computed exactly, that is on the naive float64 backend, and then with [noise](NoisyBackend), some times over.
/// How far a pair moves, over the size of the noise, is its condition: what cancels, what a norm divides by next to
/// nothing, what a softmax multiplies is all in it, as it is in this case and this method.
pub struct Rounding {
    /// The method.
    pub method: Method,
    /// The sets, computed exactly.
    pub exact: Vec<SetAttributions<f64>>,
    /// `[set][pair]`
    condition: Vec<Vec<f64>>,
    /// `[set]`, then of each layer `[row]`: that of the activations.
    of_activations: Vec<BTreeMap<Layer, Vec<f64>>>,
}

impl Rounding {
    /// Of `sets` on the model with these weights; `seed` draws the noise.
    ///
    /// # Panics
    ///
    /// When the engine fails.
    pub fn new(weights: &Weights, sets: Sets<'_>, thresholds: Thresholds, method: Method, seed: u64) -> Self {
        let exact = run(NaiveBackend, weights, sets, thresholds, method);
        let mut condition: Vec<Vec<f64>> = exact.iter().map(|set| vec![0.0; set.pairs.len()]).collect();
        let rows = |set: &SetAttributions<f64>| {
            set.nodes.iter().map(|(&layer, nodes)| (layer, vec![0.0_f64; nodes.activation.len()])).collect()
        };
        let mut of_activations: Vec<BTreeMap<Layer, Vec<f64>>> = exact.iter().map(rows).collect();
        for draw in 0..DRAWS {
            let noisy = NoisyBackend::new(NOISE, seed.wrapping_add(draw));
            let moved = run(noisy, weights, sets, thresholds, method);
            for (set, (exact, moved)) in exact.iter().zip(&moved).enumerate() {
                for (condition, (exact, moved)) in condition[set].iter_mut().zip(exact.pairs.iter().zip(&moved.pairs)) {
                    // Where noise changes who is alive, nothing can be said of the edges.
                    let movement = Distance::of_pair(moved, exact).map_or(f64::INFINITY, |distance| distance.error());
                    *condition = condition.max(movement / NOISE);
                }
                for (layer, conditions) in &mut of_activations[set] {
                    let (exact, moved) = (&exact.nodes[layer], &moved.nodes[layer]);
                    let values = exact.activation.iter().zip(&moved.activation);
                    for (condition, (exact_value, moved_value)) in conditions.iter_mut().zip(values) {
                        let movement =
                            if exact.alive == moved.alive { (moved_value - exact_value).abs() } else { f64::INFINITY };
                        *condition = condition.max(movement / NOISE);
                    }
                }
            }
        }
        Self { method, exact, condition, of_activations }
    }

    /// The largest L2 distance from the truth that rounding explains at a pair of a set, for arithmetic in `dtype`.
    pub fn bound(&self, dtype: Dtype, set: usize, pair: usize) -> f64 {
        FACTOR * dtype.epsilon() * self.condition[set][pair]
    }

    /// The largest distance from the truth that rounding explains at the activation of a row of a layer.
    pub fn activation_bound(&self, dtype: Dtype, set: usize, layer: Layer, row: usize) -> f64 {
        FACTOR * dtype.epsilon() * self.of_activations[set][&layer][row]
    }
}

fn run<B: AttributionBackend<Element = f64>>(
    backend: B,
    weights: &Weights,
    sets: Sets<'_>,
    thresholds: Thresholds,
    method: Method,
) -> Vec<SetAttributions<f64>> {
    let model = Model::upload(backend, weights.clone()).expect("a model");
    attribute(&model, &Request { thresholds, method, ..Request::new(sets) }, &mut |_| {}).expect("attributions").sets
}
