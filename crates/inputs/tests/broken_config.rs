//! Config files, folders and tokenizers that must be refused, and where the target model is found.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;

use tributary_inputs::test_support::{RandomWeights, Style, state_dict, write_pth, write_run};
use tributary_inputs::{InputError, RunOptions, TrainedRun};
use tributary_model::{CiNetwork, Layer, Remedy, Role};

/// A Llama run, and what is done to it before it is loaded.
fn load(change: impl FnOnce(&Path)) -> Result<TrainedRun, InputError> {
    let folder = tempfile::tempdir().unwrap();
    write_run(folder.path(), &RandomWeights::llama_simple_mlp(3).weights(), Style::Older);
    change(folder.path());
    TrainedRun::load(folder.path(), &RunOptions::default())
}

/// Loads after replacing a line of a file, given by its key, by other lines.
fn load_with(file: &str, key: &str, lines: &str) -> Result<TrainedRun, InputError> {
    load(|folder| {
        let path = folder.join(file);
        let text = fs::read_to_string(&path).unwrap();
        let (kept, dropped): (Vec<&str>, Vec<&str>) =
            text.lines().partition(|line| !line.starts_with(&format!("{key}:")));
        assert!(!dropped.is_empty(), "no {key} in {text}");
        fs::write(&path, format!("{}\n{lines}\n", kept.join("\n"))).unwrap();
    })
}

#[track_caller]
fn assert_refused(result: Result<TrainedRun, InputError>, parts: &[&str]) {
    let message = result.expect_err("something is broken").to_string();
    for part in parts {
        assert!(message.contains(part), "{message:?} lacks {part:?}");
    }
}

#[test]
fn values_of_the_run_config() {
    let run = |key, lines, part| {
        assert_refused(load_with("final_config.yaml", key, lines), &["final_config.yaml: ", key, part]);
    };
    run(
        "gate_type",
        "gate_type: mlp\nci_fn_type: mlp",
        "ci_fn_type: is given together with gate_type, another name of the same; keep one",
    );
    run("gate_hidden_dims", "gate_hidden_dims: [4, 0]", "holds a 0");
    run("sigmoid_type", "", "is missing");
    run("sigmoid_type", "sigmoid_type: soft", "\"soft\" is not supported");
    run("sampling", "sampling: beta", "expected one of continuous, binomial");
    run("identity_module_patterns", "identity_module_patterns: [h.0.attn.q_proj]", "not supported");
    run(
        "pretrained_model_class",
        "pretrained_model_class: transformers.GPT2Model",
        "supported are GPT2Simple, LlamaSimpleMLP, LlamaSimple, GPT2, GPT2LMHeadModel and LlamaForCausalLM",
    );
    run("pretrained_model_class", "", "is missing");
    run("C", "", "is missing");
    run("C", "C: 0", "is 0");
    assert_refused(load_with("final_config.yaml", "gate_type", ""), &["final_config.yaml: ci_fn_type: is missing"]);
}

#[test]
fn yaml_that_cannot_be_read() {
    let run = |key, lines, parts: &[&str]| {
        let result = load_with("final_config.yaml", key, lines);
        assert_refused(result, &[&["final_config.yaml: ", "line ", "column "], parts].concat());
    };
    run("C", "C: 5\nC: 5", &["duplicate", "C"]);
    run("C", "C: [5", &[]);
    run("C", "a: b: c", &[]);
    assert_refused(
        load(|folder| fs::write(folder.join("final_config.yaml"), b"\xff\xfe\xfd").unwrap()),
        &["final_config.yaml"],
    );
    assert_refused(load(|folder| fs::write(folder.join("final_config.yaml"), "").unwrap()), &["final_config.yaml"]);
    assert_refused(
        load(|folder| fs::write(folder.join("final_config.yaml"), "[".repeat(100_000)).unwrap()),
        &["final_config.yaml"],
    );
}

