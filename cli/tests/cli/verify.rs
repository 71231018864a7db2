//! `tributary verify`: what passes, what is found out, what is refused.

use std::fs;

use serde_json::Value;
use tributary_inputs::test_support::RandomWeights;
use tributary_model::{Prediction, SetAttributions};
use tributary_results::{ResultFolder, ResultWriter};

use crate::attribute::succeed;
use crate::workshop::{PROMPT, Workshop, stderr, stdout};

fn verify(workshop: &Workshop, more: &[&str]) -> Value {
    let output = workshop.tributary(&[&["verify", "out", "--json", "--quiet", "--device", "cpu"], more].concat());
    let report: Value = serde_json::from_str(&stdout(&output)).unwrap_or_else(|_| panic!("{}", stderr(&output)));
    assert_eq!(output.status.code(), Some(i32::from(report["passed"] != true)), "{report}");
    report
}

/// Every edge of a result passes, whatever computed it and whatever computes it again.
#[test]
fn correct_results_pass() {
    for weights in [RandomWeights::gpt2_simple(3).weights(), RandomWeights::llama_simple_mlp(4).weights()] {
        let workshop = Workshop::new(&weights);
        for attribute in [["--backend", "flex", "--dtype", "f32"], ["--backend", "ndarray", "--dtype", "f64"]] {
            succeed(&workshop.attribute(&[&["--force"], &attribute[..]].concat()));
            let edges: usize =
                ResultFolder::open(&workshop.path("out")).unwrap().manifest().sets.iter().map(|set| set.edges).sum();
            for again in [["--backend", "flex", "--method", "autograd"], ["--backend", "ndarray", "--dtype", "f32"]] {
                let report = verify(&workshop, &[&["--samples", "1000000"], &again[..]].concat());
                assert_eq!((&report["passed"], &report["edges"]), (&true.into(), &edges.into()), "{report}");
                assert_eq!(report["differing_nodes"], Value::Array(vec![]));
            }
        }
    }
}

#[test]
fn the_models_own_importances_pass() {
    let workshop = Workshop::small();
    let args = ["attribute", "--model", "run", "--prompt", PROMPT, "--out", "out", "--backend", "flex"];
    succeed(&workshop.tributary(&args));
    let report = verify(&workshop, &[]);
    assert_eq!((&report["passed"], &report["edges"]), (&true.into(), &200.into()), "{report}");
}

/// Writes the result again with `edit` done to its first set.
pub(crate) fn rewrite(workshop: &Workshop, edit: impl Fn(&mut SetAttributions<f32>)) {
    let folder = ResultFolder::open(&workshop.path("out")).unwrap();
    let manifest = folder.manifest().clone();
    let sets: Vec<_> = manifest.sets.iter().map(|set| folder.read_set(&set.name).unwrap()).collect();
    let prompt = &manifest.prompts[0];
    let prompt = tributary_model::Prompt {
        text: prompt.text.clone(),
        tokens: prompt.tokens.clone(),
        token_strings: prompt.token_strings.clone(),
    };
    let mut writer = ResultWriter::create(&workshop.path("out"), true, manifest.settings.clone()).unwrap();
    for (index, mut set) in sets.into_iter().enumerate() {
        if index == 0 {
            edit(&mut set);
        }
        writer.write_set(index, &set, &prompt, None).unwrap();
    }
    writer.finish(manifest.run).unwrap();
}

