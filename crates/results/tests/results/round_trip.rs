//! What is written is read back.

use std::fs;

use proptest::prelude::*;
use serde_json::json;
use tributary_model::{Layer, Pair, Prompt, SetAttributions};
use tributary_results::{Manifest, ModelInfo, ResultFolder, ResultWriter, set_file_size};
use tributary_testing::{RandomResults, config};

proptest! {
    #![proptest_config(config(64))]

    #[test]
    fn a_folder_reads_back_as_written(seed: u64) {
        let results = RandomResults::new(seed);
        let out = tempfile::tempdir().unwrap();
        let written = results.write(out.path(), false).unwrap();
        let folder = ResultFolder::open(out.path()).unwrap();
        prop_assert_eq!(folder.manifest(), &written);
        prop_assert_eq!(written.sets.len(), results.sets.len());
        for (entry, (set, prompt)) in written.sets.iter().zip(&results.sets) {
            let mut expected = set.clone();
            if !results.output_probs {
                expected.output_probs.clear();
            }
            prop_assert_eq!(folder.read_set(&set.name).unwrap(), expected);
            prop_assert_eq!(&entry.name, &set.name);
            prop_assert_eq!((entry.nodes, entry.edges), (set.node_count(), set.edge_count()));
            let recorded = &written.prompts[entry.prompt];
            prop_assert_eq!(
                (&recorded.text, &recorded.tokens, &recorded.token_strings),
                (&prompt.text, &prompt.tokens, &prompt.token_strings)
            );
            for (pair, counts) in set.pairs.iter().zip(&entry.pairs) {
                let [_, n_c_in, _, n_c_out] = pair.dense().shape;
                prop_assert_eq!((counts.n_c_in, counts.n_c_out, counts.edges), (n_c_in, n_c_out, pair.values.len()));
                prop_assert_eq!(counts.nonzero, pair.values.iter().filter(|&&value| value != 0.0).count());
                prop_assert_eq!(counts.largest, pair.values.iter().map(|value| value.abs()).reduce(f32::max));
            }
            prop_assert_eq!(entry.prediction, set.faithfulness(|&value| value));
            if let Some(prediction) = &set.prediction {
                let sum: f64 = prediction.kl.iter().map(|&kl| f64::from(kl)).sum();
                let mean = sum / prediction.kl.len() as f64;
                // Rounded to f32.
                let found = entry.prediction.unwrap();
                prop_assert!((f64::from(found.mean_kl) - mean).abs() <= 1e-7 * mean, "{:?} {}", found, mean);
                prop_assert_eq!(found.positions, prompt.tokens.len());
                let likeliest = recorded.target_likeliest.iter().map(|tokens| tokens[0].token);
                let agreeing = likeliest.zip(&prediction.likeliest).filter(|(target, own)| target == *own).count();
                prop_assert_eq!(found.agreeing, agreeing);
            } else {
                prop_assert!(entry.prediction.is_none() && recorded.target_likeliest.is_empty());
            }
            for (layer, counts) in &entry.layers {
                let nodes = &set.nodes[layer];
                let both = nodes.original.iter().filter(|&(s, c)| nodes.alive.row_of(s, c).is_some()).count();
                prop_assert_eq!((counts.nodes, counts.ghosts + both), (nodes.alive.len(), nodes.original.len()));
            }
        }
    }

    #[test]
    fn f64_is_written_as_the_nearest_f32(seed: u64) {
        let results = RandomResults::new(seed);
        let (set, prompt) = &results.sets[0];
        // Three times a number with few digits, off by less than half a float32 step.
        let wide = set.map(|value| f64::from(value) * 3.0 * (1.0 + 1e-9));
        let narrow = set.map(|value| value * 3.0);
        let files = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let mut writer = ResultWriter::create(files[0].path(), false, results.settings()).unwrap();
        writer.write_set(0, &wide, prompt, None).unwrap();
        let from_wide = writer.finish(results.run_info()).unwrap();
        let mut writer = ResultWriter::create(files[1].path(), false, results.settings()).unwrap();
        writer.write_set(0, &narrow, prompt, None).unwrap();
        let from_narrow = writer.finish(results.run_info()).unwrap();
        prop_assert_eq!(from_wide.sets, from_narrow.sets);
    }
}