#[test]
fn types_of_the_run_config() {
    let run = |key, lines, message: &str| {
        let message = format!("final_config.yaml: {message}");
        assert_refused(load_with("final_config.yaml", key, lines), &[&message]);
    };
    run("C", "C: many", "C: is \"many\", expected a whole number, 0 or more");
    run("C", "C: -3", "C: is -3, expected a whole number, 0 or more");
    run("C", "C: 5.5", "C: is 5.5, expected a whole number, 0 or more");
    run("C", "C: [5]", "C: is a list, expected a whole number, 0 or more");
    run("gate_type", "gate_type: [a]", "gate_type: is a list, expected a text");
    run("gate_hidden_dims", "gate_hidden_dims: 3", "gate_hidden_dims: is 3, expected a list");
    run("gate_hidden_dims", "gate_hidden_dims: [3, x]", "gate_hidden_dims: entry 2 is \"x\", expected a whole number");
    let result = load(|folder| {
        let path = folder.join("final_config.yaml");
        let text = fs::read_to_string(&path).unwrap().replace("- h.0.attn.k_proj\n", "- null\n");
        fs::write(&path, text).unwrap();
    });
    assert_refused(
        result,
        &["target_module_patterns: entry 2 is null, expected a pattern of module names, such as h.*.mlp.c_fc"],
    );
    run("C", "module_info: [{module_pattern: 'h.*'}]", "module_info: entry 1 has no C");
    run(
        "C",
        "module_info: [{module_pattern: 'h.*', C: x}]",
        "module_info: entry 1 has a C that is \"x\", expected a whole",
    );
    run("C", "module_info: [3]", "module_info: entry 1 is 3, expected keys with values");
    let long = format!("sigmoid_type: {}", "s".repeat(100_000));
    let message = load_with("final_config.yaml", "sigmoid_type", &long).unwrap_err().to_string();
    assert!(message.len() < 700 && message.contains("(100000 characters) is not supported"), "{message}");
}

#[test]
fn what_python_writes_is_read() {
    let expected = load(|_| {}).unwrap().weights;
    for (file, key, lines) in [
        ("final_config.yaml", "C", "C: 5.0"),
        ("final_config.yaml", "sampling", "sampling: continuous\nbound: .inf\n1: {2: .nan}"),
        ("final_config.yaml", "sampling", ""),
        (
            "target/model_config.yaml",
            "n_layer",
            "n_layer: 2.0\ntie_word_embeddings: true\ndropout: 0.1\nuse_cache: false",
        ),
    ] {
        assert_eq!(load_with(file, key, lines).unwrap().weights, expected, "{lines}");
    }
}

/// Editors put it before a text.
#[test]
fn a_byte_order_mark_is_no_part_of_the_text() {
    let expected = load(|_| {}).unwrap().weights;
    let run = load(|folder| {
        for file in ["final_config.yaml", "target/model_config.yaml", "target/tokenizer.json"] {
            let path = folder.join(file);
            fs::write(&path, ["\u{feff}", &fs::read_to_string(&path).unwrap()].concat()).unwrap();
        }
    });
    assert_eq!(run.unwrap().weights, expected);
}

#[test]
fn ci_functions_as_newer_configs_have_them() {
    let with = |ci_config: &str| {
        load(|folder| {
            let path = folder.join("final_config.yaml");
            let text = fs::read_to_string(&path).unwrap();
            let kept: Vec<&str> = text.lines().filter(|line| !line.starts_with("gate_")).collect();
            fs::write(&path, format!("{}\nci_config: {ci_config}\n", kept.join("\n"))).unwrap();
        })
    };
    let expected = load(|_| {}).unwrap().weights;
    assert_eq!(with("{mode: layerwise, fn_type: shared_mlp, hidden_dims: [3]}").unwrap().weights, expected);
    let refused = |ci_config: &str, message: &str| assert_refused(with(ci_config), &["final_config.yaml: ", message]);
    refused("{fn_type: shared_mlp}", "ci_config.mode: is missing");
    refused("{mode: layerwise, fn_type: shared_mlp}", "ci_config.hidden_dims: is missing");
    refused(
        "{mode: layerwise, fn_type: shared_mlp, hidden_dims: [a]}",
        "ci_config.hidden_dims: entry 1 is \"a\", expected a whole number",
    );
    refused("shared_mlp", "ci_config: is \"shared_mlp\", expected keys with values");
    let global = "mode: global, fn_type: global_shared_transformer";
    refused(&format!("{{{global}}}"), "ci_config.simple_transformer_ci_cfg: is missing");
    let transformer = |config: &str| format!("{{{global}, simple_transformer_ci_cfg: {{{config}}}}}");
    refused(&transformer("d_model: 4, n_blocks: 1"), "ci_config.simple_transformer_ci_cfg.attn_config: is missing");
    refused(
        &transformer("d_model: 6, n_blocks: 1, attn_config: {n_heads: 2}"),
        "ci_config.simple_transformer_ci_cfg.attn_config.n_heads: is 2, which does not divide d_model, 6",
    );
    refused(
        &transformer("d_model: 4, n_blocks: 0, attn_config: {n_heads: 1}"),
        "ci_config.simple_transformer_ci_cfg.n_blocks: is 0, but must be between 1 and",
    );
}

