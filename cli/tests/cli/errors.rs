//! What the command says of inputs that are broken, and that it writes nothing then.

use std::fmt::Write as _;
use std::fs;

use serde_json::{Value, json};
use tributary_inputs::test_support::{RandomWeights, StoredTensor, Style, state_dict, write_pth};

use crate::workshop::{PROMPT, Workshop, stderr, stdout};

const Q: &str = "h.0.attn.q_proj";

type Case = (&'static str, fn(&Workshop) -> Vec<&'static str>);

/// Rewrites the checkpoint with its tensors changed.
fn edit_checkpoint(workshop: &Workshop, edit: impl FnOnce(&mut Vec<StoredTensor>)) -> Vec<&'static str> {
    let mut tensors = state_dict(&RandomWeights::gpt2_simple(3).weights(), Style::Current);
    edit(&mut tensors);
    write_pth(&workshop.path("run/model_1.pth"), &tensors);
    vec![]
}

fn edit_sets(workshop: &Workshop, edit: impl FnOnce(&mut Value)) -> Vec<&'static str> {
    workshop.edit_sets(edit);
    vec![]
}

fn edit_text(workshop: &Workshop, file: &str, from: &str, to: &str) -> Vec<&'static str> {
    workshop.replace(file, from, to);
    vec![]
}

const CASES: &[Case] = &[
    ("truncated checkpoint", |w| {
        let bytes = fs::read(w.path("run/model_1.pth")).unwrap();
        fs::write(w.path("run/model_1.pth"), &bytes[..bytes.len() / 2]).unwrap();
        vec![]
    }),
    ("not a checkpoint", |w| {
        w.write("run/model_1.pth", "these are not the weights");
        vec![]
    }),
    ("no checkpoint", |w| {
        fs::remove_file(w.path("run/model_1.pth")).unwrap();
        vec![]
    }),
    ("missing tensor", |w| edit_checkpoint(w, |t| t.retain(|t| t.name != "_components.h-0-attn-q_proj.U"))),
    ("extra tensor", |w| edit_checkpoint(w, |t| t.push(StoredTensor::float("target_model.extra", &[1], &[0.0])))),
    ("wrong shape", |w| {
        edit_checkpoint(w, |tensors| {
            let tensor = tensors.iter_mut().find(|t| t.name == "_components.h-0-attn-q_proj.V").unwrap();
            tensor.shape.swap(0, 1);
        })
    }),
    ("NaN weight", |w| {
        edit_checkpoint(w, |tensors| {
            let tensor = tensors.iter_mut().find(|t| t.name == "target_model.wte.weight").unwrap();
            tensor.bytes[12..16].copy_from_slice(&f32::NAN.to_le_bytes());
        })
    }),
    ("unknown model class", |w| edit_text(w, "run/final_config.yaml", "GPT2Simple", "Mamba")),
    ("unsupported option", |w| edit_text(w, "run/target/model_config.yaml", "n_head", "n_experts: 4\nn_head")),
    ("missing target folder", |w| {
        fs::remove_dir_all(w.path("run/target")).unwrap();
        vec![]
    }),
    ("missing tokenizer", |w| {
        fs::remove_file(w.path("run/target/tokenizer.json")).unwrap();
        vec![]
    }),
    ("no run", |w| {
        fs::remove_dir_all(w.path("run")).unwrap();
        vec![]
    }),
    ("CI file not JSON", |w| {
        w.write("sets.json", "prompt: w1\n");
        vec![]
    }),
    ("no CI file", |w| {
        fs::remove_file(w.path("sets.json")).unwrap();
        vec![]
    }),
    ("duplicate set name", |w| edit_text(w, "sets.json", "\"high\"", "\"low\"")),
    ("duplicate layer", |w| edit_text(w, "sets.json", "h.0.attn.k_proj", Q)),
    ("no sets", |w| edit_sets(w, |sets| sets["ci_sets"] = json!({}))),
    ("unknown layer", |w| edit_text(w, "sets.json", Q, "h.0.attn.x_proj")),
    ("missing layer", |w| {
        edit_sets(w, |sets| {
            sets["ci_sets"]["high"].as_object_mut().unwrap().remove(Q);
        })
    }),
    ("wrong number of positions", |w| {
        edit_sets(w, |sets| {
            sets["ci_sets"]["high"][Q].as_array_mut().unwrap().pop();
        })
    }),
    ("wrong number of components", |w| {
        edit_sets(w, |sets| {
            for row in sets["ci_sets"]["high"][Q].as_array_mut().unwrap() {
                row.as_array_mut().unwrap().pop();
            }
        })
    }),
    ("ragged rows", |w| {
        edit_sets(w, |sets| {
            sets["ci_sets"]["high"][Q][1].as_array_mut().unwrap().pop();
        })
    }),
    ("CI value NaN", |w| edit_text(w, "sets.json", "0.25", "NaN")),
    ("CI value infinite", |w| edit_text(w, "sets.json", "0.25", "-Infinity")),
    ("CI value null", |w| edit_text(w, "sets.json", "0.25", "null")),
    ("CI value too large", |w| edit_text(w, "sets.json", "0.25", "1e999")),
    ("CI value that the run cannot give", |w| edit_text(w, "sets.json", "0.25", "1.001")),
    ("numbers that overflow", |w| {
        // One that gives any number above 1.
        w.replace("run/final_config.yaml", "sigmoid_type: leaky_hard", "sigmoid_type: upper_leaky_hard");
        edit_text(w, "sets.json", "0.25", "3e38")
    }),
    ("prompt mismatch", |_| vec!["--prompt", "w1 w4 w3"]),
    ("empty prompt", |w| edit_sets(w, |sets| sets["prompt"] = json!(""))),
    ("prompt longer than the model's context", |w| edit_sets(w, |sets| sets["prompt"] = json!("w1 w1 w1 w1 w1 w1 w1"))),
    ("token id outside the vocabulary", |w| edit_text(w, "run/target/tokenizer.json", "\"w1\":1,", "\"w1\":77,")),
    ("output folder occupied", |w| {
        assert!(w.attribute(&["--quiet"]).status.success());
        vec![]
    }),
    ("output not writable", |w| {
        w.write("file", "");
        vec!["--out", "file/out"]
    }),
    ("unknown backend", |_| vec!["--backend", "abacus"]),
    ("unknown device", |_| vec!["--device", "cuda:3"]),
    ("unknown set", |_| vec!["--sets", "low,medium"]),
];