/// One wrong edge among all is found and named; a sample that leaves it out cannot find it.
#[test]
fn one_wrong_edge_is_found() {
    let workshop = Workshop::small();
    succeed(&workshop.attribute(&[]));
    rewrite(&workshop, |set| {
        let pair = set.pairs.iter_mut().rev().find(|pair| !pair.values.is_empty()).unwrap();
        let largest = pair.values.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
        pair.values[0] += 0.01 * largest;
    });
    let report = verify(&workshop, &["--samples", "1000000"]);
    assert_eq!(report["passed"], false);
    let found = &report["largest_difference"];
    assert_eq!((&found["set"], &found["target"]), (&"low".into(), &"output".into()), "{report}");
    let output = workshop.tributary(&["verify", "out", "--samples", "1000000", "--device", "cpu"]);
    assert!(stdout(&output).contains("FAILED") && stdout(&output).contains("-> output"), "{}", stdout(&output));
    let loose = verify(&workshop, &["--samples", "1000000", "--tolerance", "0.1"]);
    assert_eq!(loose["passed"], true);
}

/// Edges that are small beside their targets may all be wrong without one of them standing out.
#[test]
fn a_wrong_pair_of_small_edges_is_found() {
    let workshop = Workshop::small();
    succeed(&workshop.attribute(&[]));
    let size = |values: &[f32]| values.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
    rewrite(&workshop, |set| {
        let pairs = set.pairs.iter_mut().filter(|pair| size(&pair.values) > 0.0);
        let smallest = pairs.min_by(|a, b| size(&a.values).total_cmp(&size(&b.values))).unwrap();
        smallest.values.iter_mut().for_each(|value| *value = -*value);
    });
    let report = verify(&workshop, &["--samples", "1000000"]);
    assert!(report["failures"].as_array().unwrap().contains(&"the edges of a pair differ".into()), "{report}");
}

/// A node's own numbers are compared too.
#[test]
fn a_wrong_activation_is_found() {
    let workshop = Workshop::small();
    succeed(&workshop.attribute(&[]));
    rewrite(&workshop, |set| {
        let nodes = set.nodes.values_mut().rev().find(|nodes| !nodes.activation.is_empty()).unwrap();
        let largest = nodes.activation.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
        nodes.activation[0] += 0.01 * largest;
    });
    let report = verify(&workshop, &[]);
    assert_eq!(report["failures"], serde_json::json!(["an importance or activation differs"]), "{report}");
}

/// What the models predict is compared too.
#[test]
fn a_wrong_prediction_is_found() {
    let workshop = Workshop::small();
    succeed(&workshop.attribute(&[]));
    let report = verify(&workshop, &[]);
    let positions: usize = ResultFolder::open(&workshop.path("out"))
        .map(|folder| folder.manifest().sets.iter().map(|set| folder.manifest().prompts[set.prompt].tokens.len()).sum())
        .unwrap();
    assert_eq!((&report["passed"], &report["predictions"]), (&true.into(), &positions.into()), "{report}");
    for edit in [
        |prediction: &mut Prediction<f32>| prediction.kl[1] += 0.01,
        |prediction: &mut Prediction<f32>| prediction.target_prob[0] += 0.01,
    ] {
        succeed(&workshop.attribute(&["--force"]));
        rewrite(&workshop, |set| edit(set.prediction.as_mut().unwrap()));
        let report = verify(&workshop, &[]);
        assert_eq!(report["failures"], serde_json::json!(["a prediction differs"]), "{report}");
    }
}

