//! `tributary compare`: what it says is what the library computes, and its consensus is a result.

use serde_json::{Value, json};
use tributary_graph::{Normalise, Sign, View};
use tributary_results::ResultFolder;

use crate::workshop::Workshop;

fn computed() -> Workshop {
    let workshop = Workshop::small();
    workshop.compute();
    workshop
}

fn json(workshop: &Workshop, more: &[&str]) -> Value {
    serde_json::from_str(&workshop.succeed(&[&["compare", "--json"], more].concat())).unwrap()
}

#[test]
fn the_tables_say_what_the_json_says() {
    let workshop = computed();
    let report = json(&workshop, &["out"]);
    let text = workshop.succeed(&["compare", "out"]);
    let cells: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    let line = |start: &[&str]| cells.iter().find(|cells| cells.starts_with(start)).unwrap().clone();
    for (set, summary) in report["sets"].as_array().unwrap().iter().enumerate() {
        let number = |value: &Value| value.to_string();
        let line = line(&[summary["name"].as_str().unwrap()]);
        let expected = [
            number(&summary["nodes"]),
            number(&report["nodes"]["unique"][set]["count"]),
            number(&summary["edges"]),
            number(&report["edges"]["unique"][set]["count"]),
        ];
        assert_eq!(line[1..5], expected);
        // An independent count: the manifest's.
        let folder = ResultFolder::open(&workshop.path("out")).unwrap();
        let entry = &folder.manifest().sets[set];
        assert_eq!(summary["nodes"], entry.nodes);
        assert_eq!(summary["edges"], entry.pairs.iter().map(|pair| pair.nonzero).sum::<usize>());
    }
    let nodes = line(&["nodes", &report["nodes"]["union"].to_string()]);
    assert_eq!(nodes[2], report["nodes"]["intersection"].to_string());
    let pair = line(&["low", "|", "high"]);
    assert_eq!(pair[4], format!("{:.3}", report["nodes"]["pairwise"]["jaccard"][0][1].as_f64().unwrap()));
    assert_eq!(pair[7], format!("{:.3}", report["edges"]["pairwise"]["jaccard"][0][1].as_f64().unwrap()));
    assert!(text.contains(&format!("{} nodes, {} edges", report["consensus"]["nodes"], report["consensus"]["edges"])));
}

#[test]
fn a_consensus_is_a_result() {
    let workshop = computed();
    let report = json(&workshop, &["out", "--out", "consensus", "--at-least", "1", "--top", "all"]);
    let inspected: Value = serde_json::from_str(&workshop.succeed(&["inspect", "consensus", "--json"])).unwrap();
    assert_eq!(inspected["sets"].as_array().unwrap().len(), 4);
    let folder = ResultFolder::open(&workshop.path("consensus")).unwrap();
    let entry = folder.manifest().set("consensus").unwrap();
    assert_eq!(report["consensus"]["nodes"], entry.nodes);
    assert_eq!(report["consensus"]["strongest_edges"].as_array().unwrap().len() as u64, report["consensus"]["edges"]);
    workshop.succeed(&["plot", "consensus", "--quiet"]);
    assert_eq!(workshop.list("consensus/plots").len(), 8);
    let refused = workshop.fail(&["verify", "consensus"]);
    assert!(refused.contains("it is the consensus of other results"), "{refused}");
    let occupied = workshop.fail(&["compare", "out", "--out", "consensus"]);
    assert!(occupied.contains("--force"), "{occupied}");
    workshop.succeed(&["compare", "out", "--out", "consensus", "--force"]);
}

#[test]
fn several_results_are_told_apart() {
    let workshop = computed();
    workshop.succeed(&[
        "attribute",
        "--model",
        "run",
        "--ci-sets",
        "sets.json",
        "--dtype",
        "f64",
        "--out",
        "again",
        "--quiet",
    ]);
    let report = json(&workshop, &["out", "again", "--sets", "out/low,again/low"]);
    let labels: Vec<&str> =
        report["sets"].as_array().unwrap().iter().map(|set| set["label"].as_str().unwrap()).collect();
    assert_eq!(labels, ["out/low", "again/low"]);
    assert_eq!(report["nodes"]["pairwise"]["jaccard"][0][1], 1.0);
    // The same values but for rounding: of f32 numbers in sums of some hundred terms.
    let weighted = report["edges"]["pairwise"]["weighted_jaccard"][0][1].as_f64().unwrap();
    assert!(weighted > 1.0 - 1e-4, "{weighted}");
}