/// A CI function that is not known, or whose weights are not there, keeps nobody from attributions of sets that are given.
#[test]
fn a_run_without_its_ci_function_opens() {
    let assert_unknown = |run: Result<TrainedRun, InputError>, part: &str| {
        let run = run.unwrap();
        let CiNetwork::Unknown { reason } = &run.weights.ci_function.network else {
            panic!("its CI function is known")
        };
        assert!(reason.contains(part), "{reason}");
        assert!(run.notes.iter().any(|note| note.contains(part) && note.contains("ghosts")), "{:?}", run.notes);
    };
    assert_unknown(
        load_with("final_config.yaml", "gate_type", "gate_type: linear"),
        "final_config.yaml: gate_type: \"linear\" is not supported; expected one of shared_mlp",
    );
    let reverse = "ci_config: {mode: global, fn_type: global_reverse_residual}";
    let run = load(|folder| {
        let path = folder.join("final_config.yaml");
        let text = fs::read_to_string(&path).unwrap();
        let kept: Vec<&str> = text.lines().filter(|line| !line.starts_with("gate_")).collect();
        fs::write(&path, format!("{}\n{reverse}\n", kept.join("\n"))).unwrap();
    });
    assert_unknown(
        run,
        "ci_config.fn_type: is \"global_reverse_residual\" with mode \"global\", which is not supported",
    );
    let run = load(|folder| {
        let mut tensors = state_dict(&RandomWeights::llama_simple_mlp(3).weights(), Style::Older);
        tensors.retain(|tensor| !tensor.name.starts_with("_gates."));
        write_pth(&folder.join("model_1.pth"), &tensors);
    });
    assert_unknown(run, "no weights _ci_fns.* of the CI function that the config describes, and none of another kind");
}

/// The keys of April 2026 stand in sections, with the target model's in one of its own.
#[test]
fn configs_in_sections() {
    let expected = load(|_| {}).unwrap().weights;
    let nested = |target: &str| {
        load(|folder| {
            let path = folder.join("final_config.yaml");
            let text = fs::read_to_string(&path).unwrap();
            fs::remove_file(&path).unwrap();
            let is_of_target = |line: &&str| line.starts_with("pretrained_");
            let inner: Vec<&str> = text.lines().filter(|line| !is_of_target(line)).collect();
            let inner = inner.join(
                "
  ",
            );
            let config = format!("driver_path: a:B\npd:\n  {inner}\ntarget:\n{target}data: {{max_seq_len: 3}}\n");
            fs::write(folder.join("experiment_config.yaml"), config).unwrap();
        })
    };
    let class = "  model_class: param_decomp.pretrain.models.llama_simple_mlp.LlamaSimpleMLP\n";
    assert_eq!(nested(class).unwrap().weights, expected);
    assert_refused(nested("  model_name: x\n"), &["experiment_config.yaml: target.model_class: is missing"]);
    assert_refused(nested("  model_class: a.B\n"), &["target.model_class: \"a.B\" is an unknown model class"]);
}

