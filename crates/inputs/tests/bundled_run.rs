//! The run in `data/`, and the larger ones where they are at hand.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use tributary_inputs::{CiSetFormat, RunOptions, TrainedRun};
use tributary_model::{Array, CiArrays, CiInput, CiNetwork, Layer, Role, Sigmoid, Weights};
use tributary_testing::skip;

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn bundled() -> TrainedRun {
    TrainedRun::load(&repository().join("data/gpt2s-2L"), &RunOptions::default()).unwrap()
}

/// The CI functions of single layers, which these runs have.
fn layerwise(weights: &Weights) -> (CiInput, &BTreeMap<Layer, CiArrays>) {
    match &weights.ci_function.network {
        CiNetwork::Layerwise { input, layers } => (*input, layers),
        other => panic!("{other:?}"),
    }
}

#[test]
fn it_loads_as_its_config_describes_it() {
    let run = bundled();
    let architecture = &run.weights.architecture;
    assert_eq!(architecture.model_class, "GPT2Simple");
    assert_eq!((architecture.n_blocks, architecture.d_model, architecture.d_mlp), (2, 64, 256));
    assert_eq!((architecture.n_heads, architecture.n_kv_heads), (4, 4));
    assert_eq!((architecture.vocab, architecture.max_positions), (4019, 128));
    assert!(run.weights.lm_head.is_none(), "the published model is tied");
    let counts = run.weights.component_counts();
    assert_eq!(counts.len(), 12);
    assert!(counts.values().all(|&count| count == 96));
    let (input, layers) = layerwise(&run.weights);
    assert_eq!((input, run.weights.ci_function.sigmoid), (CiInput::SharedVector, Sigmoid::Hard));
    let shapes = layers[&Layer::published(1, Role::MlpDown)].shapes();
    assert_eq!(shapes, [vec![256, 96], vec![96], vec![96, 96], vec![96]]);
    assert!(run.files.checkpoint.ends_with("model_1500.pth"));
}

#[test]
fn its_values_are_those_python_unpickles() {
    // First and last element of each storage, by Python's zipfile, pickle and struct:
    // struct.unpack("<f", ...) of model_1500/data/KEY, with KEY as model_1500/data.pkl has it.
    let run = bundled();
    let q = Layer::published(0, Role::Query);
    let (linear, decomposed) = (&run.weights.linear[&q], &run.weights.decomposed[&q]);
    let ends = |array: &Array| (array.values.at(0) as f32, array.values.at(array.values.len() - 1) as f32);
    assert_eq!(ends(&run.weights.wte), (0.203_971_12, -0.037_432_782));
    assert_eq!(ends(&linear.weight), (-0.016_361_274, 0.024_751_83));
    assert_eq!(ends(linear.bias.as_ref().unwrap()), (0.070_631_76, 0.047_156_64));
    assert_eq!(ends(&decomposed.v), (-0.059_746_17, 0.081_485_875));
    assert_eq!(ends(&layerwise(&run.weights).1[&q].read().unwrap()[3]), (-0.018_932_4, -0.036_483_683));
}

#[test]
fn its_fingerprint_is_that_of_its_files() {
    // By Python's hashlib: of each file, the role, a zero byte, struct.pack("<Q", length) and the content.
    let expected = "530ae4a740a414f54e90ed08f86dacf2f0c202a5763a3bdf2e4f4cf7a0ae94cd";
    assert_eq!(bundled().fingerprint.to_string(), expected);
}

#[test]
fn its_prompts_are_split_as_published() {
    // "prompt" and number of positions of the golden data; tokens by the Python package tokenizers.
    let prompt = bundled().prompt("They walked hand in").unwrap();
    assert_eq!(prompt.token_strings, ["they", "walked", "hand", "in"]);
    assert_eq!(prompt.tokens.len(), 4);
}

#[test]
fn its_ci_sets_load_in_the_order_of_the_file() {
    let run = bundled();
    for (file, positions, names) in [
        ("walked.ci_sets.json", 4, vec!["model", "seed_0", "seed_1"]),
        ("story.ci_sets.json", 19, vec!["model", "seed_0", "seed_1", "seed_2"]),
    ] {
        let sets = run.ci_sets(&repository().join("data").join(file), &[]).unwrap();
        assert_eq!(sets.format, CiSetFormat::Sets);
        assert_eq!(sets.sets.iter().map(|set| &*set.name).collect::<Vec<_>>(), names);
        for set in &sets.sets {
            assert_eq!(set.prompt.tokens.len(), positions);
            assert_eq!(set.layers.len(), 12);
            assert!(set.layers.values().all(|layer| (layer.components(), layer.positions()) == (96, positions)));
        }
    }
}

#[test]
fn every_shared_run_loads() {
    let models = repository().join("../shared/models");
    if !models.is_dir() {
        return skip("the larger runs", "there is no folder ../shared/models beside the repository");
    }
    for (name, count, input) in [
        ("gpt2s-2L", 96, CiInput::SharedVector),
        ("gpt2s-2L-128", 650, CiInput::SharedVector),
        ("llama-2L", 80, CiInput::Vector),
    ] {
        let run = TrainedRun::load(&models.join(name), &RunOptions::default()).unwrap();
        assert!(run.weights.component_counts().values().all(|&found| found == count), "{name}");
        assert_eq!(layerwise(&run.weights).0, input, "{name}");
        let golden = models.join("../golden").join(name);
        for case in std::fs::read_dir(golden).unwrap() {
            let case = case.unwrap().path();
            let sets = run.ci_sets(&case.join("ci_sets.json"), &[]).unwrap();
            assert!(!sets.sets.is_empty(), "{}", case.display());
        }
    }
}

/// The config of April to June 2026, with sections, beside the weights that it was written with.
#[test]
fn a_config_with_sections_says_what_a_flat_one_says() {
    let models = repository().join("tests/models");
    let folder = tempfile::tempdir().unwrap();
    let copy = |from: &str, to: &str| std::fs::copy(models.join(from), folder.path().join(to)).unwrap();
    std::fs::create_dir(folder.path().join("target")).unwrap();
    for file in ["model_900.pth", "target/model_config.yaml", "target/tokenizer.json"] {
        copy(&format!("llama-3L-global/{file}"), file);
    }
    copy("llama-3L-global-nested/final_config.yaml", "final_config.yaml");
    let nested = TrainedRun::load(folder.path(), &RunOptions::default()).unwrap().weights;
    let flat = TrainedRun::load(&models.join("llama-3L-global"), &RunOptions::default()).unwrap().weights;
    assert_eq!(nested.component_counts(), flat.component_counts());
    assert_eq!((nested.architecture, &nested.linear), (flat.architecture, &flat.linear));
    let CiNetwork::SharedTransformer(nested) = nested.ci_function.network else { panic!("one of all layers") };
    let CiNetwork::SharedTransformer(flat) = flat.ci_function.network else { panic!("one of all layers") };
    assert_eq!(
        (nested.n_heads, nested.rope_base, nested.blocks.len()),
        (flat.n_heads, flat.rope_base, flat.blocks.len())
    );
    assert_eq!(nested.head.read().unwrap(), flat.head.read().unwrap());
}
