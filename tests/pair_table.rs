//! The pair table against the published one, and against gradients.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};

use fastrand::Rng;
use proptest::prelude::*;
use tributary_backend::AttributionBackend;
use tributary_model::{Layer, pair_table, published_blocks};
use tributary_testing::config;
use tributary_tests::direct::Direct;
use tributary_tests::naive::{NaiveBackend, NaiveTensor};
use tributary_tests::random_case::{Shape, normal, shapes};

/// `sources_by_target` of every golden case lists the same pairs in its own order of targets.
#[test]
fn equals_the_published_table() {
    let case = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/golden/gpt2s-2L/walked/case.json"));
    let case: serde_json::Value = serde_json::from_str(&case.unwrap()).unwrap();
    let published: BTreeSet<(Layer, Layer)> = case["sources_by_target"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(target, sources)| {
            let target: Layer = target.parse().unwrap();
            let sources = sources.as_array().unwrap().iter();
            sources.map(move |source| (source.as_str().unwrap().parse().unwrap(), target))
        })
        .collect();
    let all = published_blocks(2).into_iter().collect();
    let table = pair_table(&published_blocks(2), &all);
    assert_eq!(table.iter().map(|pair| (pair.source, pair.target)).collect::<BTreeSet<_>>(), published);
    assert!(table.iter().all(|pair| pair.crosses_positions == pair.is_kv_to_o_pair()));
}

const POSITIONS: usize = 3;

/// How many times activations are drawn, at most.
const DRAWS: u64 = 8;

/// A source, a target, and whether the first is at an earlier position.
type Acts = BTreeSet<(Layer, Layer, bool)>;

/// Adds the pairs between which some gradient is not zero where the leaves are the given ones.
fn add_what_acts(direct: &Direct<'_>, leaves: &BTreeMap<Layer, NaiveTensor>, rng: &mut Rng, found: &mut Acts) {
    for (target, pre) in direct.run(leaves).pre {
        let width = NaiveBackend.shape(&pre)[1];
        for s_out in 0..POSITIONS {
            // A sum over the components with factors of their own, so that none cancels another.
            let factors: Vec<f64> = (0..width).map(|_| f64::from(normal(rng))).collect();
            let gradients = direct.gradients(leaves, target, |pre| {
                let row = NaiveBackend.select(pre, 0, &[s_out]).unwrap();
                let factors = NaiveBackend.upload(&factors, &[1, width]).unwrap();
                NaiveBackend.sum_all(&NaiveBackend.mul(&row, &factors).unwrap()).unwrap()
            });
            for (source, gradient) in gradients {
                let width = NaiveBackend.shape(&gradient)[1];
                let gradient = NaiveBackend.download(&gradient).unwrap();
                let acting = (0..POSITIONS).filter(|s_in| gradient[s_in * width..][..width].iter().any(|&g| g != 0.0));
                for s_in in acting {
                    assert!(s_in <= s_out, "{source} at {s_in} acts on {target} at {s_out}");
                    found.insert((source, target, s_in < s_out));
                }
            }
        }
    }
}

/// Outside the table every gradient is exactly zero, since no path is there to be differentiated: at the activations of
/// the model, and at any other.
///
/// Inside it the gradient is zero at some activations and not at others. The keys of equal tokens have no gradient: the
/// values that they choose between are equal, too, and what a difference of equal numbers leaves is rounding. Nor has what
/// a GELU or a softmax makes constant. So activations of all leaves are drawn too, each at random: a pair is in the
/// table exactly when some gradient between its layers is not zero there.
fn check_table(shape: &Shape, keep: [bool; 12]) -> Result<(), TestCaseError> {
    let shape = Shape { positions: POSITIONS, ..shape.clone() };
    let architecture = shape.architecture();
    let kept = architecture.linear_layers().zip(keep.into_iter().cycle());
    let decomposed: BTreeSet<Layer> = kept.filter(|(_, keep)| *keep).map(|(layer, _)| layer).collect();
    let weights = shape.model_decomposed_at(&decomposed);
    let direct = Direct { weights: &weights, set: &shape.ci_sets(&weights)[0] };
    let linear: Vec<Layer> = weights.architecture.linear_layers().collect();
    let expected: Acts = pair_table(&linear, &decomposed)
        .iter()
        .flat_map(|pair| {
            let at_once = (pair.source, pair.target, false);
            [Some(at_once), pair.crosses_positions.then_some((pair.source, pair.target, true))]
        })
        .flatten()
        .collect();
    let mut rng = Rng::with_seed(shape.seed);
    let own = direct.run(&BTreeMap::new()).post;
    let mut found = Acts::new();
    add_what_acts(&direct, &own, &mut rng, &mut found);
    for _ in 0..DRAWS {
        let drawn = own.iter().map(|(&layer, leaf)| {
            let shape = NaiveBackend.shape(leaf);
            let values: Vec<f64> = (0..shape.iter().product()).map(|_| f64::from(normal(&mut rng))).collect();
            (layer, NaiveBackend.upload(&values, &shape).unwrap())
        });
        let drawn = drawn.collect();
        add_what_acts(&direct, &drawn, &mut rng, &mut found);
        if found == expected {
            return Ok(());
        }
    }
    prop_assert_eq!(found, expected);
    Ok(())
}

proptest! {
    #![proptest_config(config(24))]

    #[test]
    fn holds_what_has_gradients(shape in shapes(), keep in any::<[bool; 12]>()) {
        check_table(&shape, keep)?;
    }
}

/// Three equal tokens: a gradient between the key and what reads its attention is zero but for rounding, and at times is
/// exactly zero.
#[test]
fn holds_the_keys_of_equal_tokens() -> Result<(), TestCaseError> {
    for (adjacent_pairs, biases) in [(false, false), (false, true), (true, false), (true, true)] {
        let seed = 6_851_160_110_740_649_066;
        let small = Shape { llama: true, adjacent_pairs, biases, seed, ..Shape::SMALL };
        let shape = Shape { half_head: 1, positions: POSITIONS, ..small };
        // The keys and the first layer of the MLP.
        check_table(&shape, std::array::from_fn(|layer| matches!(layer % 6, 1 | 4)))?;
    }
    Ok(())
}