#[test]
fn module_patterns() {
    let run = |lines: &str, part| {
        let result = load(|folder| {
            let path = folder.join("final_config.yaml");
            let text = fs::read_to_string(&path).unwrap();
            let kept: Vec<&str> = text
                .lines()
                .filter(|line| !line.starts_with("- ") && !line.starts_with("C:") && !line.starts_with("target_module"))
                .collect();
            fs::write(&path, format!("{}\n{lines}\n", kept.join("\n"))).unwrap();
        });
        match part {
            None => {
                let counts = result.unwrap().weights.component_counts();
                assert_eq!(counts.len(), 12);
            }
            Some(part) => assert_refused(result, &["final_config.yaml: ", part]),
        }
    };
    run("C: 5\ntarget_module_patterns: ['h.*']", None);
    run("C: 5\ntarget_module_patterns: ['h.?.attn.[kqvo]_proj', 'h.**.c_fc', 'h.*.mlp.[!c]*']", None);
    run("module_info: [{module_pattern: 'h.0.*', C: 5}, {module_pattern: 'h.*', C: 5}]", None);
    run("C: 5\ntarget_module_patterns: ['h.2.*']", Some("\"h.2.*\" matches no linear layer"));
    run("C: 5\ntarget_module_patterns: ['h.[']", Some("\"h.[\" is not a pattern"));
    run("C: 5\ntarget_module_patterns: ['*']", Some("\"*\" matches ln_f, which is no linear layer"));
    run("C: 5\ntarget_module_patterns: []", Some("is empty"));
    run(
        "module_info: [{module_pattern: 'h.0.*', C: 5}, {module_pattern: '*.c_fc', C: 6}]",
        Some("h.0.mlp.c_fc is given both 5 and 6"),
    );
    run("C: 5\nmodule_info: [{module_pattern: 'h.0.*', C: 5}]", Some("module_info: is given together with"));
    run("", Some("one style is needed"));
}

#[test]
fn fewer_decomposed_layers_leave_tensors_over() {
    let result = load(|folder| {
        let path = folder.join("final_config.yaml");
        let text = fs::read_to_string(&path).unwrap().replace("- h.1.mlp.c_fc\n", "");
        fs::write(&path, text).unwrap();
    });
    assert_refused(result, &["tensor _gates.h-1-mlp-c_fc.layers.0.W", "belongs to nothing"]);
}

#[test]
fn values_of_the_model_config() {
    let run = |key, lines, part| {
        let result = load_with("target/model_config.yaml", key, lines);
        assert_refused(result, &["model_config.yaml: ", part]);
    };
    run("n_head", "n_head: 3", "n_head: is 3, which does not divide n_embd, 8");
    run("n_head", "n_head: 0", "n_head: is 0");
    run("n_head", "n_head: 8\nrotary_dim: 1", "rotary_dim");
    run("n_layer", "n_layer: 4000000000", "n_layer: is 4000000000");
    run("n_embd", "n_embd: 99999999999999", "n_embd: is 99999999999999");
    run("n_key_value_heads", "n_key_value_heads: 3", "n_key_value_heads: is 3, which does not divide n_head, 2");
    run("rotary_dim", "rotary_dim: 2", "rotary_dim: is 2, an unsupported option");
    run("rotary_base", "rotary_base: -1", "rotary_base: is -1");
    run("rms_norm_eps", "rms_norm_eps: .nan", "rms_norm_eps: is NaN, but must be 0 or a positive number");
    run(
        "model_type",
        "model_type: GPT2Simple",
        "model_type: is \"GPT2Simple\", but the run's model class is LlamaSimpleMLP",
    );
    run(
        "model_type",
        "rope_scaling: 2",
        "rope_scaling: is an unknown key, and what it changes in the model is not known",
    );
    run("model_type", "1: 2", "1: is an unknown key");
    run("vocab_size", "", "vocab_size: is missing");
    run("mlp_bias", "mlp_bias: 1", "mlp_bias: is 1, expected true or false");
    run("rotary_base", "rotary_base: big", "rotary_base: is \"big\", expected a number");
    // One layer for queries, keys and values, which this run has not.
    let fused =
        load_with("target/model_config.yaml", "use_grouped_query_attention", "use_grouped_query_attention: false");
    assert_refused(
        fused,
        &["\"h.0.attn.q_proj\" matches no linear layer", "it has wte, h.0.attn.c_attn, h.0.attn.o_proj"],
    );
    let larger = load_with("target/model_config.yaml", "n_layer", "n_layer: 3");
    assert_refused(larger, &["target_model.h.2.rms_1.weight: is not in the checkpoint"]);
}

