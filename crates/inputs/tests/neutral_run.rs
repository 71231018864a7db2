//! Neutral runs: what is written is read back, without a CI function; and what is refused.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;

use serde_json::json;
use tributary_inputs::test_support::{
    RandomWeights, StoredTensor, Style, neutral_tensors, write_neutral_run, write_run, write_safetensors,
};
use tributary_inputs::{RunOptions, TrainedRun};
use tributary_model::{CiNetwork, Sigmoid, Values, Weights};

const CLASSES: [&str; 6] =
    ["GPT2Simple", "GPT2", "LlamaSimpleMLP", "LlamaSimple", "GPT2LMHeadModel", "LlamaForCausalLM"];

fn load(folder: &Path) -> TrainedRun {
    TrainedRun::load(folder, &RunOptions::default()).unwrap()
}

/// The same weights with the CI function that was read.
fn without_ci_function(mut weights: Weights, run: &TrainedRun) -> Weights {
    assert!(matches!(run.weights.ci_function.network, CiNetwork::Unknown { .. }));
    weights.ci_function.network = run.weights.ci_function.network.clone();
    weights
}

/// Bit for bit, tied or not, some layers decomposed or all and the ends too.
#[test]
fn every_class_survives() {
    for class in CLASSES {
        for (seed, with_ends, tied, sigmoid) in [(1, false, true, Sigmoid::Hard), (2, true, false, Sigmoid::SwishHard)]
        {
            let random = RandomWeights { tied, sigmoid, ..RandomWeights::of_class(class, seed) };
            let mut random = if with_ends { random.with_ends() } else { random };
            let first = *random.components.keys().find(|layer| layer.block().is_some()).unwrap();
            random.components.remove(&first);
            let weights = random.weights();
            let folder = tempfile::tempdir().unwrap();
            assert!(!TrainedRun::is_in(folder.path()));
            write_neutral_run(folder.path(), &weights);
            assert!(TrainedRun::is_in(folder.path()));
            let run = load(folder.path());
            assert!(run.weights == without_ci_function(weights, &run), "{class}, {with_ends}");
            assert_eq!(run.prompt("w1 w4").unwrap().tokens, [1, 4]);
            let [_, note] = &run.notes[..] else { panic!("{:?}", run.notes) };
            let file = folder.path().join("run.yaml");
            let expected = format!(
                "{}: a neutral run holds no CI function; so the model's own causal importances, and ghosts, are not known",
                file.display()
            );
            assert_eq!(*note, expected);
        }
    }
}

#[test]
fn causal_importances_come_from_files() {
    let weights = RandomWeights::of_class("LlamaSimpleMLP", 3).weights();
    let folder = tempfile::tempdir().unwrap();
    write_neutral_run(folder.path(), &weights);
    let rows = |value: f64| {
        let layers = weights.component_counts().into_iter();
        layers.map(|(layer, count)| (layer.to_string(), json!([vec![value; count]]))).collect::<serde_json::Map<_, _>>()
    };
    let file = folder.path().join("ci.json");
    for (value, is_taken) in [(0.5, true), (1.5, false)] {
        fs::write(&file, json!({"prompt": "w1", "ci_sets": {"a": rows(value)}}).to_string()).unwrap();
        assert_eq!(load(folder.path()).ci_sets(&file, &[]).is_ok(), is_taken, "{value}");
    }
    // The sigmoid says which values there are.
    let config = folder.path().join("run.yaml");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.replace("leaky_hard", "upper_leaky_hard")).unwrap();
    assert!(load(folder.path()).ci_sets(&file, &[]).is_ok());
}