#[test]
fn sets_written_a_piece_at_a_time_in_turns_are_the_same_files() {
    for seed in 0..8 {
        let results = RandomResults::new(seed);
        let outs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let whole = results.write(outs[0].path(), false).unwrap();
        let mut writer = ResultWriter::create(outs[1].path(), false, results.settings()).unwrap();
        for (index, (set, prompt)) in results.sets.iter().enumerate() {
            let mut begun = set.clone();
            begun.pairs.iter_mut().for_each(|pair| pair.values.clear());
            assert_eq!(whole.sets[index].edges, set.edge_count());
            writer.begin_set(index, &begun, prompt, None).unwrap();
        }
        for pair in 0..results.sets[0].0.pairs.len() {
            for (index, (set, _)) in results.sets.iter().enumerate() {
                for piece in set.pairs[pair].values.chunks(2) {
                    writer.write_values(index, pair, piece).unwrap();
                }
            }
        }
        for index in (0..results.sets.len()).rev() {
            writer.end_set(index).unwrap();
        }
        let pieces = writer.finish(results.run_info()).unwrap();
        for (one, other) in whole.sets.iter().zip(&pieces.sets) {
            assert_eq!((&one.sha256, &one.pairs), (&other.sha256, &other.pairs), "seed {seed}");
        }
    }
}

#[test]
fn the_size_of_a_file_is_known_before_it_is_written() {
    for seed in 0..8 {
        let results = RandomResults::new(seed);
        let out = tempfile::tempdir().unwrap();
        let manifest = results.write(out.path(), false).unwrap();
        for ((set, prompt), entry) in results.sets.iter().zip(&manifest.sets) {
            let size = fs::metadata(out.path().join(&entry.file)).unwrap().len();
            assert_eq!(set_file_size(set, prompt, &results.settings()), size, "seed {seed}");
        }
    }
}

/// The same results of a model that calls its linear layers otherwise.
fn renamed(results: RandomResults, name: impl Fn(Layer) -> Layer) -> RandomResults {
    let name = |layer: Layer| if layer.is_linear() { name(layer) } else { layer };
    let rename = |(mut set, prompt): (SetAttributions<f32>, Prompt)| {
        set.nodes = set.nodes.into_iter().map(|(layer, nodes)| (name(layer), nodes)).collect();
        for pair in &mut set.pairs {
            pair.pair = Pair { source: name(pair.pair.source), target: name(pair.pair.target), ..pair.pair };
        }
        (set, prompt)
    };
    let RandomResults { model, sets, .. } = results;
    let components = model.components.iter().map(|(&layer, &count)| (name(layer), count)).collect();
    let sets = sets.into_iter().map(rename).collect();
    RandomResults { model: ModelInfo { components, ..model }, sets, ..results }
}

#[test]
fn layers_of_any_name_come_back_with_role_and_block() {
    for seed in 0..8 {
        let results = renamed(RandomResults::new(seed), |layer| {
            let block = layer.block().unwrap();
            Layer::linear(block, layer.role(), &format!("model.layers.{block}.{:?}", layer.role()))
        });
        let out = tempfile::tempdir().unwrap();
        let written = results.write(out.path(), false).unwrap();
        let folder = ResultFolder::open(out.path()).unwrap();
        assert_eq!(folder.manifest(), &written, "seed {seed}");
        assert_eq!(folder.manifest().run.model, results.model);
        for (set, _) in &results.sets {
            let read = folder.read_set(&set.name).unwrap();
            assert_eq!((&read.nodes, &read.pairs, &read.borderline), (&set.nodes, &set.pairs, &set.borderline));
        }
    }
}

/// Results that know what the target model predicts.
fn predicted() -> RandomResults {
    let mut all = (0..1000).map(RandomResults::new);
    all.find(|results| results.sets[0].0.prediction.is_some()).unwrap()
}

#[test]
fn token_strings_of_likeliest_tokens_are_in_the_manifest() {
    let results = predicted();
    let (set, prompt) = &results.sets[0];
    let out = tempfile::tempdir().unwrap();
    let mut writer = ResultWriter::create(out.path(), false, results.settings()).unwrap();
    writer.write_set(0, set, prompt, None).unwrap();
    writer.name_output_tokens(|token| format!("t{token}"));
    let manifest = writer.finish(results.run_info()).unwrap();
    for entry in manifest.prompts[0].target_likeliest.iter().flatten() {
        assert_eq!(entry.string, format!("t{}", entry.token));
    }
    for token in &set.prediction.as_ref().unwrap().likeliest {
        assert_eq!(manifest.output_token(*token), format!("t{token}"));
    }
    assert_eq!(ResultFolder::open(out.path()).unwrap().manifest(), &manifest);
}