#[test]
fn options_left_out_have_the_published_defaults() {
    let explicit = load(|_| {}).unwrap().weights;
    for key in [
        "model_type",
        "flash_attention",
        "rotary_dim",
        "rotary_adjacent_pairs",
        "rms_norm_eps",
        "attn_bias",
        "mlp_bias",
        "rotary_base",
        "n_ctx",
        "use_grouped_query_attention",
    ] {
        assert_eq!(load_with("target/model_config.yaml", key, "").unwrap().weights, explicit, "{key}");
    }
    let shorter = load_with("target/model_config.yaml", "n_ctx", "n_ctx: 4").unwrap();
    assert_eq!(shorter.weights.architecture.max_positions, 4);
}

/// The same, with what helps against it.
#[track_caller]
fn assert_missing(result: Result<TrainedRun, InputError>, parts: &[&str], remedy: Remedy) {
    assert_eq!(result.as_ref().unwrap_err().remedy(), Some(remedy));
    assert_refused(result, parts);
}

#[test]
fn files_that_are_not_there() {
    assert_refused(
        load(|folder| fs::remove_file(folder.join("final_config.yaml")).unwrap()),
        &["final_config.yaml: not found"],
    );
    assert_refused(
        load(|folder| fs::remove_file(folder.join("model_1.pth")).unwrap()),
        &["holds no checkpoint", "model_STEP.pth"],
    );
    assert_missing(
        load(|folder| fs::remove_file(folder.join("target/model_config.yaml")).unwrap()),
        &["target/model_config.yaml: not found"],
        Remedy::Target,
    );
    assert_missing(
        load(|folder| fs::remove_file(folder.join("target/tokenizer.json")).unwrap()),
        &["target/tokenizer.json: not found"],
        Remedy::Tokenizer,
    );
    assert_missing(
        load(|folder| fs::remove_dir_all(folder.join("target")).unwrap()),
        &[
            "\"wandb:team/project/runs/abc\", a run at Weights & Biases, looked for in",
            "model_config.yaml and tokenizer.json",
        ],
        Remedy::Target,
    );
    assert_refused(
        TrainedRun::load(Path::new("no/such/run"), &RunOptions::default()),
        &["no/such/run: there is no such folder"],
    );
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    assert_refused(TrainedRun::load(&file, &RunOptions::default()), &["is not a folder"]);
}

#[test]
fn the_target_model_is_found_where_it_is_said_to_be() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let run = root.join("run");
    fs::create_dir(&run).unwrap();
    write_run(&run, &RandomWeights::gpt2_simple(3).weights(), Style::Current);
    fs::create_dir_all(root.join("models/m/checkpoints")).unwrap();
    for file in ["model_config.yaml", "tokenizer.json"] {
        fs::rename(run.join("target").join(file), root.join("models/m").join(file)).unwrap();
    }
    fs::remove_dir(run.join("target")).unwrap();
    fs::write(root.join("models/m/checkpoints/step_9.pt"), "").unwrap();
    fs::write(root.join("models/m/last.pt"), "").unwrap();
    let config = fs::read_to_string(run.join("final_config.yaml")).unwrap();
    for reference in ["../models/m", "../models/m/last.pt", "../models/m/checkpoints/step_9.pt"] {
        for key in ["pretrained_model_name: wandb:team/project/runs/abc", "pretrained_model_path: null"] {
            let (name, _) = key.split_once(": ").unwrap();
            fs::write(run.join("final_config.yaml"), config.replace(key, &format!("{name}: {reference}"))).unwrap();
            let found = TrainedRun::load(&run, &RunOptions::default()).unwrap().files.model_config;
            assert_eq!(found.canonicalize().unwrap(), root.join("models/m/model_config.yaml").canonicalize().unwrap());
        }
    }
    fs::write(run.join("final_config.yaml"), config).unwrap();
    let target = root.join("models/m");
    let options = RunOptions { target: Some(&target), ..RunOptions::default() };
    TrainedRun::load(&run, &options).unwrap();
    let elsewhere = root.join("other.json");
    fs::rename(target.join("tokenizer.json"), &elsewhere).unwrap();
    assert_missing(TrainedRun::load(&run, &options), &["m/tokenizer.json: not found"], Remedy::Tokenizer);
    TrainedRun::load(&run, &RunOptions { target: Some(&target), tokenizer: Some(&elsewhere), ..RunOptions::default() })
        .unwrap();
    let nowhere = root.join("nowhere");
    let result = TrainedRun::load(&run, &RunOptions { target: Some(&nowhere), ..RunOptions::default() });
    assert_missing(result, &["nowhere/model_config.yaml: not found"], Remedy::Target);
}