#[test]
fn every_broken_input_has_its_own_error() {
    let mut all = String::new();
    for (name, break_it) in CASES {
        let workshop = Workshop::small();
        let more = break_it(&workshop);
        let before = listing(&workshop);
        let output = if more.first() == Some(&"--out") {
            workshop.tributary(&["attribute", "--model", "run", "--ci-sets", "sets.json", "--quiet", more[0], more[1]])
        } else {
            workshop.attribute(&[&["--quiet"], more.as_slice()].concat())
        };
        assert_eq!(output.status.code(), Some(1), "{name}: {}", stderr(&output));
        assert_eq!(stdout(&output), "", "{name}");
        assert_eq!(listing(&workshop), before, "{name}: something was written");
        writeln!(all, "{name}\n    {}", stderr(&output).trim_end().replace('\n', "\n    ")).unwrap();
    }
    insta::with_settings!({ snapshot_path => "../../../snapshots", prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_snapshot!("errors", all);
    });
    let mut messages: Vec<&str> = all.lines().filter(|line| line.starts_with("    ")).collect();
    let count = messages.len();
    messages.sort_unstable();
    messages.dedup();
    assert_eq!(messages.len(), count, "two causes share a message");
}

/// Every file and folder, with sizes.
fn listing(workshop: &Workshop) -> Vec<(String, u64)> {
    let mut found = Vec::new();
    let mut open = vec![workshop.path("")];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let (path, metadata) = (entry.path(), entry.metadata().unwrap());
            found.push((path.display().to_string(), if metadata.is_dir() { 0 } else { metadata.len() }));
            if metadata.is_dir() {
                open.push(path);
            }
        }
    }
    found.sort();
    found
}

#[test]
fn empty_prompts_given_by_flag() {
    let workshop = Workshop::small();
    let output = workshop.tributary(&["attribute", "--model", "run", "--prompt", "", "--out", "out"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("it has no tokens"), "{}", stderr(&output));
    assert!(!workshop.path("out").exists());
}

#[test]
fn wrong_usage_exits_with_2() {
    let workshop = Workshop::small();
    let attribute = ["attribute", "--model", "run", "--out", "out"];
    for more in [
        &[][..],
        &["--prompt"],
        &["--prompt", PROMPT, "--dtype", "f16"],
        &["--prompt", PROMPT, "--method", "guess"],
        &["--prompt", PROMPT, "--ci-threshold", "nan"],
        &["--prompt", PROMPT, "--ci-threshold", "-1"],
        &["--prompt", PROMPT, "--threads", "0"],
        &["--prompt", PROMPT, "--sets", "low"],
        &["--prompt", PROMPT, "--colour"],
    ] {
        let output = workshop.tributary(&[&attribute, more].concat());
        assert_eq!(output.status.code(), Some(2), "{more:?}: {}", stderr(&output));
        assert!(!workshop.path("out").exists());
    }
    assert_eq!(workshop.tributary(&[]).status.code(), Some(2));
}

#[test]
fn errors_are_readable_by_machines_with_json() {
    let workshop = Workshop::small();
    let output = workshop.attribute(&["--json", "--backend", "abacus"]);
    assert_eq!(output.status.code(), Some(1));
    let line: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert!(line["error"].as_str().unwrap().contains("abacus"));
}

/// Nobody reading stderr is no reason to lose a run, nor to end as anything but a failure.
#[test]
fn a_closed_stderr_decides_nothing() {
    let workshop = Workshop::small();
    let run = |more: &[&str]| {
        let args = ["attribute", "--model", "run", "--ci-sets", "sets.json", "--out", "out"];
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = workshop.command(&[&args, more].concat());
        command.stderr(writer).stdout(std::process::Stdio::null()).status().unwrap().code()
    };
    assert_eq!(run(&["--backend", "abacus"]), Some(1));
    assert_eq!(run(&["--method", "autograd"]), Some(0));
    assert!(workshop.path("out/manifest.json").exists());
}