#[test]
fn a_sparsity_coefficient_gives_a_sweep() {
    let workshop = Workshop::small();
    workshop.edit_sets(|sets| {
        let sets = sets["ci_sets"].as_object_mut().unwrap();
        for (name, renamed) in [("low", "coeff_1e-3"), ("high", "coeff_1e-4")] {
            let set = sets.remove(name).unwrap();
            sets.insert(renamed.to_owned(), set);
        }
    });
    workshop.compute();
    let report = json(&workshop, &["out"]);
    let coefficients: Vec<f64> =
        report["sweep"]["steps"].as_array().unwrap().iter().map(|step| step["coefficient"].as_f64().unwrap()).collect();
    assert_eq!(coefficients, [1e-4, 1e-3]);
    let text = workshop.succeed(&["compare", "out"]);
    assert!(text.contains("along the sparsity coefficient"), "{text}");
}

#[test]
fn a_sparsity_coefficient_is_taken_from_the_metadata_of_a_file() {
    let workshop = Workshop::small();
    workshop.edit_sets(|sets| {
        sets["metadata"] =
            json!({ "low": { "imp_min_coeff": 2e-4, "seed": 1 }, "high": { "imp_min_coeff": 1e-4, "seed": 2 } });
    });
    workshop.compute();
    let report = json(&workshop, &["out"]);
    assert_eq!(report["sweep"]["found_in"], "metadata imp_min_coeff");
    let steps: Vec<(f64, Vec<&str>)> = report["sweep"]["steps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|step| {
            let label = |set: &Value| report["sets"][set.as_u64().unwrap() as usize]["label"].as_str().unwrap();
            (step["coefficient"].as_f64().unwrap(), step["sets"].as_array().unwrap().iter().map(label).collect())
        })
        .collect();
    assert_eq!(steps, [(1e-4, vec!["high"]), (2e-4, vec!["low"])]);
}

#[test]
fn attributions_are_compared_as_they_are_looked_at() {
    let workshop = computed();
    let plain = json(&workshop, &["out"]);
    assert_eq!(plain["view"], json!({ "sign": "source", "normalise": "none" }));
    let view = ["--sign", "target", "--normalise", "target"];
    let viewed = json(&workshop, &[&["out", "--top", "all"], &view[..]].concat());
    assert_eq!(viewed["view"], json!({ "sign": "target", "normalise": "target" }));
    // Each set's magnitude is that of its graph in the view.
    let folder = ResultFolder::open(&workshop.path("out")).unwrap();
    for (set, plain) in viewed["sets"].as_array().unwrap().iter().zip(plain["sets"].as_array().unwrap()) {
        let read = folder.read_set(set["name"].as_str().unwrap()).unwrap();
        let graph = View { sign: Sign::Target, normalise: Normalise::Target }.of(&read);
        let magnitude: f64 = graph.edges.iter().map(|edge| f64::from(edge.value.abs())).sum();
        // The same sum, but for how its text is read.
        assert!((set["magnitude"].as_f64().unwrap() - magnitude).abs() <= 1e-15 * magnitude);
        assert_ne!(set["magnitude"], plain["magnitude"]);
    }
    let described = View { sign: Sign::Target, normalise: Normalise::Target }.described().unwrap();
    let text = workshop.succeed(&[&["compare", "out"], &view[..]].concat());
    assert!(text.contains(&format!("\nattributions: {described}\n")), "{text}");
    assert!(!workshop.succeed(&["compare", "out"]).contains("attributions: "));
    // Results hold attributions as they were computed.
    let refused = workshop.fail(&["compare", "out", "--out", "consensus", "--sign", "target"]);
    assert!(
        refused.contains("as they were computed") && refused.contains("(leave --sign and --normalise out)"),
        "{refused}"
    );
    assert!(!workshop.path("consensus").exists());
    workshop.succeed(&["compare", "out", "--out", "consensus", "--sign", "source", "--normalise", "none"]);
}

#[test]
fn what_cannot_be_compared_is_refused() {
    let workshop = computed();
    for (args, expected) in [
        (&["compare", "out", "--sets", "low"][..], "low"),
        (&["compare", "out", "--sets", "medium"], "medium"),
        (&["compare", "out", "--at-least", "3"], "3"),
        (&["compare", "out", "--at-least", "0"], "0"),
        (&["compare", "out", "--prompt", "4"], "4"),
        (&["compare", "run"], "run"),
    ] {
        let error = workshop.fail(args);
        assert!(error.contains(expected), "{args:?}: {error}");
    }
}