#[test]
fn only_named_layers_are_decomposed() {
    let folder = tempfile::tempdir().unwrap();
    let mut random = RandomWeights::llama_simple_mlp(3);
    let kept = [Layer::published(0, Role::Key), Layer::published(1, Role::MlpDown)];
    random.components.retain(|layer, _| kept.contains(layer));
    write_run(folder.path(), &random.weights(), Style::Older);
    let run = TrainedRun::load(folder.path(), &RunOptions::default()).unwrap();
    assert!(run.weights.decomposed.keys().eq(&kept));
}

#[test]
fn tokenizers_that_cannot_be_used() {
    let long = format!("{{\"model\": {{\"type\": {:?}}}}}", "m".repeat(100_000));
    for (content, problem) in [
        ("", "not JSON of a tokenizer"),
        ("{}", "it has no model"),
        ("[1]", ""),
        ("{\"version\": \"1.0\", \"model\": {\"type\": \"BPE\"}}", ""),
        (
            "{\"version\": \"1.0\", \"model\": {\"type\": \"WordPeace\"}}",
            "its model is of type \"WordPeace\", which is unknown; expected one of BPE, WordPiece, WordLevel, Unigram",
        ),
        (&long, "(100000 characters), which is unknown"),
    ] {
        let result = load(|folder| fs::write(folder.join("target/tokenizer.json"), content).unwrap());
        assert!(result.as_ref().unwrap_err().to_string().len() < 900);
        assert_refused(result, &["tokenizer.json: not a usable tokenizer: ", problem]);
    }
    let pointer = load(|folder| {
        fs::write(folder.join("target/tokenizer.json"), "version https://git-lfs.github.com/spec/v1\n").unwrap();
    });
    assert_refused(
        pointer,
        &["tokenizer.json: is the pointer that Git LFS keeps in place of the file; run git lfs pull"],
    );
}

#[test]
fn prompts() {
    let run = load(|_| {}).unwrap();
    let prompt = run.prompt("w3 w10 elsewhere").unwrap();
    assert_eq!(prompt.tokens, [3, 10, 0]);
    assert_eq!(prompt.token_strings, ["w3", "w10", "w0"]);
    let refused = |text: &str, part: &str| {
        let message = run.prompt(text).unwrap_err().to_string();
        assert!(message.starts_with(&format!("prompt {text:?}: ")) && message.contains(part), "{message}");
    };
    refused("", "no tokens");
    refused("  ", "no tokens");
    refused("w1 w1 w1 w1 w1 w1 w1", "has 7 tokens, more than the 6 positions");
}

#[test]
fn a_tokenizer_with_more_tokens_than_the_model() {
    let other = tempfile::tempdir().unwrap();
    let mut random = RandomWeights::gpt2_simple(0);
    random.architecture.vocab = 12;
    write_run(other.path(), &random.weights(), Style::Current);
    let run = load(|folder| {
        fs::copy(other.path().join("target/tokenizer.json"), folder.join("target/tokenizer.json")).unwrap();
    });
    let message = run.unwrap().prompt("w1 w11").unwrap_err().to_string();
    assert!(message.contains("\"w11\" has the id 11, outside the model's vocabulary of 11"), "{message}");
}

#[test]
fn truncation_and_padding_of_the_tokenizer_file_do_not_apply() {
    let run = load(|folder| {
        let path = folder.join("target/tokenizer.json");
        let mut tokenizer: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        tokenizer["truncation"] =
            serde_json::json!({"direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 0});
        tokenizer["padding"] = serde_json::json!({
            "strategy": {"Fixed": 5}, "direction": "Right", "pad_to_multiple_of": null, "pad_id": 0, "pad_type_id": 0,
            "pad_token": "w0",
        });
        fs::write(&path, tokenizer.to_string()).unwrap();
    });
    assert_eq!(run.unwrap().prompt("w1 w2 w3").unwrap().tokens, [1, 2, 3]);
}
