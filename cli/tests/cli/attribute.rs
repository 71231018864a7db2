//! The main job through the command: what is written, and what of it depends on what.

use std::fs;

use serde_json::{Value, json};
use tributary_inputs::test_support::RandomWeights;
use tributary_model::SetAttributions;
use tributary_results::{ResultFolder, SetEntry};

use crate::workshop::{PROMPT, Workshop, stderr, stdout};

#[track_caller]
pub(crate) fn succeed(output: &std::process::Output) -> String {
    assert_eq!(output.status.code(), Some(0), "{}", stderr(output));
    stdout(output)
}

pub(crate) fn read(workshop: &Workshop, folder: &str, set: &str) -> SetAttributions<f32> {
    ResultFolder::open(&workshop.path(folder)).unwrap().read_set(set).unwrap()
}

#[test]
fn writes_one_graph_per_set() {
    let workshop = Workshop::small();
    let text = succeed(&workshop.attribute(&[]));
    let folder = ResultFolder::open(&workshop.path("out")).unwrap();
    let manifest = folder.manifest();
    let names: Vec<&str> = manifest.sets.iter().map(|set| set.name.as_str()).collect();
    assert_eq!(names, ["low", "high"], "the file's order");
    for set in &manifest.sets {
        let graph = folder.read_set(&set.name).unwrap();
        assert_eq!((graph.node_count(), graph.edge_count()), (set.nodes, set.edges));
        assert!(set.edges > 0);
        assert!(text.contains(&format!("set {}: {} nodes, {} edges", set.name, set.nodes, set.edges)), "{text}");
        assert_eq!(graph.output_probs.len(), 3 * 11);
        for position in graph.output_probs.chunks(11) {
            // Eleven probabilities, each rounded to f32.
            assert!((position.iter().sum::<f32>() - 1.0).abs() < 1e-6);
        }
    }
    let timings = manifest.run.timings;
    assert!(timings.load > 0.0 && timings.model_ci > 0.0 && timings.write > 0.0);
    assert!(timings.forward > 0.0 && timings.forward < timings.attribution);
    assert_eq!(manifest.prompts[0].text, PROMPT);
    assert_eq!(manifest.prompts[0].tokens, [1, 4, 2]);
    assert_eq!((manifest.run.backend.as_str(), manifest.run.dtype.as_str()), ("flex", "f32"));
    assert_eq!((manifest.settings.method.as_str(), manifest.run.method.as_str()), ("auto", "closed-form"));
}

#[test]
fn progress_goes_to_stderr_and_json_to_stdout() {
    let workshop = Workshop::small();
    let output = workshop.attribute(&["--json", "--method", "autograd"]);
    let line = succeed(&output);
    assert_eq!(line.lines().count(), 1);
    let line: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(line["sets"][1]["name"], "high");
    assert!(line["timings"]["attribution"].as_f64().unwrap() > 0.0);
    assert!(stderr(&output).contains("backward passes"), "{}", stderr(&output));
    let quiet = workshop.attribute(&["--force", "--quiet"]);
    assert_eq!((succeed(&quiet), stderr(&quiet)), (String::new(), String::new()));
}

/// Entries and values of two results within rounding of each other.
#[track_caller]
pub(crate) fn assert_same(a: &SetAttributions<f32>, b: &SetAttributions<f32>) {
    assert_eq!(a.nodes.len(), b.nodes.len());
    for (layer, nodes) in &a.nodes {
        assert_eq!((&nodes.alive, &nodes.original), (&b.nodes[layer].alive, &b.nodes[layer].original), "{layer}");
    }
    // Attributions of this model are of order 1 and some hundred f32 roundings deep; a rounding is 6e-8.
    for (a, b) in a.pairs.iter().zip(&b.pairs) {
        for (x, y) in a.values.iter().zip(&b.values) {
            assert!((x - y).abs() <= 1e-5 * (1.0 + x.abs()), "{:?}: {x} against {y}", a.pair);
        }
    }
}

