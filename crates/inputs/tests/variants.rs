//! A table of what runs, configs, checkpoints, tokenizers and files of CI sets may be: each is opened as what it is a variant of,
//! bit for bit, or refused with a text that the snapshot holds.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use tributary_inputs::test_support::{RandomWeights, StoredTensor, Style, state_dict, write_pth, write_run};
use tributary_inputs::{RunOptions, TrainedRun};
use tributary_model::{Array, CiArrays, CiNetwork, CiSet, CiTransformer, PositionEncoding, Weights};

/// A run's folder with a file of CI sets, before anybody changes it.
struct Base {
    folder: tempfile::TempDir,
    weights: Weights,
}

impl Base {
    fn of_class(class: &str) -> Self {
        Self::new(&RandomWeights::of_class(class, 3))
    }

    fn new(random: &RandomWeights) -> Self {
        Self::of_weights(random.weights())
    }

    fn of_weights(weights: Weights) -> Self {
        let folder = tempfile::tempdir().unwrap();
        write_run(folder.path(), &weights, Style::Current);
        let base = Self { folder, weights };
        base.write("sets.json", json!({"prompt": "w1 w2", "ci_sets": {"a": base.layers()}}).to_string());
        base
    }

    /// Causal importances of a prompt of two tokens.
    fn layers(&self) -> Value {
        let rows = |count: usize| json!([vec![0.5; count], vec![0.25; count]]);
        let counts = self.weights.component_counts();
        counts
            .into_iter()
            .map(|(layer, count)| (layer.to_string(), rows(count)))
            .collect::<serde_json::Map<_, _>>()
            .into()
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn write(&self, file: &str, content: impl AsRef<[u8]>) {
        fs::write(self.path().join(file), content).unwrap();
    }

    fn read(&self, file: &str) -> String {
        fs::read_to_string(self.path().join(file)).unwrap()
    }

    fn rename(&self, from: &str, to: &str) {
        fs::rename(self.path().join(from), self.path().join(to)).unwrap();
    }

    fn remove(&self, file: &str) {
        fs::remove_file(self.path().join(file)).unwrap();
    }

    /// Puts another text in the place of one that is there.
    fn replace(&self, file: &str, from: &str, to: &str) {
        let text = self.read(file);
        assert!(text.contains(from), "{file} has no {from:?}:\n{text}");
        self.write(file, text.replacen(from, to, 1));
    }

    fn append(&self, file: &str, lines: &str) {
        self.write(file, self.read(file) + lines);
    }

    fn edit_json(&self, file: &str, edit: impl FnOnce(&mut Value)) {
        let mut value = serde_json::from_str(&self.read(file)).unwrap();
        edit(&mut value);
        self.write(file, value.to_string());
    }

    /// Writes the checkpoint anew.
    fn checkpoint(&self, name: &str, change: impl FnOnce(&mut Vec<StoredTensor>)) {
        let mut tensors = state_dict(&self.weights, Style::Current);
        change(&mut tensors);
        self.remove("model_1.pth");
        write_pth(&self.path().join(name), &tensors);
    }

    fn prefixed(&self, prefix: &str) {
        self.checkpoint("model_1.pth", |tensors| {
            for tensor in tensors {
                tensor.name.insert_str(0, prefix);
                tensor.shares = tensor.shares.take().map(|shared| format!("{prefix}{shared}"));
            }
        });
    }

    /// What is read, in words: the notes of what is opened, or the error.
    fn outcome(&self, options: &RunOptions<'_>) -> String {
        let opened = TrainedRun::load(self.path(), options).and_then(|run| {
            let sets = run.ci_sets(&self.path().join("sets.json"), &[])?;
            Ok((run, sets))
        });
        let shown = |text: &str| text.replace(&self.path().display().to_string(), "RUN");
        match opened {
            Err(error) => format!("refused: {}", shown(&error.to_string())),
            Ok((run, sets)) => {
                let mut expected = self.weights.clone();
                if let CiNetwork::Unknown { .. } = run.weights.ci_function.network {
                    expected.ci_function.network = run.weights.ci_function.network.clone();
                }
                expected.rotary.clone_from(&run.weights.rotary);
                assert!(run.weights == expected, "not the weights that were written");
                let [CiSet { prompt, layers, .. }] = &sets.sets[..] else { panic!("one set") };
                assert_eq!(prompt.tokens, [1, 2]);
                assert_eq!(layers.len(), self.weights.component_counts().len());
                assert!(
                    layers.values().all(|ci| (0..ci.components()).all(|c| (ci.get(0, c), ci.get(1, c)) == (0.5, 0.25)))
                );
                let notes = run.notes.iter().chain(&sets.notes).map(|note| format!("note: {}", shown(note)));
                let opened =
                    if run.weights.rotary.is_some() { "opened, with tables of rotary positions" } else { "opened" };
                [opened.to_owned()].into_iter().chain(notes).collect::<Vec<_>>().join(
                    "
  ",
                )
            }
        }
    }
}

/// What was tried, and what came of it.
#[derive(Default)]
struct Table(String, usize);

impl Table {
    fn base(&mut self, name: &str, base: &Base, change: impl FnOnce(&Base)) {
        self.with(name, base, change, &RunOptions::default());
    }

