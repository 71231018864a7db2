//! `--forward target`, `--delta` and `--until`.

use serde_json::{Value, json};
use tributary_inputs::test_support::RandomWeights;
use tributary_model::SetAttributions;
use tributary_results::{Delta, Forward, Manifest, ResultFolder};

use crate::attribute::{read, succeed};
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
    assert_eq!(last(&["--until", "1"]), [Some(1), Some(1)]);
    assert_eq!(last(&["--until", "high=0", "--forward", "target"]), [None, Some(0)]);
    assert_eq!(last(&["--until", "high=0", "--until", "2"]), [Some(2), Some(0)]);
    succeed(&workshop.tributary(&["verify", "out", "--device", "cpu"]));

    // As the file says it of a set, unless a flag does.
    let path = workshop.path("sets.json");
    let mut sets: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    sets["metadata"] = json!({ "low": { "until": 1 } });
    std::fs::write(&path, sets.to_string()).unwrap();
    assert_eq!(last(&[]), [Some(1), None]);
    assert_eq!(last(&["--until", "low=2"]), [Some(2), None]);
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
    refused(&["--until", "low=x"], "expected a position, from 0, or SET=POSITION");
    refused(&["--output-top", "0"], "0 is not in");
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
