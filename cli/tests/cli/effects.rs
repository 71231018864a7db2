//! `evaluate --edges`: attributions beside what happens without their sources.

use std::fs;

use serde_json::Value;
use tributary_inputs::test_support::RandomWeights;
use tributary_results::ResultFolder;

use crate::attribute::{read, succeed};
use crate::workshop::{PROMPT, Workshop, stderr};

const BUNDLED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../data");

fn effects(workshop: &Workshop, more: &[&str]) -> Value {
    let args = ["evaluate", "out", "--json", "--quiet", "--dtype", "f64"];
    serde_json::from_str(&workshop.succeed(&[&args, more].concat())).unwrap()
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

fn sum(rest: &Value) -> f64 {
    rest.as_object().unwrap().values().map(number).sum()
}

/// All edges of a result, of both kinds of forward passes: their attributions, the sums of them by target and the activations are
/// the result's, which are float32.
#[test]
fn all_edges_are_those_of_the_result() {
    for weights in [RandomWeights::gpt2_simple(3).weights(), RandomWeights::of_class("LlamaSimple", 4).weights()] {
        let workshop = Workshop::new(&weights);
        for forward in
            [&["--forward", "masked"][..], &["--forward", "target"], &["--forward", "target", "--delta", "both"]]
        {
            let outputs = ["--force", "--dtype", "f64", "--output-token", "last:#2", "--output-contrast", "last:#1-#2"];
            succeed(&workshop.attribute(&[&outputs, forward].concat()));
            let found = effects(&workshop, &["--edges", "1000000"]);
            for set in found["sets"].as_array().unwrap() {
                let graph = read(&workshop, "out", set["name"].as_str().unwrap());
                let mut attributions = graph.pairs.iter().flat_map(|pair| &pair.values);
                let edges = set["edges"].as_array().unwrap();
                assert_eq!(edges.len(), graph.edge_count());
                for edge in edges {
                    let stored = *attributions.next().unwrap();
                    assert_eq!((number(&edge["attribution"]) as f32).to_bits(), stored.to_bits());
                }
                let pairs = set["pairs"].as_array().unwrap();
                assert_eq!(pairs.iter().map(|pair| pair["n"].as_u64().unwrap()).sum::<u64>(), edges.len() as u64);
                assert_eq!(set["overall"]["n"], edges.len());
                for target in set["targets"].as_array().unwrap() {
                    let to_it: Vec<&Value> = edges.iter().filter(|edge| edge["target"] == target["node"]).collect();
                    let (mut all, mut scale) = (0.0, 1e-3_f64);
                    for edge in &to_it {
                        all += number(&edge["attribution"]);
                        scale += number(&edge["attribution"]).abs();
                    }
                    let (sum_of_edges, activation) = (number(&target["edges_sum"]), number(&target["activation"]));
                    assert!((all - sum_of_edges).abs() <= 1e-6 * scale, "{target}: {all}");
                    let stored = number(&to_it[0]["target_activation"]);
                    assert!((stored - activation).abs() <= 1e-6 * activation.abs().max(1.0), "{target}: {stored}");
                    let together = sum_of_edges + sum(&target["rest"]);
                    assert!(
                        (together - activation).abs() <= 1e-12 * scale.max(activation.abs()),
                        "{target}: {together}"
                    );
                }
            }
        }
    }
}

#[test]
fn what_is_drawn_is_drawn_evenly_and_again() {
    let workshop = Workshop::small();
    workshop.compute();
    let found = effects(&workshop, &["--edges", "30", "--seed", "5"]);
    assert_eq!(effects(&workshop, &["--edges", "30", "--seed", "5"]), found);
    assert_ne!(effects(&workshop, &["--edges", "30", "--seed", "6"]), found);
    // Within so little memory that hardly anything is computed at once.
    assert_eq!(effects(&workshop, &["--edges", "30", "--seed", "5", "--max-memory", "70MB"]), found);
    let alone = effects(&workshop, &["--edges", "30", "--seed", "5", "--sets", "high"]);
    assert_eq!(alone["sets"][0], found["sets"][1]);
    for set in found["sets"].as_array().unwrap() {
        let counts: Vec<u64> =
            set["pairs"].as_array().unwrap().iter().map(|pair| pair["n"].as_u64().unwrap()).collect();
        assert_eq!(counts.iter().sum::<u64>(), 30);
        let folder = ResultFolder::open(&workshop.path("out")).unwrap();
        let with_edges = folder.manifest().set(set["name"].as_str().unwrap()).unwrap();
        let with_edges = with_edges.pairs.iter().filter(|pair| pair.edges > 0).count();
        assert_eq!(counts.len(), with_edges.min(30));
    }
}

/// The model's own causal importances are computed again; at the target model's activations none are needed.
#[test]
fn a_file_of_ci_sets_is_needed_where_it_masks() {
    let workshop = Workshop::small();
    succeed(&workshop.tributary(&[
        "attribute",
        "--model",
        "run",
        "--prompt",
        PROMPT,
        "--out",
        "out",
        "--backend",
        "flex",
    ]));
    assert_eq!(effects(&workshop, &["--edges", "9"])["sets"][0]["overall"]["n"], 9);

    succeed(&workshop.attribute(&["--force", "--forward", "masked"]));
    let there = effects(&workshop, &["--edges", "9"]);
    fs::rename(workshop.path("sets.json"), workshop.path("moved.json")).unwrap();
    let message = workshop.fail(&["evaluate", "out", "--edges", "9"]);
    assert!(message.contains("sets.json") && message.contains("--ci-sets"), "{message}");
    assert_eq!(effects(&workshop, &["--edges", "9", "--ci-sets", "moved.json"]), there);
    fs::rename(workshop.path("moved.json"), workshop.path("sets.json")).unwrap();
    workshop.edit_sets(|sets| sets["ci_sets"]["low"]["h.0.attn.q_proj"][0][0] = 0.987.into());
    let message = workshop.fail(&["evaluate", "out", "--edges", "9"]);
    assert!(message.contains("are not the result's; give the right file"), "{message}");

    succeed(&workshop.attribute(&["--force", "--forward", "target"]));
    fs::remove_file(workshop.path("sets.json")).unwrap();
    assert_eq!(effects(&workshop, &["--edges", "9"])["sets"][0]["overall"]["n"], 9);
}

#[test]
fn what_cannot_be_asked_for_is_refused() {
    let workshop = Workshop::small();
    workshop.compute();
    for (args, said) in [
        (&["evaluate", "--model", "run", "--ci-sets", "sets.json", "--edges", "3"][..], "RESULT"),
        (&["evaluate", "out", "--edges", "0"], "--edges"),
        (&["evaluate", "out", "--edges", "3", "--above", "0.5"], "--above"),
        (&["evaluate", "out", "--ci-sets", "sets.json"], "give one of them"),
        (&["evaluate", "out", "--edges", "3", "--sets", "none"], "has no set \"none\""),
        (&["evaluate", "out", "--edges", "3", "--max-memory", "1MB"], "allow more"),
    ] {
        let output = workshop.tributary(args);
        let message = stderr(&output);
        assert!(!output.status.success() && message.contains(said), "{args:?}: {message}");
    }
}

/// The tables of a trained model, in float64 from a result in float64, so that a digit that is shown is the same everywhere.
#[test]
fn tables_of_the_bundled_run() {
    let workshop = Workshop::small();
    let (run, sets) = (format!("{BUNDLED}/gpt2s-2L"), format!("{BUNDLED}/walked.ci_sets.json"));
    let mut all = String::new();
    for forward in ["masked", "target"] {
        succeed(&workshop.tributary(&[
            "attribute",
            "--model",
            &run,
            "--ci-sets",
            &sets,
            "--sets",
            "seed_0",
            "--out",
            "out",
            "--force",
            "--dtype",
            "f64",
            "--backend",
            "flex",
            "--forward",
            forward,
        ]));
        let args = ["evaluate", "out", "--edges", "300", "--dtype", "f64", "--backend", "flex", "--quiet"];
        all += forward;
        all.push('\n');
        all += &workshop.succeed(&args);
    }
    insta::with_settings!({ snapshot_path => "../../../snapshots", prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_snapshot!("evaluate_edges", all);
    });
}