#[test]
fn the_fingerprint_covers_every_file() {
    let weights = RandomWeights::of_class("LlamaSimpleMLP", 3).weights();
    let folder = tempfile::tempdir().unwrap();
    write_neutral_run(folder.path(), &weights);
    let mut fingerprints = vec![load(folder.path()).fingerprint];
    let append = |file: &str, text: &str| {
        let path = folder.path().join(file);
        fs::write(&path, fs::read_to_string(&path).unwrap() + text).unwrap();
    };
    append("run.yaml", "source: elsewhere\n");
    fingerprints.push(load(folder.path()).fingerprint);
    append("tokenizer.json", "\n");
    fingerprints.push(load(folder.path()).fingerprint);
    let mut other = weights.clone();
    let Values::F32(values) = &mut other.wte.values else { panic!("random weights are float32") };
    values[0] = f32::from_bits(values[0].to_bits() ^ 1);
    write_safetensors(&folder.path().join("model.safetensors"), &neutral_tensors(&other));
    fingerprints.push(load(folder.path()).fingerprint);
    for (index, fingerprint) in fingerprints.iter().enumerate() {
        assert!(!fingerprints[..index].contains(fingerprint), "{index}");
    }
}

/// The message of a run whose config has another text in the place of one, the folder left out.
fn refused_config(from: &str, to: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    write_neutral_run(folder.path(), &RandomWeights::of_class("LlamaSimpleMLP", 3).weights());
    let config = folder.path().join("run.yaml");
    let text = fs::read_to_string(&config).unwrap();
    assert!(text.contains(from), "no {from:?} in {text}");
    fs::write(&config, text.replacen(from, to, 1)).unwrap();
    refused(folder.path(), &RunOptions::default())
}

fn refused(folder: &Path, options: &RunOptions<'_>) -> String {
    let error = TrainedRun::load(folder, options).unwrap_err().to_string();
    error.replace(&format!("{}{}", folder.display(), std::path::MAIN_SEPARATOR), "")
}

#[test]
fn configs_that_are_refused() {
    for (from, to, message) in [
        ("tributary-run", "other", "run.yaml: format: is \"other\", expected tributary-run"),
        (
            "format_version: 1",
            "format_version: 2",
            "run.yaml: format_version: is 2, but 1 is what is read here; a newer tributary may read it",
        ),
        ("format_version: 1\n", "", "run.yaml: format_version: is missing; the config must have it"),
        (
            "sigmoid:",
            "sigmoids:",
            "run.yaml: sigmoids: is an unknown key; those of a neutral run are format, format_version, model_class, \
             model_config, components, sigmoid, tokenizer, source",
        ),
        (
            "sigmoid: leaky_hard",
            "sigmoid: soft",
            "run.yaml: sigmoid: \"soft\" is not supported; expected one of leaky_hard, hard, lower_leaky_hard, normal, \
             upper_leaky_hard, swish_hard",
        ),
        (
            "model_class: LlamaSimpleMLP",
            "model_class: Mamba",
            "run.yaml: model_class: \"Mamba\" is an unknown model class; supported are GPT2Simple, LlamaSimpleMLP, \
             LlamaSimple, GPT2, GPT2LMHeadModel and LlamaForCausalLM",
        ),
        (
            "  model_type: LlamaSimpleMLP",
            "  model_type: GPT2Simple",
            "run.yaml: model_config.model_type: is \"GPT2Simple\", but the run's model class is LlamaSimpleMLP",
        ),
        ("  n_head: 2", "  n_head: 0", "run.yaml: model_config.n_head: is 0, but must be between 1 and 4294967295"),
        (
            "  n_head: 2",
            "  n_head: two",
            "run.yaml: model_config.n_head: is \"two\", expected a whole number, 0 or more",
        ),
        (
            "model_config:",
            "source:",
            "run.yaml: model_config: is missing; expected what the model_config.yaml of a LlamaSimpleMLP holds",
        ),
        (
            "  h.0.attn.q_proj: 5",
            "  h.0.attn.q_proj: 0",
            "run.yaml: components: has \"h.0.attn.q_proj\", which is 0; a decomposed layer has at least one component",
        ),
        (
            "  h.0.attn.q_proj: 5",
            "  h.0.attn.c_proj: 5",
            "run.yaml: components: pattern \"h.0.attn.c_proj\" matches no linear layer of the model, whose 2 blocks are like the \
             first; it has wte, h.0.attn.q_proj, h.0.attn.k_proj, h.0.attn.v_proj, h.0.attn.o_proj, h.0.mlp.c_fc, \
             h.0.mlp.down_proj, lm_head",
        ),
        (
            "  h.0.attn.q_proj: 5",
            "  h.0.attn.q_proj: 4",
            "model.safetensors: tensor components/h.0.attn.q_proj.V: has shape [8, 5], expected [8, 4]",
        ),
        (
            "  h.0.attn.q_proj: 5\n",
            "",
            "model.safetensors: tensor components/h.0.attn.q_proj.U: belongs to nothing that the config files describe; is the \
             checkpoint from another run?",
        ),
        (
            "components:",
            "components: {}\nsource:",
            "run.yaml: components: is empty; at least one layer must have been decomposed",
        ),
        (
            "components:",
            "tokenizer: words.json\ncomponents:",
            "words.json: not found; fetch the target model's tokenizer.json and say where it is",
        ),
    ] {
        assert_eq!(refused_config(from, to), message);
    }
}