    fn with(&mut self, name: &str, base: &Base, change: impl FnOnce(&Base), options: &RunOptions<'_>) {
        change(base);
        self.1 += 1;
        writeln!(self.0, "{name}\n  {}", base.outcome(options)).unwrap();
    }

    fn run(&mut self, name: &str, change: impl FnOnce(&Base)) {
        self.base(name, &Base::of_class("LlamaSimpleMLP"), change);
    }

    fn of_class(&mut self, name: &str, class: &str, change: impl FnOnce(&Base)) {
        self.base(name, &Base::of_class(class), change);
    }
}

const CONFIG: &str = "final_config.yaml";
const TARGET: &str = "target/model_config.yaml";
const JSON: &str = "target/config.json";

/// The config with everything in sections.
fn nest(base: &Base) {
    let (mut pd, mut target) = (String::new(), String::new());
    for line in base.read(CONFIG).lines() {
        match line.strip_prefix("pretrained_model_") {
            Some(key) => writeln!(target, "  model_{key}").unwrap(),
            None => writeln!(pd, "  {line}").unwrap(),
        }
    }
    base.write(CONFIG, format!("pd:\n{pd}target:\n{target}data:\n  tokenizer_name: x\n"));
}

fn configs(table: &mut Table) {
    table.run("as it is", |_| {});
    table.base("global_shared_mlp", &Base::of_weights(global(false)), |_| {});
    table.base("global_shared_mlp, sections", &Base::of_weights(global(false)), nest);
    table.base("global_shared_transformer", &Base::of_weights(global(true)), |_| {});
    table.base("global_reverse_residual", &Base::of_weights(global(false)), |base| {
        base.replace(CONFIG, "global_shared_mlp", "global_reverse_residual");
    });
    table.run("no CI function", |base| {
        base.checkpoint("model_1.pth", |tensors| tensors.retain(|tensor| !tensor.name.starts_with("_ci_fns.")));
    });
    table.run("sections pd and target", nest);
    table.run("experiment_config.yaml", |base| base.rename(CONFIG, "experiment_config.yaml"));
    table.run("both configs", |base| base.write("experiment_config.yaml", base.read(CONFIG)));
    table.run("no config", |base| base.remove(CONFIG));
    table.run("decomposition_targets", |base| base.replace(CONFIG, "module_info", "decomposition_targets"));
    table.run("both lists", |base| base.append(CONFIG, "decomposition_targets: [{module_pattern: x, C: 1}]\n"));
    for prefix in ["spd.pretrain.models.", "param_decomp.pretrain.models."] {
        table.run(&format!("class prefix {prefix}"), |base| {
            base.replace(CONFIG, "simple_stories_train.models.", prefix);
        });
    }
    table.run("unknown class", |base| base.replace(CONFIG, "LlamaSimpleMLP\n", "LlamaComplex\n"));
    table.run("C: 5.0", |base| base.replace(CONFIG, "C: 5", "C: 5.0"));
    table.run("C: 5.5", |base| base.replace(CONFIG, "C: 5", "C: 5.5"));
    table.run("C: many", |base| base.replace(CONFIG, "C: 5", "C: many"));
    table.run("unknown harmless key", |base| {
        base.append(CONFIG, "wandb_run_name: null\nlr_schedule: {start_val: 0.1}\n");
    });
    table.run("a key twice", |base| base.append(CONFIG, "sigmoid_type: normal\n"));
    table.run("identity modules", |base| {
        base.append(CONFIG, "identity_module_info: [{module_pattern: h.0.attn.q_proj, C: 1}]\n");
    });
    table.run("no identity modules", |base| base.append(CONFIG, "identity_module_info: null\n"));
    table.run("sampling: binomial", |base| base.replace(CONFIG, "sampling: continuous", "sampling: binomial"));
    table.run("ci_config, layerwise", |base| {
        let text = base.read(CONFIG);
        let flat = text.lines().filter(|line| !line.starts_with("ci_fn_")).collect::<Vec<_>>().join("\n");
        base.write(CONFIG, flat + "\nci_config: {mode: layerwise, fn_type: shared_mlp, hidden_dims: [3]}\n");
    });
    table.run("ci_config and ci_fn_type", |base| {
        base.append(CONFIG, "ci_config: {mode: layerwise, fn_type: mlp, hidden_dims: [3]}\n");
    });
    table.run("pattern without a layer", |base| base.replace(CONFIG, "h.0.mlp.c_fc", "h.0.mlp.fc"));
    table.run("pattern with everything", |base| {
        base.replace(CONFIG, "module_pattern: h.0.mlp.c_fc", "module_pattern: '*'");
    });
    table.run("no YAML", |base| base.write(CONFIG, "a: [1"));
    table.run("UTF-16", |base| base.write(CONFIG, [0xff, 0xfe, b'a', 0]));
}

/// A run with one CI function of all layers.
fn global(is_transformer: bool) -> Weights {
    let mut weights = RandomWeights::of_class("LlamaSimple", 4).weights();
    let inputs: usize = weights.decomposed.values().map(|components| components.v.shape[0]).sum();
    let outputs: usize = weights.component_counts().values().sum();
    let array = |shape: &[usize]| Array::new(shape, (0..shape.iter().product()).map(|at: usize| at as f32).collect());
    let linear = |from: usize, to: usize| vec![array(&[from, to]), array(&[to])];
    weights.ci_function.network = if is_transformer {
        let block = [vec![array(&[4, 4]); 4], linear(4, 7), linear(7, 4)].concat();
        CiNetwork::SharedTransformer(CiTransformer {
            projector: CiArrays::Read(linear(inputs, 4)),
            blocks: vec![CiArrays::Read(block.clone()), CiArrays::Read(block)],
            head: CiArrays::Read(linear(4, outputs)),
            n_heads: 2,
            rope_base: 500.0,
        })
    } else {
        CiNetwork::SharedMlp(CiArrays::Read([linear(inputs, 3), linear(3, outputs)].concat()))
    };
    weights
}

fn classes(table: &mut Table) {
    for class in ["GPT2Simple", "GPT2", "LlamaSimpleMLP", "LlamaSimple", "GPT2LMHeadModel", "LlamaForCausalLM"] {
        table.of_class(class, class, |_| {});
        table.base(
            &format!("{class}, embedding and unembedding decomposed"),
            &Base::new(&RandomWeights::of_class(class, 3).with_ends()),
            |_| {},
        );
    }
    table.run("tie_word_embeddings", |base| base.append(TARGET, "tie_word_embeddings: true\n"));
    table.run("an unknown key of the model", |base| base.append(TARGET, "logit_scale: 2\n"));
    table.run("model_type of another class", |base| {
        base.replace(TARGET, "model_type: LlamaSimpleMLP", "model_type: GPT2Simple");
    });
    table.run("heads that do not divide", |base| base.replace(TARGET, "n_head: 2", "n_head: 3"));
    table.run("no model_config.yaml", |base| base.remove(TARGET));
    let llama = |table: &mut Table, name: &str, edit: &dyn Fn(&mut Value)| {
        table.of_class(name, "LlamaForCausalLM", |base| base.edit_json(JSON, edit));
    };
    llama(table, "rope_parameters of version 5", &|config| {
        let mut rope = config["rope_scaling"].take();
        rope["rope_theta"] = config["rope_theta"].take();
        config["rope_parameters"] = rope;
    });
    llama(table, "notes that the library keeps", &|config| config["use_cache"] = json!({"deep": [1, null]}));
    for kind in ["dynamic", "yarn", "longrope"] {
        llama(table, &format!("rotary positions of the kind {kind}"), &|config| {
            config["rope_scaling"] = json!({"rope_type": kind, "factor": 2.0});
        });
    }
    llama(table, "part of a head rotated", &|config| config["partial_rotary_factor"] = json!(0.5));
    llama(table, "quantised", &|config| config["quantization_config"] = json!({"bits": 4}));
    llama(table, "another class in config.json", &|config| config["architectures"] = json!(["MistralForCausalLM"]));
    llama(table, "an activation that is not supported", &|config| config["hidden_act"] = json!("relu"));
    let gpt2 = |table: &mut Table, name: &str, edit: &dyn Fn(&mut Value)| {
        table.of_class(name, "GPT2LMHeadModel", |base| base.edit_json(JSON, edit));
    };
    gpt2(table, "scale_attn_by_inverse_layer_idx", &|config| config["scale_attn_by_inverse_layer_idx"] = json!(true));
    gpt2(table, "scale_attn_weights: false", &|config| config["scale_attn_weights"] = json!(false));
    table.of_class("no config.json", "GPT2LMHeadModel", |base| base.remove(JSON));
    for (name, base_name) in
        [("weights of the target model in its folder", true), ("the same without the base's name", false)]
    {
        table.of_class(name, "GPT2LMHeadModel", |base| target_apart(base, base_name));
    }
    table.of_class("an index of a file that is not there", "LlamaForCausalLM", |base| {
        base.checkpoint("model_1.pth", |tensors| tensors.retain(|tensor| !tensor.name.starts_with("target_model.")));
        base.write(
            "target/model.safetensors.index.json",
            r#"{"weight_map": {"lm_head.weight": "model-1.safetensors"}}"#,
        );
    });
    table.of_class("an index that leads out of the folder", "LlamaForCausalLM", |base| {
        base.checkpoint("model_1.pth", |tensors| tensors.retain(|tensor| !tensor.name.starts_with("target_model.")));
        base.write("target/model.safetensors.index.json", r#"{"weight_map": {"lm_head.weight": "../model_1.pth"}}"#);
    });
}

/// The tensors of the target model in a file of its own.
fn target_apart(base: &Base, with_base_name: bool) {
    let mut of_target = Vec::new();
    base.checkpoint("model_1.pth", |tensors| {
        let (target, rest) = tensors.drain(..).partition(|tensor| tensor.name.starts_with("target_model."));
        (of_target, *tensors) = (target, rest);
    });
    let stripped = |name: &str| {
        let name = name.strip_prefix("target_model.").unwrap();
        if with_base_name { name.to_owned() } else { name.trim_start_matches("transformer.").to_owned() }
    };
    for tensor in &mut of_target {
        tensor.name = stripped(&tensor.name);
        tensor.shares = tensor.shares.take().map(|shared| stripped(&shared));
    }
    write_pth(&base.path().join("target/pytorch_model.bin"), &of_target);
}

fn checkpoints(table: &mut Table) {
    table.run("model_2.pt", |base| base.rename("model_1.pth", "model_2.pt"));
    table.run("the newest of several steps", |base| {
        base.rename("model_1.pth", "model_10.pth");
        base.write("model_9.pth", "older");
    });
    table.run("two of the last step", |base| base.write("model_1.pt", "x"));
    table.run("no checkpoint", |base| base.remove("model_1.pth"));
    let best = RunOptions { checkpoint: Some(Path::new("best.pth")), ..RunOptions::default() };
    table.with(
        "one that is named",
        &Base::of_class("GPT2Simple"),
        |base| base.rename("model_1.pth", "best.pth"),
        &best,
    );
    table.with("one that is named and is not there", &Base::of_class("GPT2Simple"), |_| {}, &best);
    for prefix in ["_orig_mod.", "module.", "_orig_mod.module.", "model.", "state_dict."] {
        table.run(&format!("keys begin with {prefix}"), |base| base.prefixed(prefix));
    }
    table.run("two state dicts", |base| {
        base.checkpoint("model_1.pth", |tensors| {
            let ema =
                tensors.iter().map(|tensor| StoredTensor { name: format!("ema.{}", tensor.name), ..tensor.clone() });
            let ema: Vec<StoredTensor> = ema.filter(|tensor| tensor.shares.is_none()).collect();
            for tensor in tensors.iter_mut() {
                tensor.name.insert_str(0, "model.");
                tensor.shares = tensor.shares.take().map(|shared| format!("model.{shared}"));
            }
            tensors.extend(ema);
        });
    });
    table.run("buffers of attentions", |base| {
        base.checkpoint("model_1.pth", |tensors| {
            let buffer = |name: &str| StoredTensor::float(format!("target_model.h.0.attn.{name}"), &[2], &[1.0, 0.0]);
            tensors.extend(["rotary_sin", "rotary_cos"].map(buffer));
        });
    });
    let rotary_tables = |base: &Base, edit: fn(&mut [f32])| {
        let RandomWeights { architecture, .. } = RandomWeights::of_class("LlamaSimpleMLP", 3);
        let shape = [architecture.max_positions, architecture.d_head];
        let PositionEncoding::Rotary { base: of_angles, adjacent_pairs, scaling } = architecture.position_encoding
        else {
            unreachable!("it has rotary positions")
        };
        let table = |of: fn(f32) -> f32| -> Vec<f32> {
            let angle = |at: usize| {
                let element = at % shape[1];
                let pair = if adjacent_pairs { element / 2 } else { element % (shape[1] / 2) };
                scaling.angle(of_angles, shape[1], pair, at / shape[1])
            };
            (0..shape[0] * shape[1]).map(|at| of(angle(at))).collect()
        };
        let (mut sin, cos) = (table(f32::sin), table(f32::cos));
        edit(&mut sin);
        base.checkpoint("model_1.pth", |tensors| {
            for block in 0..architecture.n_blocks {
                let name = |table: &str| format!("target_model.h.{block}.attn.rotary_{table}");
                tensors.push(StoredTensor::float(name("sin"), &shape, &sin));
                tensors.push(StoredTensor::float(name("cos"), &shape, &cos));
            }
        });
    };
    table.run("tables of rotary positions", |base| rotary_tables(base, |_| {}));
    table.run("tables of other rotary positions", |base| rotary_tables(base, |sin| sin[0] = 0.5));
    table.run("a tensor too many", |base| {
        base.checkpoint("model_1.pth", |tensors| tensors.push(StoredTensor::float("target_model.h.9.x", &[1], &[1.0])));
    });
    table.run("a tensor missing", |base| {
        base.checkpoint("model_1.pth", |tensors| tensors.retain(|tensor| !tensor.name.ends_with("rms_1.weight")));
    });
    let wide = |factor: f64| {
        let mut weights = RandomWeights::of_class("LlamaSimpleMLP", 3).weights();
        let of_norm = &mut weights.ln_f.weight;
        *of_norm = Array::of(&*of_norm.shape, of_norm.values.iter().map(|value| value * factor).collect::<Vec<f64>>());
        Base::of_weights(weights)
    };
    table.base("float64 weights", &wide(1.0 / 3.0), |_| {});
    table.base("float64 weights that float32 cannot hold", &wide(1e300), |_| {});
    table.run("not a number among the weights", |base| {
        base.checkpoint("model_1.pth", |tensors| {
            let tensor = tensors.iter_mut().find(|tensor| tensor.name.ends_with("ln_f.weight")).unwrap();
            tensor.bytes[..4].copy_from_slice(&f32::NAN.to_le_bytes());
        });
    });
    let lfs = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n";
    table.run("a pointer of Git LFS", |base| base.write("model_1.pth", lfs));
    table.run("a web page", |base| base.write("model_1.pth", "<!DOCTYPE html><html></html>"));
    table.run("compressed", |base| base.write("model_1.pth", b"\x1f\x8b\x08\0\0\0\0\0\0\x03"));
    table.run("empty", |base| base.write("model_1.pth", ""));
    table.run("a plain pickle", |base| base.write("model_1.pth", b"\x80\x02}q\0."));
    table.run("a CI function of a layer that is not decomposed", |base| {
        base.checkpoint("model_1.pth", |tensors| {
            tensors.push(StoredTensor::float("_ci_fns.h-9-x.layers.0.W", &[1], &[1.0]));
        });
    });
}

fn tokenizers_and_sets(table: &mut Table) {
    table.run("no tokenizer", |base| base.remove("target/tokenizer.json"));
    table.run("a tokenizer that is none", |base| base.write("target/tokenizer.json", "{\"model\": 1}"));
    table.run("a tokenizer behind a byte order mark", |base| {
        let text = base.read("target/tokenizer.json");
        base.write("target/tokenizer.json", format!("\u{feff}{text}"));
    });
    let sets = |table: &mut Table, name: &str, document: &dyn Fn(Value) -> Value| {
        table.run(name, |base| base.write("sets.json", document(base.layers()).to_string()));
    };
    sets(table, "samples", &|layers| json!({"samples": {"a": {"prompt": "w1 w2", "ci_vals": layers}}}));
    sets(table, "optimized", &|layers| json!({"prompt": "w1 w2", "optimized_ci": layers}));
    sets(
        table,
        "metadata of a set",
        &|layers| json!({"prompt": "w1 w2", "ci_sets": {"a": layers}, "metadata": {"a": {"seed": 1}}}),
    );
    sets(
        table,
        "metadata of another set",
        &|layers| json!({"prompt": "w1 w2", "ci_sets": {"a": layers}, "metadata": {"b": 1}}),
    );
    sets(table, "its tokens", &|layers| json!({"prompt": "w1 w2", "tokens": [1, 2], "ci_sets": {"a": layers}}));
    sets(table, "other tokens", &|layers| json!({"prompt": "w1 w2", "tokens": [1, 3], "ci_sets": {"a": layers}}));
    sets(table, "one dimension too many", &|layers| {
        let deeper: BTreeMap<String, Value> =
            layers.as_object().unwrap().iter().map(|(layer, rows)| (layer.clone(), json!([rows]))).collect();
        json!({"prompt": "w1 w2", "ci_sets": {"a": deeper}})
    });
    sets(table, "an importance above 1", &|mut layers| {
        layers["h.0.mlp.c_fc"][0][0] = json!(1.5);
        json!({"prompt": "w1 w2", "ci_sets": {"a": layers}})
    });
    sets(table, "a layer missing", &|mut layers| {
        layers.as_object_mut().unwrap().remove("h.0.mlp.c_fc");
        json!({"prompt": "w1 w2", "ci_sets": {"a": layers}})
    });
    sets(table, "a prompt of another length", &|layers| json!({"prompt": "w1 w2 w3", "ci_sets": {"a": layers}}));
    table.run("a byte order mark", |base| base.write("sets.json", format!("\u{feff}{}", base.read("sets.json"))));
    table.run("compressed CI sets", |base| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut encoder, base.read("sets.json").as_bytes()).unwrap();
        base.write("sets.json", encoder.finish().unwrap());
    });
    table.run("NaN in metadata", |base| {
        let text = base.read("sets.json");
        base.write(
            "sets.json",
            format!("{}, \"metadata\": {{\"a\": {{\"loss\": NaN}}}}}}", text.trim_end_matches('}').to_owned() + "}}"),
        );
    });
    table.run("cut short", |base| {
        let text = base.read("sets.json");
        base.write("sets.json", &text[..text.len() / 2]);
    });
}

#[test]
fn variants_are_opened_or_refused() {
    let mut table = Table::default();
    configs(&mut table);
    classes(&mut table);
    checkpoints(&mut table);
    tokenizers_and_sets(&mut table);
    assert!(table.1 >= 60, "{} variants", table.1);
    insta::with_settings!({ snapshot_path => "../../../snapshots", prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_snapshot!("variants_of_inputs", table.0);
    });
}