/// Another order of the pairs, counts that are not the file's, nothing to compare: none may pass or panic.
#[test]
fn a_manifest_is_not_trusted() {
    let workshop = Workshop::small();
    succeed(&workshop.attribute(&[]));
    let path = workshop.path("out/manifest.json");
    let written = fs::read_to_string(&path).unwrap();
    let edited = |edit: &dyn Fn(&mut Value)| {
        let mut manifest = serde_json::from_str(&written).unwrap();
        edit(&mut manifest);
        fs::write(&path, manifest.to_string()).unwrap();
    };
    let reverse = |list: &mut Value| list.as_array_mut().unwrap().reverse();
    edited(&|manifest| {
        reverse(&mut manifest["pairs"]);
        for set in manifest["sets"].as_array_mut().unwrap() {
            reverse(&mut set["pairs"]);
        }
    });
    assert_eq!(verify(&workshop, &[])["passed"], true);
    edited(&|manifest| manifest["sets"][0]["pairs"][0]["edges"] = 0.into());
    let refused = workshop.tributary(&["verify", "out"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(stderr(&refused).contains("is not what the file holds"), "{}", stderr(&refused));
    fs::write(&path, &written).unwrap();
    workshop.edit_sets(|sets| {
        for rows in sets["ci_sets"]["low"].as_object_mut().unwrap().values_mut() {
            rows.as_array_mut().unwrap().iter_mut().for_each(|row| row.as_array_mut().unwrap().fill(0.into()));
        }
    });
    succeed(&workshop.attribute(&["--force", "--sets", "low", "--output-prob-threshold", "1"]));
    assert_eq!(verify(&workshop, &[])["edges"], 0, "there are none");
}

/// However few edges are drawn, rounding is no failure.
#[test]
fn small_samples_pass() {
    let workshop = Workshop::new(&RandomWeights::llama_simple_mlp(4).weights());
    succeed(&workshop.attribute(&[]));
    for seed in 0..20 {
        let report = verify(&workshop, &["--samples", "1", "--seed", &seed.to_string()]);
        assert_eq!((&report["passed"], &report["edges"]), (&true.into(), &1.into()), "seed {seed}: {report}");
    }
}

#[test]
fn the_sample_is_seeded() {
    let workshop = Workshop::small();
    succeed(&workshop.attribute(&[]));
    let sample = |seed| verify(&workshop, &["--samples", "30", "--seed", seed, "--threads", "1"]);
    assert_eq!(sample("5"), sample("5"));
    assert_ne!(sample("5")["relative_l2_error"], sample("6")["relative_l2_error"]);
    assert_eq!(sample("5")["edges"], 30);
}

#[test]
fn inputs_that_moved_are_given_by_flags() {
    let workshop = Workshop::small();
    succeed(&workshop.attribute(&[]));
    fs::rename(workshop.path("run"), workshop.path("moved")).unwrap();
    fs::rename(workshop.path("sets.json"), workshop.path("moved.json")).unwrap();
    let lost = workshop.tributary(&["verify", "out"]);
    assert_eq!(lost.status.code(), Some(1));
    assert!(stderr(&lost).contains("if it has moved, say where it is (--model)"), "{}", stderr(&lost));
    let lost = workshop.tributary(&["verify", "out", "--model", "moved"]);
    assert!(stderr(&lost).contains("if it has moved, say where it is (--ci-sets)"), "{}", stderr(&lost));
    assert_eq!(verify(&workshop, &["--model", "moved", "--ci-sets", "moved.json"])["passed"], true);
}

#[test]
fn other_inputs_are_refused() {
    let workshop = Workshop::small();
    succeed(&workshop.attribute(&[]));
    let refused = |workshop: &Workshop, expected: &str| {
        let output = workshop.tributary(&["verify", "out", "--quiet"]);
        assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(1), ""));
        assert!(stderr(&output).contains(expected), "{}", stderr(&output));
    };
    workshop.edit_sets(|sets| sets["ci_sets"]["low"]["h.0.attn.q_proj"][0][0] = 0.75.into());
    refused(&workshop, "the causal importances of set \"low\" at h.0.attn.q_proj are not the result's");
    workshop.write("sets.json", &Workshop::ci_sets(&RandomWeights::gpt2_simple(3).weights()).to_string());
    workshop.edit_sets(|sets| sets["prompt"] = "w1 w4 w3".into());
    refused(&workshop, "the prompt of set \"low\" is not the result's");
    workshop.edit_sets(|sets| {
        sets["ci_sets"].as_object_mut().unwrap().remove("low");
    });
    refused(&workshop, "it has no set \"low\"");
    tributary_inputs::test_support::write_run(
        &workshop.path("run"),
        &RandomWeights::gpt2_simple(8).weights(),
        tributary_inputs::test_support::Style::Current,
    );
    refused(&workshop, "have the fingerprint");
}
