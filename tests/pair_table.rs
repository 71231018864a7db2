//! The pair table against the published one, and against gradients.

use std::collections::BTreeSet;

use proptest::prelude::*;
use tributary_backend::AttributionBackend;
use tributary_model::{Layer, pair_table, published_blocks};
use tributary_tests::direct::Direct;
use tributary_tests::naive::NaiveBackend;
use tributary_tests::random_case::{config, shapes};

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

proptest! {
    #![proptest_config(config(24))]

    /// A pair is in the table exactly when some gradient between its layers is not zero, and crosses positions exactly
    /// when one between different positions is not; for any choice of decomposed layers.
    #[test]
    fn holds_what_has_gradients(shape in shapes(), keep in any::<[bool; 12]>()) {
        let shape = tributary_tests::random_case::Shape { positions: 3, ..shape };
        let architecture = shape.architecture();
        let kept = architecture.linear_layers().zip(keep.into_iter().cycle());
        let decomposed: BTreeSet<Layer> = kept.filter(|(_, keep)| *keep).map(|(layer, _)| layer).collect();
        let weights = shape.model_decomposed_at(&decomposed);
        let set = &shape.ci_sets(&weights)[0];
        let direct = Direct { weights: &weights, set };
        let activations = direct.run(&std::collections::BTreeMap::new());
        let mut found = BTreeSet::new();
        let mut crossing = BTreeSet::new();
        for (&target, pre) in &activations.pre {
            let components = NaiveBackend.shape(pre)[1];
            for c_out in 0..components {
                let s_out = shape.positions - 1;
                for (source, values) in direct.attributions(target, s_out, c_out) {
                    let width = values.len() / shape.positions;
                    let acts = |at: &usize| values[*at] != 0.0;
                    if (0..values.len()).any(|at| acts(&at)) {
                        found.insert((source, target));
                    }
                    if (0..s_out * width).any(|at| acts(&at)) {
                        crossing.insert((source, target));
                    }
                }
            }
        }
        let table = pair_table(&published_blocks(shape.n_blocks), &decomposed);
        prop_assert_eq!(table.iter().map(|pair| (pair.source, pair.target)).collect::<BTreeSet<_>>(), found);
        let crosses = table.iter().filter(|pair| pair.crosses_positions);
        prop_assert_eq!(crosses.map(|pair| (pair.source, pair.target)).collect::<BTreeSet<_>>(), crossing);
    }
}