/// Tokens that the evaluation of a set names are named in the manifest too, however far from likely they are.
#[test]
fn tokens_of_evaluations_are_decoded() {
    let results = predicted();
    let (set, prompt) = &results.sets[0];
    let out = tempfile::tempdir().unwrap();
    let mut writer = ResultWriter::create(out.path(), false, results.settings()).unwrap();
    let top = json!([{ "token_id": 4001, "token": "Ġrare", "prob": 0.5 }]);
    let metadata = json!({ "evaluation": {
        "label_token": 4000, "label": "Ġlabel", "position": 0,
        "selections": [{ "name": "all", "regimes": { "ci": { "label_prob": 0.25, "top": top } } }],
    } });
    writer.write_set(0, set, prompt, Some(metadata)).unwrap();
    writer.name_output_tokens(|token| format!("Ġ{token}"));
    writer.decode_tokens(|_| Vec::new(), |token| format!(" {token}"));
    let mut manifest = writer.finish(results.run_info()).unwrap();
    let evaluation = manifest.sets[0].evaluation().unwrap().unwrap();
    let texts = |manifest: &Manifest| evaluation.tokens().map(|token| manifest.text_of(token)).collect::<Vec<_>>();
    assert_eq!(texts(&manifest), [" 4000", " 4001"]);
    assert_eq!(manifest.evaluation_line(&manifest.sets[0]).unwrap().unwrap(), "p(\"·4000\") at 0: ci 0.25");
    // Where they are not, a prompt may know them, or they are as the evaluation spells them.
    manifest.output_tokens.clear();
    assert_eq!(texts(&manifest), ["Ġlabel", "Ġrare"]);
    manifest.prompts[0].tokens[0] = 4001;
    manifest.prompts[0].token_strings[0] = "in the prompt".to_owned();
    assert_eq!(texts(&manifest), ["Ġlabel", "in the prompt"]);
}

#[test]
fn what_tokens_are_decoded_to_is_beside_how_they_are_spelt() {
    let results = predicted();
    let (set, prompt) = &results.sets[0];
    let out = tempfile::tempdir().unwrap();
    let mut writer = ResultWriter::create(out.path(), false, results.settings()).unwrap();
    writer.write_set(0, set, prompt, None).unwrap();
    writer.name_output_tokens(|token| format!("t{token}"));
    // Token 0 is spelt as it is, the others are not; what comes first in a prompt may add nothing to its text.
    let text = |token: u32| if token == 0 { "t0".to_owned() } else { format!(" {token}\n") };
    let texts = |tokens: &[u32]| {
        let at = |(position, &token)| if position == 0 { String::new() } else { text(token) };
        tokens.iter().enumerate().map(at).collect::<Vec<_>>()
    };
    writer.decode_tokens(texts, text);
    let manifest = writer.finish(results.run_info()).unwrap();
    let known = ResultFolder::open(out.path()).unwrap().manifest().clone();
    assert_eq!(known, manifest);
    let entry = &known.prompts[0];
    assert_eq!((&entry.token_strings, entry.texts()), (&prompt.token_strings, &*texts(&prompt.tokens)));
    assert_eq!(entry.labels()[0], prompt.token_strings[0], "what adds nothing is shown as it is spelt");
    for (position, &token) in prompt.tokens.iter().enumerate().skip(1) {
        assert_eq!(entry.labels()[position], if token == 0 { "t0".to_owned() } else { format!("·{token}↵") });
    }
    for (&token, spelling) in &known.output_tokens {
        assert_eq!((spelling, known.output_text(token)), (&format!("t{token}"), text(token)));
        assert_eq!(known.output_token_texts.contains_key(&token), token != 0);
    }

    // As it was before there were any.
    let path = out.path().join("manifest.json");
    let mut stored: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    stored.as_object_mut().unwrap().remove("output_token_texts");
    stored["prompts"][0].as_object_mut().unwrap().remove("token_texts").unwrap();
    std::fs::write(&path, stored.to_string()).unwrap();
    let older = ResultFolder::open(out.path()).unwrap().manifest().clone();
    assert_eq!(older.prompts[0].texts(), prompt.token_strings);
    assert!(older.output_tokens.iter().all(|(&token, spelling)| older.output_text(token) == *spelling));
    stored["prompts"][0]["token_texts"] = serde_json::json!(vec!["x"; prompt.tokens.len() + 1]);
    std::fs::write(&path, stored.to_string()).unwrap();
    let error = ResultFolder::open(out.path()).unwrap_err().to_string();
    assert!(error.contains("prompts[0] has") && error.contains("token_texts"), "{error}");
}

#[test]
fn a_prediction_that_is_no_number_is_never_written() {
    let results = predicted();
    let (set, prompt) = &results.sets[0];
    for value in [f64::NAN, f64::INFINITY, 1e300] {
        let mut broken = set.map(f64::from);
        broken.prediction.as_mut().unwrap().kl[0] = value;
        let out = tempfile::tempdir().unwrap();
        let mut writer = ResultWriter::create(out.path(), false, results.settings()).unwrap();
        let error = writer.write_set(0, &broken, prompt, None).unwrap_err();
        assert!(error.to_string().contains("the divergence at position 0 is not a finite number"), "{error}");
    }
}

