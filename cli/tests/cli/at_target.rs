//! `--forward target`, `--delta`, `--until` and what of the output is asked for.

use serde_json::{Value, json};
use tributary_inputs::test_support::RandomWeights;
use tributary_model::SetAttributions;
use tributary_results::{Delta, Forward, Manifest, ResultFolder};

use crate::attribute::{read, succeed};
use crate::verify::rewrite;
use crate::workshop::{Workshop, stderr, stdout};

fn manifest(workshop: &Workshop) -> Manifest {
    ResultFolder::open(&workshop.path("out")).unwrap().manifest().clone()
}

fn values(graph: &SetAttributions<f32>) -> Vec<f32> {
    graph.pairs.iter().flat_map(|pair| pair.values.clone()).collect()
}

#[test]
fn both_deltas_are_computed_told_and_verified() {
    for weights in [RandomWeights::gpt2_simple(3).weights(), RandomWeights::of_class("LlamaSimple", 4).weights()] {
        let workshop = Workshop::new(&weights);
        let mut found = Vec::new();
        for (delta, expected) in [("through", Delta::Through), ("stopped", Delta::Stopped)] {
            succeed(&workshop.attribute(&["--force", "--forward", "target", "--delta", delta]));
            let settings = manifest(&workshop).settings;
            assert_eq!((settings.forward, settings.delta), (Forward::Target, Some(expected)));
            assert_eq!((settings.ci_threshold, settings.output_prob_threshold), (0.0, 0.01));
            assert_eq!(settings.output_top, Some(15));
            for again in [["--method", "autograd"], ["--method", "closed-form"]] {
                let args = ["verify", "out", "--json", "--quiet", "--device", "cpu", "--samples", "1000000"];
                let output = workshop.tributary(&[&args[..], &again].concat());
                let report: Value =
                    serde_json::from_str(&stdout(&output)).unwrap_or_else(|_| panic!("{}", stderr(&output)));
                assert_eq!(report["passed"], true, "{report}");
            }
            let said = succeed(&workshop.tributary(&["inspect", "out"]));
            assert!(
                said.contains(&format!("at the target model's activations, gradients {} what no", expected.does())),
                "{said}"
            );
            found.push(values(&read(&workshop, "out", "low")));
        }
        assert!(found[0].len() == found[1].len() && found[0] != found[1]);
    }
}

