//! Putting CI sets to the test.

use serde_json::Value;

use crate::workshop::{PROMPT, Workshop};

const EVALUATE: [&str; 8] = ["evaluate", "--model", "run", "--ci-sets", "sets.json", "--draws", "3", "--restarts=2"];

fn evaluated(workshop: &Workshop, args: &[&str]) -> Value {
    let text = workshop.succeed(&[&EVALUATE, args, &["--json", "--quiet"]].concat());
    serde_json::from_str(&text).unwrap()
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap()
}

#[test]
fn a_set_and_what_is_chosen_of_it() {
    let workshop = Workshop::small();
    workshop.write("nodes.txt", "# two of them\nh.0.mlp.c_fc:1:0\n\nh.1.attn.q_proj:2:1\n");
    let args = [
        "--above",
        "0.5",
        "--above=2",
        "--nodes",
        "nodes.txt",
        "--keep",
        "h.0.*:*:*",
        "--ablate",
        "h.1.mlp.*:2:*",
        "--random",
        "2",
    ];
    let found = evaluated(&workshop, &args);
    let sets = found["sets"].as_array().unwrap();
    assert_eq!(sets.iter().map(|set| &set["name"]).collect::<Vec<_>>(), ["low", "high"]);
    let selections = sets[0]["selections"].as_array().unwrap();
    let names: Vec<&str> = selections.iter().map(|selection| selection["name"].as_str().unwrap()).collect();
    let asked = ["all", "above 0.5", "above 2", "nodes.txt", "only h.0.*:*:*", "without h.1.mlp.*:2:*"];
    let controls = asked.iter().flat_map(|name| [0, 1].map(|number| format!("random {number} for {name}")));
    assert_eq!(names, asked.iter().map(|name| (*name).to_owned()).chain(controls).collect::<Vec<_>>());
    let nodes: Vec<u64> = selections.iter().map(|selection| selection["nodes"].as_u64().unwrap()).collect();
    assert!(nodes[0] > nodes[1] && nodes[1] > 0 && nodes[4] > 0 && nodes[4] < nodes[0] && nodes[5] < nodes[0]);
    assert_eq!((nodes[2], nodes[3]), (0, 2));

    let regimes = |at: usize| &selections[at]["regimes"];
    // The target model is the same whatever is kept, and all of a set leaves nothing to ablate.
    for at in 0..names.len() {
        assert_eq!(regimes(at)["target"], regimes(0)["target"]);
        assert_eq!(regimes(at)["target"]["kl"], 0.0);
    }
    let apart = number(&regimes(0)["ablated"]["label_prob"]) - number(&regimes(0)["target"]["label_prob"]);
    assert!(apart.abs() < 1e-5, "{apart}");
    for at in 0..names.len() {
        for regime in ["stochastic", "adversarial"] {
            let prob = &regimes(at)[regime]["label_prob"];
            assert!(number(&prob["min"]) <= number(&prob["mean"]) && number(&prob["standard_error"]) >= 0.0);
        }
        assert_eq!(regimes(at)["adversarial"]["label_prob_dead_at_zero"]["n"], 2);
        assert_eq!(regimes(at)["ci"]["top"].as_array().unwrap().len(), 5);
    }
    // The same again is the same; alone it is what it is beside others.
    assert_eq!(evaluated(&workshop, &args), found);
    let alone = evaluated(&workshop, &["--sets", "high"]);
    let (alone, together) = (&alone["sets"][0]["selections"][0], &sets[1]["selections"][0]);
    for (regime, what) in [("ci", "kl"), ("ablated", "label_prob")] {
        let [alone, together] = [alone, together].map(|selection| number(&selection["regimes"][regime][what]));
        assert!((alone - together).abs() < 1e-5, "{regime} {what}: {alone} {together}");
    }
    let by_ci = evaluated(&workshop, &["--mask-by-ci"]);
    assert_ne!(by_ci["sets"][0]["selections"][0]["regimes"]["ci"], regimes(0)["ci"]);
}

#[test]
fn what_is_looked_at_is_what_the_metadata_say() {
    let workshop = Workshop::small();
    workshop.edit_sets(|sets| sets["metadata"] = serde_json::json!({ "low": { "label_token": 3, "position": 1 } }));
    let found = evaluated(&workshop, &[]);
    let looked_at = |set: &Value| (set["label_token"].as_u64().unwrap(), set["position"].as_u64().unwrap());
    assert_eq!(looked_at(&found["sets"][0]), (3, 1));
    assert_eq!(looked_at(&found["sets"][1]).1, 2);
    let found = evaluated(&workshop, &["--label", "#4", "--position", "0"]);
    assert!(found["sets"].as_array().unwrap().iter().all(|set| looked_at(set) == (4, 0)));
    // No node after the position is kept.
    let all = evaluated(&workshop, &["--position", "last"])["sets"][1]["selections"][0]["nodes"].as_u64().unwrap();
    assert!(found["sets"][1]["selections"][0]["nodes"].as_u64().unwrap() < all);
    let made =
        ["optimize", "--model", "run", "--prompt", PROMPT, "--label", "#3", "--steps", "3", "--out", "made.json"];
    workshop.succeed(&made);
    let text =
        workshop.succeed(&["evaluate", "--model", "run", "--ci-sets", "made.json", "--draws", "2", "--restarts", "2"]);
    assert!(text.contains("(token 3) at position 2") && text.contains("adversarial, dead at 0"), "{text}");
}

#[test]
fn what_there_is_not_is_refused() {
    let workshop = Workshop::small();
    let refusals: [(&[&str], &str); 4] = [
        (&["--position", "3"], "set \"low\": the position 3 is looked at, but its prompt has 3 tokens"),
        (&["--keep", "h.9.*:*:*"], "h.9.*:*:* takes in none of its nodes"),
        (&["--sets", "lower"], "has no set \"lower\""),
        (&["--max-memory", "1MB"], "--max-memory"),
    ];
    for (args, expected) in refusals {
        let message = workshop.fail(&[&EVALUATE, args].concat());
        assert!(message.contains(expected), "{args:?}: {message}");
    }
    for (line, expected) in [
        ("h.0.mlp.c_fc:1", "nodes.txt: line 2: expected LAYER:POSITION:COMPONENT"),
        ("h.0.mlp.c_fc:*:1", "a node has a position and a component"),
        ("h.0.mlp.up:1:1", "h.0.mlp.up is no decomposed layer of the run; there are h.0.attn.q_proj"),
        ("h.0.mlp.c_fc:3:1", "positions are 0 to 2"),
        ("h.0.mlp.c_fc:1:1000", "components of the layer 0 to"),
    ] {
        workshop.write("nodes.txt", &format!("h.0.mlp.c_fc:1:1\n{line}\n"));
        let message = workshop.fail(&[&EVALUATE[..], &["--nodes", "nodes.txt"]].concat());
        assert!(message.contains(expected), "{line}: {message}");
    }
    workshop.edit_sets(|sets| sets["metadata"] = serde_json::json!({ "low": { "label_token": "he" } }));
    let message = workshop.fail(&EVALUATE);
    assert!(message.contains("label_token in its metadata is \"he\", expected a whole number"), "{message}");
}
