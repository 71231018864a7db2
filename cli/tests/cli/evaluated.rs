//! What is said of sets whose metadata say what came of putting them to the test.

use serde_json::{Value, json};

use crate::workshop::{Workshop, stdout};

/// The result of sets that were put to the test, and what that gave, which stands in their metadata.
fn evaluated() -> (Workshop, Value) {
    let workshop = Workshop::small();
    workshop.edit_sets(|sets| {
        sets["metadata"] = json!({ "low": { "imp_min_coeff": 2e-4 }, "high": { "imp_min_coeff": 1e-4 } });
    });
    let args =
        ["evaluate", "--model", "run", "--ci-sets", "sets.json", "--draws", "3", "--restarts", "2", "--above=0.5"];
    let found: Value = serde_json::from_str(&workshop.succeed(&[&args, &["--json", "--quiet"][..]].concat())).unwrap();
    workshop.edit_sets(|sets| {
        for set in found["sets"].as_array().unwrap() {
            sets["metadata"][set["name"].as_str().unwrap()]["evaluation"] = set.clone();
        }
    });
    workshop.compute();
    (workshop, found)
}

/// What `evaluate --json` says of the label's probability.
fn prob<'a>(found: &'a Value, set: usize, regime: &str) -> &'a Value {
    &found["sets"][set]["selections"][0]["regimes"][regime]["label_prob"]
}

/// The number after a word.
fn said(line: &str, word: &str) -> f64 {
    let (_, rest) = line.split_once(&format!("{word} ")).unwrap();
    rest.split([' ', ',']).next().unwrap().parse().unwrap()
}

#[test]
fn every_view_says_the_same_of_a_set() {
    let (workshop, found) = evaluated();
    let inspected = workshop.succeed(&["inspect", "out"]);
    workshop.succeed(&["plot", "out", "--quiet", "--format", "svg"]);
    workshop.succeed(&["report", "out", "--out", "page.html", "--quiet"]);
    let page = std::fs::read_to_string(workshop.path("page.html")).unwrap();
    let attributed = stdout(&workshop.attribute(&["--force"]));
    for (set, name) in ["low", "high"].into_iter().enumerate() {
        let start = format!("set {name}: p(\"");
        let line = inspected.lines().find(|line| line.starts_with(&start)).expect(&inspected);
        // Its text, with whatever space it begins with made visible.
        let label = found["sets"][set]["label"].as_str().unwrap();
        assert!(line.contains(&format!("{label}\") at 2: target ")), "{line}");
        // Two digits are written, or as many as the error leaves.
        let target = prob(&found, set, "target").as_f64().unwrap();
        assert!((said(line, "target") - target).abs() <= 0.05 * target, "{line}");
        let adversarial = prob(&found, set, "adversarial");
        let [mean, error] = ["mean", "standard_error"].map(|what| adversarial[what].as_f64().unwrap());
        assert!((said(line, "adversarial") - mean).abs() <= error.max(0.05 * mean), "{line}");
        assert!(line.contains(" ± ") && line.contains(", ci ") && line.contains(", ablated "), "{line}");
        let (_, line) = line.split_once(": ").unwrap();
        let svg = std::fs::read_to_string(workshop.path(format!("out/plots/{name}.svg"))).unwrap();
        assert!(svg.contains(&line.replace('"', "&quot;")), "{line}");
        // The page has texts as they are, its script makes spaces visible.
        assert!(page.contains(&line.replace('·', " ").replace('"', "\\\"")), "{line}");
        assert!(attributed.lines().any(|other| other == line), "{attributed}");
    }
}

#[test]
fn compare_says_which_coefficient_to_believe() {
    let (workshop, found) = evaluated();
    let text = workshop.succeed(&["compare", "out"]);
    let (_, table) = text.split_once("\nput to the test: ").unwrap();
    let cells = |line: &str| -> Vec<String> {
        line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).map(str::to_owned).collect()
    };
    let lines: Vec<Vec<String>> = table.lines().take(8).map(cells).collect();
    let columns = ["coefficient", "set", "nodes", "of", "target", "ci", "ablated", "stochastic", "adversarial"];
    assert!(lines.iter().any(|line| line.starts_with(&columns.map(str::to_owned))), "{text}");
    let sets: Vec<&Vec<String>> = lines.iter().filter(|line| line[0].ends_with("e-4")).collect();
    let expected = [["1e-4", "high"], ["2e-4", "low"]];
    assert_eq!(sets.iter().map(|line| &line[..2]).collect::<Vec<_>>(), expected, "{text}");
    let ci = prob(&found, 1, "ci").as_f64().unwrap();
    assert!((sets[0][5].parse::<f64>().unwrap() - ci).abs() <= 0.05 * ci, "{text}");
    // Without evaluations there is no such table.
    let plain = Workshop::small();
    plain.compute();
    assert!(!plain.succeed(&["compare", "out"]).contains("put to the test"));
}

#[test]
fn what_is_no_evaluation_is_said_to_be_none() {
    let workshop = Workshop::small();
    workshop.edit_sets(|sets| {
        let evaluation = json!({ "selections": [{ "regimes": { "ci": "good" } }] });
        sets["metadata"] = json!({ "low": { "evaluation": evaluation }, "high": { "evaluation": null } });
    });
    workshop.compute();
    let problem = "is not understood: evaluation.selections[0].regimes.ci is \"good\", expected an object";
    let inspected = workshop.succeed(&["inspect", "out"]);
    assert!(inspected.contains(&format!("set low: the evaluation in its metadata {problem}")), "{inspected}");
    assert!(!inspected.contains("set high: the evaluation") && !inspected.contains("set high: p("), "{inspected}");
    let compared = workshop.succeed(&["compare", "out"]);
    let note = format!("note: the evaluation in the metadata of \"low\" {problem}");
    assert!(compared.contains(&note) && !compared.contains("put to the test"), "{compared}");
    workshop.succeed(&["plot", "out", "--quiet"]);
    workshop.succeed(&["report", "out", "--out", "page.html", "--quiet"]);
}