#[test]
fn both_at_once_are_what_each_is_alone() {
    let workshop = Workshop::small();
    let compute = |delta: &str| {
        let said = succeed(&workshop.attribute(&["--force", "--forward", "target", "--delta", delta]));
        (said, read(&workshop, "out", "low"), manifest(&workshop))
    };
    let [(_, through, alone), (_, stopped, _), (said, both, of_both)] = ["through", "stopped", "both"].map(compute);
    assert_eq!(of_both.settings.delta, Some(Delta::Both));
    assert_eq!(values(&both), values(&through));
    let second: Vec<f32> = both.pairs.iter().flat_map(|pair| pair.stopped.clone()).collect();
    assert_eq!(second, values(&stopped));
    assert!(through.pairs.iter().all(|pair| pair.stopped.is_empty()));

    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|value| value * value).sum::<f64>().sqrt();
    let difference = &mut second.iter().zip(values(&through)).map(|(a, b)| f64::from(*a) - f64::from(b));
    let expected = norm(difference) / norm(&mut values(&through).into_iter().map(f64::from));
    let found = f64::from(of_both.sets[0].delta_distance.unwrap());
    // Stored in f32.
    assert!(expected > 1e-4 && (found - expected).abs() <= 1e-6 * expected, "{found} {expected}");
    assert!(said.contains(&format!("{:.3} % (relative L2) from those through them", 100.0 * found as f32)), "{said}");
    for pair in &of_both.sets[0].pairs {
        assert!(pair.delta_distance.is_some() || pair.edges == 0 || pair.nonzero == 0);
    }
    assert_eq!(alone.sets[0].delta_distance, None);

    // Of every decomposed layer, and the same whichever was asked for.
    assert_eq!(of_both.run.deltas.len(), of_both.run.model.components.len());
    assert_eq!(of_both.run.deltas, alone.run.deltas);
    assert!(of_both.run.deltas.values().all(|&size| size > 0.0));
    assert!(succeed(&workshop.tributary(&["inspect", "out"])).contains("% of the weight"));

    let verify = ["verify", "out", "--json", "--quiet", "--device", "cpu", "--samples", "1000000"];
    let report: Value = serde_json::from_str(&stdout(&workshop.tributary(&verify))).unwrap();
    assert_eq!((report["passed"].as_bool(), report["edges"].as_u64()), (Some(true), Some(2 * all_edges(&of_both))));
    // Exports say what their one value is.
    for format in ["json", "param-decomp"] {
        succeed(&workshop.tributary(&["export", "out", "--format", format, "--out", format]));
        let text = std::fs::read_to_string(workshop.path(format).join("low.json")).unwrap();
        let graph: Value = serde_json::from_str(&text).unwrap();
        let found = [&graph["computation"]["delta"], &graph["tributary"]["computation"]["delta"]];
        assert!(found.contains(&&json!("through")), "{format}: {found:?}");
    }
    // A second value that is not what the model gives.
    rewrite(&workshop, |set| {
        let pair = set.pairs.iter_mut().find(|pair| !pair.stopped.is_empty()).unwrap();
        pair.stopped[0] += 1.0;
    });
    let report: Value = serde_json::from_str(&stdout(&workshop.tributary(&verify))).unwrap();
    assert_eq!((&report["passed"], &report["largest_difference"]["value"]), (&json!(false), &json!("value_stopped")));
}

fn all_edges(manifest: &Manifest) -> u64 {
    manifest.sets.iter().map(|set| set.edges as u64).sum()
}

#[test]
fn outputs_that_are_asked_for_are_nodes_whatever_their_probability() {
    let workshop = Workshop::small();
    let asked = ["--output-token", "1:w3", "--output-token", "last:#5", "--output-contrast", "2:w3-\"w5\""];
    for forward in ["masked", "target"] {
        let none = ["--output-prob-threshold", "1", "--forward", forward, "--force"];
        succeed(&workshop.attribute(&[&none[..], &asked].concat()));
        let graph = read(&workshop, "out", "low");
        let output = &graph.nodes[&tributary_model::Layer::output()];
        assert_eq!(output.alive.iter().collect::<Vec<_>>(), [(1, 3), (2, 5), (2, 11)], "{forward}");
        let prob = |position: usize, token: usize| graph.output_probs[position * 11 + token];
        let of_two = prob(2, 3) / (prob(2, 3) + prob(2, 5));
        assert_eq!(output.importance[..2], [prob(1, 3), prob(2, 5)]);
        // Of rounded probabilities.
        assert!((output.importance[2] - of_two).abs() < 1e-6, "{} {of_two}", output.importance[2]);
        let manifest = manifest(&workshop);
        assert_eq!((manifest.output_token(5), manifest.output_token(11)), ("w5".to_owned(), "w3−w5".to_owned()));
        let verify = ["verify", "out", "--json", "--quiet", "--device", "cpu", "--samples", "1000000"];
        let report: Value = serde_json::from_str(&stdout(&workshop.tributary(&verify))).unwrap();
        assert_eq!(report["passed"], true, "{report}");
        // Everything that reads results takes it.
        succeed(&workshop.tributary(&["plot", "out", "--format", "svg", "--force"]));
        assert!(std::fs::read_to_string(workshop.path("out/plots/low.svg")).unwrap().contains("w3−·w5"));
        succeed(&workshop.tributary(&["report", "out", "--out", "report.html", "--force"]));
        for format in ["json", "graphml", "parquet", "circuit-tracer", "param-decomp"] {
            succeed(&workshop.tributary(&["export", "out", "--format", format, "--out", "exported", "--force"]));
        }
        succeed(&workshop.tributary(&["compare", "out", "--out", "consensus", "--force"]));
    }
    // A consensus has the contrasts of all, whichever set is first, and every reader takes it.
    succeed(&workshop.attribute(&["--force"]));
    succeed(&workshop.tributary(&[
        "attribute",
        "--model",
        "run",
        "--ci-sets",
        "sets.json",
        "--backend",
        "flex",
        "--out",
        "with",
        "--output-contrast",
        "2:w3-w5",
    ]));
    succeed(&workshop.tributary(&["compare", "out", "with", "--at-least", "1", "--out", "consensus", "--force"]));
    succeed(&workshop.tributary(&["export", "consensus", "--format", "json", "--out", "exported", "--force"]));
    // What takes no part is told.
    let output = workshop.attribute(&["--force", "--until", "high=1", "--output-token", "2:#1"]);
    succeed(&output);
    assert!(stderr(&output).contains("set \"high\" takes part up to position 1: the output asked for at position 2"));
}