#[test]
fn backends_dtypes_and_threads_agree() {
    for weights in [RandomWeights::gpt2_simple(3).weights(), RandomWeights::llama_simple_mlp(4).weights()] {
        let workshop = Workshop::new(&weights);
        succeed(&workshop.attribute(&["--dtype", "f64"]));
        let variants: [&[&str]; 5] = [
            &["--backend", "ndarray"],
            &["--backend", "flex"],
            &["--backend", "flex", "--dtype", "f64", "--threads", "1"],
            &["--method", "closed-form", "--backend", "flex"],
            &["--method", "autograd", "--device", "cpu", "--threads", "2"],
        ];
        for more in variants {
            let args = ["attribute", "--model", "run", "--ci-sets", "sets.json", "--out", "other", "--force"];
            succeed(&workshop.tributary(&[&args, more].concat()));
            for set in ["low", "high"] {
                assert_same(&read(&workshop, "out", set), &read(&workshop, "other", set));
            }
        }
    }
}

#[test]
fn some_sets_alone_are_as_in_the_batch() {
    let workshop = Workshop::small();
    workshop.edit_sets(|sets| sets["ci_sets"]["a, b"] = sets["ci_sets"]["high"].clone());
    succeed(&workshop.attribute(&[]));
    let alone = ["attribute", "--model", "run", "--ci-sets", "sets.json", "--out", "alone"];
    succeed(&workshop.tributary(&[&alone[..], &["--sets", "a, b", "--sets", "high"]].concat()));
    let folder = ResultFolder::open(&workshop.path("alone")).unwrap();
    let names: Vec<&str> = folder.manifest().sets.iter().map(|set| set.name.as_str()).collect();
    assert_eq!(names, ["high", "a, b"], "the file's order, whatever the flag's");
    for name in names {
        assert_same(&read(&workshop, "out", name), &read(&workshop, "alone", name));
    }
}

#[test]
fn without_ci_sets_the_models_own_are_used() {
    let workshop = Workshop::small();
    let args = ["attribute", "--model", "run", "--out", "out", "--prompt", PROMPT, "--prompt", "w5 w6"];
    succeed(&workshop.tributary(&args));
    let folder = ResultFolder::open(&workshop.path("out")).unwrap();
    let prompts = |set: &SetEntry| (set.name.clone(), folder.manifest().prompts[set.prompt].tokens.clone());
    let sets: Vec<_> = folder.manifest().sets.iter().map(prompts).collect();
    assert_eq!(sets, [("prompt_0".to_owned(), vec![1, 4, 2]), ("prompt_1".to_owned(), vec![5, 6])]);
    for set in ["prompt_0", "prompt_1"] {
        for (layer, nodes) in &folder.read_set(set).unwrap().nodes {
            assert_eq!(nodes.alive, nodes.original, "{layer}: nothing is a ghost of itself");
        }
    }
}

#[test]
fn sets_in_which_nothing_is_alive_are_named() {
    let workshop = Workshop::small();
    let output = workshop.attribute(&["--ci-threshold", "0.9"]);
    succeed(&output);
    for set in ["low", "high"] {
        let warning = format!("warning: set {set}: no component is alive: none of its causal importances reaches 0.9");
        assert!(stderr(&output).contains(&warning), "{}", stderr(&output));
    }
    assert!(!stderr(&workshop.attribute(&["--force"])).contains("no component is alive"));
    for (threshold, part) in [
        ("1.5", "no causal importance reaches it; expected a number from 0 to 1"),
        ("-0.1", "expected a number that is not negative"),
        ("NaN", "expected a number that is not negative"),
    ] {
        let refused = workshop.attribute(&["--force", "--ci-threshold", threshold]);
        assert_eq!(refused.status.code(), Some(2));
        assert!(stderr(&refused).contains(part), "{}", stderr(&refused));
    }
}