#[test]
fn tensors_that_are_refused() {
    let weights = RandomWeights::of_class("LlamaSimpleMLP", 3).weights();
    let changed = |change: &dyn Fn(&mut Vec<StoredTensor>)| {
        let folder = tempfile::tempdir().unwrap();
        write_neutral_run(folder.path(), &weights);
        let mut tensors = neutral_tensors(&weights);
        change(&mut tensors);
        write_safetensors(&folder.path().join("model.safetensors"), &tensors);
        refused(folder.path(), &RunOptions::default())
    };
    let without =
        |name: &'static str| move |tensors: &mut Vec<StoredTensor>| tensors.retain(|tensor| tensor.name != name);
    assert_eq!(
        changed(&without("target/h.1.mlp.c_fc.weight")),
        "model.safetensors: tensor target/h.1.mlp.c_fc.weight: is not in the checkpoint; expected one of shape [12, 8]"
    );
    assert_eq!(
        changed(&without("components/h.1.mlp.c_fc.U")),
        "model.safetensors: tensor components/h.1.mlp.c_fc.U: is not in the checkpoint; expected one of shape [5, 12]"
    );
    assert_eq!(
        changed(&|tensors| tensors.push(StoredTensor::float("h.0.V", &[1], &[1.0]))),
        "model.safetensors: tensor h.0.V: is no tensor of a neutral run; expected target/NAME, components/SITE.V or \
         components/SITE.U"
    );
    assert_eq!(
        changed(&|tensors| tensors.push(StoredTensor::float("components/h-0.mlp.c_fc.V", &[1], &[1.0]))),
        "model.safetensors: tensor components/h.0.mlp.c_fc.V: is the same as components/h-0.mlp.c_fc.V; keep one"
    );
    let nan = |tensors: &mut Vec<StoredTensor>| {
        tensors[0] = StoredTensor::float("target/wte.weight", &[11, 8], &[f32::NAN; 88]);
    };
    assert_eq!(
        changed(&nan),
        "model.safetensors: tensor target/wte.weight: is NaN at [0, 0]; every value must be finite"
    );
}

#[test]
fn folders_that_are_refused() {
    let weights = RandomWeights::of_class("LlamaSimpleMLP", 3).weights();
    let folder = tempfile::tempdir().unwrap();
    write_neutral_run(folder.path(), &weights);
    assert_eq!(
        refused(folder.path(), &RunOptions { target: Some(folder.path()), ..RunOptions::default() }),
        "run.yaml: model_config: describes the target model, so no folder of it is read; name none"
    );
    fs::remove_file(folder.path().join("model.safetensors")).unwrap();
    assert_eq!(
        refused(folder.path(), &RunOptions::default()),
        "model.safetensors: not found; a neutral run holds its tensors in it"
    );
    // A config of the published code says what the folder is.
    write_run(folder.path(), &weights, Style::Current);
    assert!(load(folder.path()).weights == weights);
}