#[test]
fn a_figure_says_how_attributions_are_looked_at() {
    let workshop = Workshop::small();
    succeed(&workshop.attribute(&["--forward", "target", "--delta", "stopped"]));
    let draw = |args: &[&str]| {
        workshop.succeed(&[&["plot", "out", "--force", "--format", "svg", "--quiet"], args].concat());
        std::fs::read_to_string(workshop.path("out/plots/low.svg")).unwrap()
    };
    let as_they_are = draw(&[]);
    assert!(as_they_are.contains("activations, gradients stop at what no component holds of the weights"));
    assert!(!as_they_are.contains("less hard") && !as_they_are.contains("L2 norm"));
    let viewed = draw(&["--sign", "target", "--normalise", "layer"]);
    assert!(viewed.contains("less hard") && viewed.contains("divided by the L2 norm over the edges to the same layer"));
    assert_ne!(as_they_are, viewed);
}

#[test]
fn nothing_takes_part_after_the_last_position() {
    let workshop = Workshop::small();
    let last = |args: &[&str]| -> Vec<Option<usize>> {
        succeed(&workshop.attribute(&[&["--force"], args].concat()));
        let manifest = manifest(&workshop);
        for set in &manifest.sets {
            let graph = read(&workshop, "out", &set.name);
            let last = set.until.unwrap_or(2);
            for (layer, nodes) in &graph.nodes {
                assert!(nodes.alive.iter().all(|(position, _)| position <= last), "{layer}");
                assert!(nodes.original.iter().all(|(position, _)| position <= last), "{layer}");
            }
        }
        manifest.sets.iter().map(|set| set.until).collect()
    };
    assert_eq!(last(&[]), [None, None]);
    assert_eq!(last(&["--until", "2"]), [None, None], "of three positions");
    assert_eq!(last(&["--until", "1"]), [Some(1), Some(1)]);
    assert_eq!(last(&["--until", "high=0", "--forward", "target"]), [None, Some(0)]);
    assert_eq!(last(&["--until", "high=0", "--until", "1"]), [Some(1), Some(0)]);
    succeed(&workshop.tributary(&["verify", "out", "--device", "cpu"]));
    assert!(succeed(&workshop.tributary(&["inspect", "out"])).contains("set high takes part up to position 0"));
    for set in manifest(&workshop).sets {
        let (prediction, last) = (set.prediction.unwrap(), set.until.unwrap());
        let kl = read(&workshop, "out", &set.name).prediction.unwrap().kl;
        let mean = kl[..=last].iter().sum::<f32>() / (last + 1) as f32;
        assert_eq!(prediction.positions, last + 1);
        // Added up in another type.
        assert!((prediction.mean_kl - mean).abs() <= 1e-6 * mean.max(1.0), "{} {mean}", prediction.mean_kl);
    }
    // What follows the prompt there is what the set is about.
    succeed(&workshop.tributary(&[
        "export",
        "out",
        "--format",
        "circuit-tracer",
        "--output-position",
        "last",
        "--out",
        "viewer",
    ]));
    let list: Value =
        serde_json::from_str(&std::fs::read_to_string(workshop.path("viewer/graph-metadata.json")).unwrap()).unwrap();
    let tokens = |graph: &Value| graph["prompt_tokens"].as_array().unwrap().len();
    let mut counts: Vec<usize> = list["graphs"].as_array().unwrap().iter().map(tokens).collect();
    counts.sort_unstable();
    assert_eq!(counts, [1, 2]);

    // As the file says it of a set, unless a flag does.
    let path = workshop.path("sets.json");
    let mut sets: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    sets["metadata"] = json!({ "low": { "until": 1 } });
    std::fs::write(&path, sets.to_string()).unwrap();
    assert_eq!(last(&[]), [Some(1), None]);
    assert_eq!(last(&["--until", "low=0"]), [Some(0), None]);
    sets["metadata"] = json!({ "low": { "until": -1 } });
    std::fs::write(&path, sets.to_string()).unwrap();
    let refused = workshop.attribute(&["--force"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        stderr(&refused).contains("until in its metadata is -1, expected a position, from 0"),
        "{}",
        stderr(&refused)
    );
}

#[test]
fn what_makes_no_sense_is_refused() {
    let workshop = Workshop::small();
    let refused = |args: &[&str], says: &str| {
        let output = workshop.attribute(args);
        assert!(!output.status.success());
        assert!(stderr(&output).contains(says), "{}", stderr(&output));
        assert!(!workshop.path("out").exists());
    };
    refused(&["--delta", "stopped"], "have no part in --forward masked");
    refused(&["--until", "3"], "the last position is to be 3, but its prompt has 3 tokens, numbered from 0 (--until)");
    refused(&["--until", "other=1"], "set \"other\": there is no such set; there are \"low\", \"high\"");
    refused(&["--until", "1", "--until", "2"], "--until says twice where all sets end; give it once");
    refused(&["--until", "low=1", "--until", "low=2"], "--until says twice where set \"low\" ends");
    refused(&["--until", "low=x"], "expected a position, from 0, or SET=POSITION");
    refused(&["--output-top", "0"], "0 is not in");
    refused(
        &["--output-token", "3:#1"],
        "set \"low\": the output at position 3 is asked for, but its prompt has 3 tokens",
    );
    refused(
        &["--output-token", "1:#11"],
        "there is no token #11: the vocabulary has 11, numbered from 0 (--output-token",
    );
    refused(
        &["--output-token", "1:nothing"],
        "no token is \"nothing\", neither decoded nor as the vocabulary spells it",
    );
    refused(&["--output-token", "first:#1"], "\"first\" is no position; expected a number from 0, or last");
    refused(&["--output-token", "w3"], "expected a position from 0 or last, a colon, and a token");
    refused(&["--output-contrast", "1:w3"], "expected two tokens with - between");
    refused(&["--output-contrast", "1:#3-w3"], "token 3 is to be compared with itself");
}

#[test]
fn no_more_outputs_than_asked_for_are_alive() {
    let workshop = Workshop::small();
    succeed(&workshop.attribute(&["--output-prob-threshold", "0", "--output-top", "2"]));
    let graph = read(&workshop, "out", "low");
    let output = &graph.nodes[&tributary_model::Layer::output()];
    for position in 0..3 {
        let probs = &graph.output_probs[position * 11..][..11];
        let alive = output.alive.components_at(position);
        assert_eq!(alive.len(), 2);
        let least = alive.iter().map(|&token| probs[token as usize]).fold(1.0, f32::min);
        assert!(probs.iter().filter(|&&prob| prob > least).count() < 2, "the most probable");
    }
}