#[test]
#[should_panic(expected = "values of set \"Set 0\" are missing")]
fn a_set_does_not_end_before_all_its_values_came() {
    let results =
        RandomResults::new((0..100).find(|&seed| RandomResults::new(seed).sets[0].0.edge_count() > 0).unwrap());
    let (set, prompt) = &results.sets[0];
    let out = tempfile::tempdir().unwrap();
    let mut writer = ResultWriter::create(out.path(), false, results.settings()).unwrap();
    writer.begin_set(0, set, prompt, None).unwrap();
    let _ = writer.end_set(0);
}

#[test]
fn equal_results_are_equal_files() {
    let results = RandomResults::new(5);
    let outs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let manifests = outs.each_ref().map(|out| results.write(out.path(), false).unwrap());
    for set in &manifests[0].sets {
        let [first, second] = outs.each_ref().map(|out| fs::read(out.path().join(&set.file)).unwrap());
        assert_eq!(first, second, "{}", set.file);
    }
    assert_eq!(manifests[0].sets, manifests[1].sets);
}

#[test]
fn the_safetensors_crate_agrees_on_the_layout() {
    for implied_index in [false, true] {
        agrees_on_the_layout(&RandomResults { implied_index, ..RandomResults::new(7) });
    }
}

fn agrees_on_the_layout(results: &RandomResults) {
    let out = tempfile::tempdir().unwrap();
    let manifest = results.write(out.path(), false).unwrap();
    let (set, prompt) = &results.sets[0];
    let bytes = fs::read(out.path().join(&manifest.sets[0].file)).unwrap();
    let (header, metadata) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
    assert_eq!(header % 8, 0, "data is aligned");
    let metadata = metadata.metadata().as_ref().unwrap();
    assert_eq!(metadata["format"], "tributary-results");
    assert_eq!(metadata["format_version"], "2");
    assert_eq!((&metadata["set"], &metadata["prompt"]), (&set.name, &prompt.text));
    assert_eq!(serde_json::from_str::<Vec<u32>>(&metadata["tokens"]).unwrap(), prompt.tokens);
    assert_eq!(serde_json::from_str::<Vec<String>>(&metadata["token_strings"]).unwrap(), prompt.token_strings);

    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let decomposed = results.model.components.len();
    let per_pair = if results.implied_index { 1 } else { 2 };
    // `target_prob`, `kl`, `likeliest`
    let of_prediction = if set.prediction.is_some() { 3 } else { 0 };
    let expected = 2 + 4 * (decomposed + 1) + per_pair * set.pairs.len() + usize::from(results.output_probs);
    let expected = expected + of_prediction;
    assert_eq!(file.len(), expected, "{:?}", file.names());
    assert_eq!(file.tensor("nodes/wte/index").unwrap().shape(), [prompt.tokens.len(), 2]);
    for pair in &set.pairs {
        let shape = |what| {
            let name = format!("edges/{}->{}/{what}", pair.pair.source, pair.pair.target);
            file.tensor(&name).map(|tensor| tensor.shape().to_vec()).ok()
        };
        assert_eq!(shape("value"), Some(vec![pair.values.len()]));
        assert_eq!(shape("index"), (!results.implied_index).then(|| vec![pair.values.len(), 2]));
    }
}

#[test]
fn metadata_and_unusual_names_come_back() {
    let results = RandomResults::new(11);
    let (set, prompt) = &results.sets[0];
    let out = tempfile::tempdir().unwrap();
    let names = ["", "A", "a", "../x", "seed_0", "con", "nul\0", "日本 \"quoted\"\n", &"long ".repeat(2000)];
    let mut writer = ResultWriter::create(out.path(), false, results.settings()).unwrap();
    for (index, name) in names.iter().enumerate() {
        let mut named = set.clone();
        named.name = (*name).to_owned();
        writer.write_set(index, &named, prompt, Some(json!({ "place": index, "z": [null, "a"], "b": 1 }))).unwrap();
    }
    let manifest = writer.finish(results.run_info()).unwrap();
    let folder = ResultFolder::open(out.path()).unwrap();
    assert_eq!(folder.manifest(), &manifest);
    assert_eq!(manifest.prompts.len(), 1, "equal prompts are listed once");
    for (entry, name) in manifest.sets.iter().zip(names) {
        assert_eq!(entry.name, name);
        assert_eq!(folder.read_set(name).unwrap().name, name);
    }
    assert_eq!(manifest.set("seed_0").unwrap().file, "seed_0.safetensors");
    let metadata = manifest.set("A").unwrap().metadata.as_ref().unwrap().to_string();
    assert_eq!(metadata, r#"{"place":1,"z":[null,"a"],"b":1}"#);
}