#[test]
fn closed_form_needs_every_layer_decomposed() {
    let mut random = RandomWeights::gpt2_simple(3);
    random.components.retain(|layer, _| layer.to_string().contains("mlp"));
    let workshop = Workshop::new(&random.weights());
    let refused = workshop.attribute(&["--method", "closed-form"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(stderr(&refused).contains("h.0.attn.q_proj is not; use autograd"), "{}", stderr(&refused));
    succeed(&workshop.attribute(&[]));
    let folder = ResultFolder::open(&workshop.path("out")).unwrap();
    // The MLPs' own step has its closed form all the same.
    assert_eq!(folder.manifest().run.method, "mixed");
    let pairs: Vec<String> =
        folder.manifest().pairs.iter().map(|pair| format!("{}->{}", pair.source, pair.target)).collect();
    assert!(pairs.contains(&"h.0.mlp.down_proj->h.1.mlp.c_fc".to_owned()), "{pairs:?}");
}

#[test]
fn samples_of_unequal_length_keep_their_order_and_metadata() {
    let workshop = Workshop::small();
    let sets = Workshop::ci_sets(&RandomWeights::gpt2_simple(3).weights());
    let mut short = sets["ci_sets"]["low"].clone();
    for layer in short.as_object_mut().unwrap().values_mut() {
        layer.as_array_mut().unwrap().pop();
    }
    let samples = json!({ "samples": {
        "z": { "prompt": PROMPT, "ci_vals": sets["ci_sets"]["low"], "metadata": { "seed": 7 } },
        "short": { "prompt": "w1 w4", "ci_vals": short },
        "a": { "prompt": PROMPT, "ci_vals": sets["ci_sets"]["high"], "metadata": { "seed": 8 } },
    }});
    succeed(&workshop.attribute(&[]));
    workshop.write("sets.json", &samples.to_string());
    succeed(&workshop.tributary(&["attribute", "--model", "run", "--ci-sets", "sets.json", "--out", "samples"]));
    let folder = ResultFolder::open(&workshop.path("samples")).unwrap();
    let found: Vec<(&str, Option<Value>)> =
        folder.manifest().sets.iter().map(|set| (set.name.as_str(), set.metadata.clone())).collect();
    assert_eq!(found, [("z", Some(json!({ "seed": 7 }))), ("short", None), ("a", Some(json!({ "seed": 8 })))]);
    assert_same(&read(&workshop, "samples", "z"), &read(&workshop, "out", "low"));
    assert_same(&read(&workshop, "samples", "a"), &read(&workshop, "out", "high"));
}

#[test]
fn force_replaces_and_output_probs_can_be_left_out() {
    let workshop = Workshop::small();
    succeed(&workshop.attribute(&[]));
    let before = fs::read(workshop.path("out/low.safetensors")).unwrap();
    succeed(&workshop.attribute(&["--force", "--no-output-probs", "--sets", "low"]));
    let after = fs::read(workshop.path("out/low.safetensors")).unwrap();
    assert!(after.len() < before.len());
    assert!(read(&workshop, "out", "low").output_probs.is_empty());
    assert!(!workshop.path("out/high.safetensors").exists(), "a set of the replaced results is left over");
}

#[test]
fn runs_are_bit_identical() {
    let workshop = Workshop::small();
    for backend in ["ndarray", "flex"] {
        let run = || {
            succeed(&workshop.attribute(&["--force", "--backend", backend]));
            fs::read(workshop.path("out/low.safetensors")).unwrap()
        };
        assert_eq!(run(), run(), "{backend}");
    }
}

#[test]
fn inspect_and_backends_say_what_there_is() {
    let workshop = Workshop::small();
    let run = succeed(&workshop.tributary(&["inspect", "run"]));
    assert!(run.contains("GPT2Simple: 2 blocks") && run.contains("h.1.mlp.down_proj"), "{run}");
    succeed(&workshop.attribute(&[]));
    let result = succeed(&workshop.tributary(&["inspect", "out"]));
    let folder = ResultFolder::open(&workshop.path("out")).unwrap();
    for set in &folder.manifest().sets {
        assert!(result.contains(&set.edges.to_string()) && result.contains(&set.file), "{result}");
    }
    let json: Value = serde_json::from_str(&succeed(&workshop.tributary(&["inspect", "run", "--json"]))).unwrap();
    assert_eq!(json["layers"].as_array().unwrap().len(), 12);
    let backends = succeed(&workshop.tributary(&["backends"]));
    assert!(backends.contains("ndarray") && backends.contains("flex"), "{backends}");
    let nothing = workshop.tributary(&["inspect", "."]);
    assert_eq!(nothing.status.code(), Some(1));
    assert!(stderr(&nothing).contains("neither a trained run"));
}

#[test]
fn a_dry_run_says_what_the_run_will_write_and_writes_nothing() {
    let workshop = Workshop::small();
    for flags in [&[][..], &["--implied-index", "--no-output-probs"]] {
        let dry = ["attribute", "--model", "run", "--ci-sets", "sets.json", "--backend", "flex", "--dry-run", "--json"];
        let line = succeed(&workshop.tributary(&[&dry, flags].concat()));
        assert!(!workshop.path("out").exists());
        let planned: Value = serde_json::from_str(&line).unwrap();
        succeed(&workshop.attribute(flags));
        let folder = ResultFolder::open(&workshop.path("out")).unwrap();
        for (planned, set) in planned["sets"].as_array().unwrap().iter().zip(&folder.manifest().sets) {
            let size = fs::metadata(folder.set_path(set)).unwrap().len();
            assert_eq!(
                *planned,
                json!({ "name": set.name, "nodes": set.nodes, "edges": set.edges, "bytes": size }),
                "with {flags:?}"
            );
        }
        assert_eq!(planned["batches"], 1);
        assert!(planned["memory"].as_u64() < planned["max_memory"].as_u64(), "{planned}");
        fs::remove_dir_all(workshop.path("out")).unwrap();
    }
    let text = succeed(&workshop.tributary(&[
        "attribute",
        "--model",
        "run",
        "--prompt",
        PROMPT,
        "--backend",
        "flex",
        "--dry-run",
        "--max-memory",
        "2GB",
    ]));
    assert!(text.contains("prompt_0") && text.contains("of 2.0 GB allowed"), "{text}");
}

/// The job of [`Workshop::attribute`] into another folder.
fn into(workshop: &Workshop, out: &str, more: &[&str]) -> std::process::Output {
    let args = ["attribute", "--model", "run", "--ci-sets", "sets.json", "--backend", "flex", "--out", out];
    workshop.tributary(&[&args, more].concat())
}

#[test]
fn an_index_that_is_left_out_is_the_one_that_is_written_otherwise() {
    let workshop = Workshop::small();
    succeed(&workshop.attribute(&[]));
    succeed(&into(&workshop, "implied", &["--implied-index"]));
    let folders = ["out", "implied"].map(|folder| ResultFolder::open(&workshop.path(folder)).unwrap());
    for set in ["low", "high"] {
        assert_eq!(folders[0].read_set(set).unwrap(), folders[1].read_set(set).unwrap());
        let [with, without] = folders
            .each_ref()
            .map(|folder| fs::metadata(folder.set_path(folder.manifest().set(set).unwrap())).unwrap().len());
        let edges = folders[0].manifest().set(set).unwrap().edges as u64;
        assert!(with - without >= 8 * edges, "{with} and {without} bytes for {edges} edges");
    }
    succeed(&workshop.tributary(&["verify", "implied"]));
    succeed(&workshop.tributary(&["inspect", "implied"]));
}

#[test]
fn sets_that_do_not_fit_into_memory_together_are_the_same_one_by_one() {
    let workshop = Workshop::small();
    let plan = |flags: &[&str]| -> Value {
        let dry = ["attribute", "--model", "run", "--ci-sets", "sets.json", "--backend", "flex", "--dry-run", "--json"];
        serde_json::from_str(&succeed(&workshop.tributary(&[&dry, flags].concat()))).unwrap()
    };
    let memory = plan(&["--dtype", "f64"])["memory"].as_u64().unwrap();
    let limit = (memory - 1).to_string();
    assert_eq!(plan(&["--dtype", "f64", "--max-memory", &limit])["batches"], 2);
    succeed(&workshop.attribute(&["--dtype", "f64"]));
    succeed(&into(&workshop, "bounded", &["--dtype", "f64", "--max-memory", &limit]));
    for set in ["low", "high"] {
        let (together, apart) = (read(&workshop, "out", set), read(&workshop, "bounded", set));
        for (together, apart) in together.pairs.iter().zip(&apart.pairs) {
            let largest = together.values.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
            for (a, b) in together.values.iter().zip(&apart.values) {
                // Two float64 sums in another order, rounded to float32: one unit in the last place.
                assert!((a - b).abs() <= f32::EPSILON * largest, "{a} and {b}");
            }
        }
    }
    let refused = into(&workshop, "refused", &["--max-memory", "1MB"]);
    assert_eq!(refused.status.code(), Some(1));
    let message = stderr(&refused);
    assert!(message.contains("the target model on a prompt takes about"), "{message}");
    assert!(message.contains("more than the 1 MB that are allowed") && message.contains("--max-memory"), "{message}");
    // Enough for the target model, and not for the edges of a set.
    let refused = into(&workshop, "refused", &["--max-memory", "80MB"]);
    assert_eq!(refused.status.code(), Some(1));
    let message = stderr(&refused);
    assert!(message.contains("CI set \"low\" takes about") && message.contains("--max-memory"), "{message}");
    assert!(!workshop.path("refused").exists());
}
