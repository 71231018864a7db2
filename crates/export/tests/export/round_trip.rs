//! Causal importances that were exported are read back as a file of CI sets.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;

use serde_json::{Value, json};
use tributary_export::{Format, export};
use tributary_graph::View;
use tributary_inputs::test_support::{RandomWeights, Style, write_run};
use tributary_inputs::{RunOptions, TrainedRun};
use tributary_model::{
    AliveEntries, CiSet, Layer, LayerNodes, PairAttribution, SetAttributions, Thresholds, alive_components, pair_table,
};
use tributary_results::{ModelInfo, ResultFolder, ResultWriter};
use tributary_testing::RandomResults;

/// What an attribution of this set would give, but for its numbers.
fn attributed(set: &CiSet, thresholds: Thresholds, run: &TrainedRun) -> SetAttributions<f32> {
    let positions = set.prompt.tokens.len();
    let mut nodes = BTreeMap::from([(Layer::wte(), LayerNodes::embedding(positions))]);
    for (&layer, ci) in &set.layers {
        let alive = Arc::new(alive_components(ci, thresholds));
        let importance: Vec<f32> = alive.iter().map(|(position, component)| ci.get(position, component)).collect();
        let activation = vec![1.0; alive.len()];
        nodes.insert(layer, LayerNodes { original: Arc::clone(&alive), alive, importance, activation });
    }
    let vocab = run.weights.architecture.vocab;
    let none = Arc::new(AliveEntries::collect(positions, vocab, |_, _| false));
    let output = LayerNodes { original: Arc::clone(&none), alive: none, importance: vec![], activation: vec![] };
    nodes.insert(Layer::output(), output);
    let linear: Vec<Layer> = run.weights.architecture.linear_layers().collect();
    let table = pair_table(&linear, &set.layers.keys().copied().collect());
    let of_pair = |pair| {
        let empty = PairAttribution::between(pair, &nodes);
        PairAttribution { values: vec![1.0; empty.edge_count()], ..empty }
    };
    let pairs = table.into_iter().map(of_pair).collect();
    let output_probs = vec![0.0; positions * vocab];
    SetAttributions { output_probs, ..SetAttributions::new(set.name.clone(), nodes, pairs) }
}

#[test]
fn exported_causal_importances_are_read_back() {
    let mut alive = 0;
    for random in [
        RandomWeights::gpt2_simple(3),
        RandomWeights::llama_simple_mlp(4),
        RandomWeights::of_class("GPT2", 5),
        RandomWeights::of_class("LlamaSimple", 6),
    ] {
        let folder = tempfile::tempdir().unwrap();
        write_run(folder.path(), &random.weights(), Style::Current);
        let run = TrainedRun::load(folder.path(), &RunOptions::default()).unwrap();
        let components = run.weights.component_counts();
        let mut numbers = (0_u32..).map(|number| (number.wrapping_mul(2_654_435_761) >> 8) as f32 / 16_777_216.0);
        let mut set = || -> BTreeMap<String, Vec<Vec<f32>>> {
            let mut value = || numbers.next().map(|number| if number < 0.5 { 0.0 } else { number }).unwrap();
            let layers = components.iter().map(|(layer, &count)| {
                (layer.to_string(), (0..3).map(|_| (0..count).map(|_| value()).collect()).collect())
            });
            layers.collect()
        };
        let metadata = json!({"seed 0": {"imp_min_coeff": 0.05, "until": 1, "loss": [1, null]}});
        let sets = json!({"tokens": [4, 1, 2], "ci_sets": {"seed 0": set(), "2": set()}, "metadata": metadata});
        let file = folder.path().join("sets.json");
        fs::write(&file, sets.to_string()).unwrap();
        let given = run.ci_sets(&file, &[]).unwrap();

        let mut results = RandomResults::new(1);
        let architecture = &run.weights.architecture;
        results.model = ModelInfo {
            class: architecture.model_class.clone(),
            fingerprint: "0".repeat(64),
            n_blocks: architecture.n_blocks,
            vocab: architecture.vocab,
            components,
        };
        let threshold = 0.75;
        let thresholds = Thresholds { ci: threshold, ..Thresholds::MASKED };
        let out = folder.path().join("out");
        let mut writer = ResultWriter::create(&out, false, results.settings()).unwrap();
        for (index, set) in given.sets.iter().enumerate() {
            let metadata = given.metadata.get(&set.name).cloned();
            writer.write_set(index, &attributed(set, thresholds, &run), &set.prompt, metadata).unwrap();
        }
        writer.finish(results.run_info()).unwrap();

        let result = ResultFolder::open(&out).unwrap();
        let entries: Vec<_> = result.manifest().sets.iter().collect();
        let exported =
            export(&result, &entries, &folder.path().join("app"), false, &Format::ParamDecomp, View::default())
                .unwrap();
        for (given_set, written) in given.sets.iter().zip(&exported.sets) {
            let read = run.ci_sets(&written.files[1], &[]).unwrap();
            assert!(read.notes.is_empty(), "{:?}", read.notes);
            let [back] = read.sets.as_slice() else { panic!("{} sets", read.sets.len()) };
            assert_eq!((&back.name, &back.prompt), (&given_set.name, &given_set.prompt));
            assert_eq!(read.metadata.get(&back.name), given.metadata.get(&back.name));
            assert_eq!(back.layers.len(), given_set.layers.len());
            for (layer, ci) in &given_set.layers {
                let kept: Vec<f32> =
                    ci.to_dense().into_iter().map(|value| if value < threshold as f32 { 0.0 } else { value }).collect();
                assert_eq!(back.layers[layer].to_dense(), kept, "{layer}");
                alive += kept.iter().filter(|value| **value > 0.0).count();
            }
        }
        // The graph itself has tokens as text, which are refused with advice.
        let error = run.ci_sets(&exported.sets[0].files[0], &[]).unwrap_err().to_string();
        assert!(error.contains("expected a token id") && error.contains("give their ids"), "{error}");
        let _: Value = serde_json::from_slice(&fs::read(&exported.sets[0].files[0]).unwrap()).unwrap();
    }
    assert!(alive > 200, "the cases are too small: {alive}");
}
