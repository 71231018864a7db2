//! Putting CI sets to the test.

use serde_json::Value;
use tributary_inputs::test_support::RandomWeights;

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

/// Nodes of a result are those of its graphs: the same numbers come out as of the file that it was computed from.
#[test]
fn a_result_is_evaluated_as_its_sets_are() {
    let workshop = Workshop::small();
    workshop.compute();
    let of_result = |more: &[&str]| -> Value {
        let args = ["evaluate", "out", "--draws", "3", "--restarts=2", "--json", "--quiet"];
        serde_json::from_str(&workshop.succeed(&[&args, more].concat())).unwrap()
    };
    let common = ["--above", "0.4", "--random", "1"];
    assert_eq!(of_result(&common), evaluated(&workshop, &common));
    assert_eq!(of_result(&["--sets", "high"])["sets"].as_array().unwrap().len(), 1);

    // All influence is that of all nodes that have any, and a part of it is that of fewer.
    let shares = ["0", "0.5", "1"].map(|share| {
        let found = of_result(&["--sets", "low", "--top-influence", share]);
        let selections = found["sets"][0]["selections"].as_array().unwrap();
        let name = selections[1]["name"].as_str().unwrap();
        assert!(name.starts_with(&format!("top influence {share} on output:2:#")), "{name}");
        [0, 1].map(|at| selections[at]["nodes"].as_u64().unwrap())
    });
    let [[_, none], [all, half], [_, whole]] = shares;
    assert_eq!(none, 0);
    assert!(0 < half && half < whole && whole <= all, "{shares:?}");
    let message = workshop.fail(&["evaluate", "out", "--top-influence", "0.5", "--to", "output:last:#99"]);
    let known = message.split("there are #").nth(1).unwrap_or_else(|| panic!("{message}"));
    let id: String = known.chars().take_while(char::is_ascii_digit).collect();
    let named = of_result(&["--sets", "low", "--top-influence", "1", "--to", &format!("output:last:#{id}")]);
    assert!(named["sets"][0]["selections"][1]["nodes"].as_u64().unwrap() > 0);

    // What is recorded is what is printed, and the result is the same otherwise.
    let manifest =
        || -> Value { serde_json::from_slice(&std::fs::read(workshop.path("out/manifest.json")).unwrap()).unwrap() };
    let before = manifest();
    let found = of_result(&["--record"]);
    let mut after = manifest();
    for (at, set) in found["sets"].as_array().unwrap().iter().enumerate() {
        assert_eq!(&after["sets"][at]["metadata"]["evaluation"], set);
        after["sets"][at]["metadata"] = before["sets"][at]["metadata"].clone();
    }
    assert_eq!(after, before);
    workshop.succeed(&["verify", "out", "--device", "cpu"]);
    // Where the run has moved, it is said where it is.
    std::fs::rename(workshop.path("run"), workshop.path("moved")).unwrap();
    let message = workshop.fail(&["evaluate", "out"]);
    assert!(message.contains("if it has moved, say where it is (--model)"), "{message}");
    assert_eq!(of_result(&["--model", "moved"]), found);
}

/// A ladder of importances leaves out rungs that keep the same nodes.
#[test]
fn a_sweep_keeps_fewer_and_fewer_nodes() {
    let workshop = Workshop::small();
    let found = evaluated(&workshop, &["--sets", "low", "--sweep", "sweep.svg"]);
    let rungs = &found["sets"][0]["selections"].as_array().unwrap()[1..];
    let nodes: Vec<u64> = rungs.iter().map(|rung| rung["nodes"].as_u64().unwrap()).collect();
    // Importances are 0.25, 0.375, ... 0.75.
    let above: Vec<f64> = rungs.iter().map(|rung| number(&rung["above"])).collect();
    assert_eq!(above, [0.0, 0.3, 0.4, 0.5, 0.7, 0.8]);
    assert!(nodes.is_sorted_by(|more, fewer| more > fewer) && nodes[5] == 0, "{nodes:?}");
    let figure = std::fs::read_to_string(workshop.path("sweep.svg")).unwrap();
    assert!(figure.starts_with("<svg") && figure.contains("low"), "{figure}");
    let message = workshop.fail(&[&EVALUATE[..], &["--sweep", "sweep.svg"]].concat());
    assert!(message.contains("sweep.svg") && message.contains("--force"), "{message}");
    workshop.succeed(&[&EVALUATE[..], &["--sweep", "sweep.png", "--force"]].concat());
    assert_eq!(workshop.tributary(&[&EVALUATE[..], &["--sweep", "sweep.gif"]].concat()).status.code(), Some(2));
}

/// With importances as masks, nodes that the set does not have are masked by the model's own.
#[test]
fn nodes_that_a_set_lacks_have_the_models_own_importances() {
    let workshop = Workshop::small();
    let own = workshop.path("own");
    workshop.succeed(&["attribute", "--model", "run", "--prompt", PROMPT, "--out", own.to_str().unwrap()]);
    let read = tributary_results::ResultFolder::open(&own).unwrap().read_set("prompt_0").unwrap();
    let lines: Vec<String> = read
        .nodes
        .iter()
        .filter(|(layer, _)| layer.is_linear())
        .flat_map(|(layer, nodes)| nodes.alive.iter().map(move |(at, component)| format!("{layer}:{at}:{component}")))
        .collect();
    // Of an empty set all of the model's own nodes are what the model's own set is.
    workshop.write("nodes.txt", &format!("\u{feff}{}\n", lines.join("\n")));
    workshop.edit_sets(|sets| {
        let layers = sets["ci_sets"]["low"].as_object_mut().unwrap().values_mut();
        let rows = layers.flat_map(|layer| layer.as_array_mut().unwrap());
        rows.flat_map(|row| row.as_array_mut().unwrap()).for_each(|value| *value = 0.into());
    });
    let found = evaluated(&workshop, &["--sets", "low", "--mask-by-ci", "--nodes", "nodes.txt"]);
    let own: Value = serde_json::from_str(&workshop.succeed(&[
        "evaluate",
        "own",
        "--mask-by-ci",
        "--draws",
        "3",
        "--restarts=2",
        "--json",
        "--quiet",
    ]))
    .unwrap();
    let [found, own] = [&found["sets"][0]["selections"][1], &own["sets"][0]["selections"][0]];
    assert_eq!(found["nodes"], own["nodes"]);
    for regime in ["ci", "stochastic", "adversarial"] {
        let [found, own] = [found, own].map(|of| &of["regimes"][regime]["label_prob"]);
        let value = |of: &Value| of.as_f64().or_else(|| of["mean"].as_f64()).unwrap();
        assert!((value(found) - value(own)).abs() < 1e-6, "{regime}: {found} {own}");
    }
    // What is alive nowhere has none.
    let is_alive = |component: usize| lines.contains(&format!("h.0.mlp.c_fc:1:{component}"));
    let dead = (0..1000).find(|&component| !is_alive(component)).unwrap();
    workshop.write("nodes.txt", &format!("h.0.mlp.c_fc:1:{dead}\n"));
    let args = [&EVALUATE[..], &["--sets", "low", "--mask-by-ci", "--nodes", "nodes.txt"]].concat();
    let message = workshop.fail(&args);
    assert!(message.contains(&format!("h.0.mlp.c_fc:1:{dead} of nodes.txt is alive neither")), "{message}");
}

#[test]
fn what_is_worth_knowing_is_told() {
    let weights = RandomWeights::gpt2_simple(3).weights();
    let (_, components) =
        weights.component_counts().into_iter().find(|(layer, _)| layer.to_string() == "h.0.mlp.c_fc").unwrap();
    let workshop = Workshop::new(&weights);
    workshop.edit_sets(|sets| {
        sets["metadata"] = serde_json::json!({ "low": 3, "high": { "model_fingerprint": "0123" } });
    });
    // All components of a layer are more than what is alive under the model's own importances.
    workshop.write(
        "nodes.txt",
        &(0..components).map(|component| format!("h.0.mlp.c_fc:1:{component}")).collect::<Vec<_>>().join("\n"),
    );
    let args = ["--nodes", "nodes.txt", "--random", "1", "--keep", "h.0.mlp.c_fc:1:999"];
    let output = workshop.tributary(&[&EVALUATE[..], &args].concat());
    let told = crate::workshop::stderr(&output);
    assert!(output.status.success(), "{told}");
    for expected in [
        "set \"low\": its metadata are no object",
        "set \"high\" was made on another model or checkpoint",
        "h.0.mlp.c_fc:1:999 takes in none of its nodes",
    ] {
        assert!(told.contains(expected), "{expected}: {told}");
    }
}

#[test]
fn what_there_is_not_is_refused() {
    let workshop = Workshop::small();
    let refusals: [(&[&str], &str); 5] = [
        (&["--position", "3"], "set \"low\": the position 3 is looked at, but its prompt has 3 tokens"),
        (&["--keep", "h.9.*:*:*"], "h.9.*:*:*: the run decomposes no such layer; there are h.0.attn.q_proj"),
        (&["--top-influence", "0.5"], "CI sets have none: compute it, and give the result in their place"),
        (&["--sets", "lower"], "has no set \"lower\""),
        (&["--max-memory", "1MB"], "--max-memory"),
    ];
    for (args, expected) in refusals {
        let message = workshop.fail(&[&EVALUATE, args].concat());
        assert!(message.contains(expected), "{args:?}: {message}");
    }
    for (line, expected) in [
        ("h.0.mlp.c_fc:1", "nodes.txt: line 2: h.0.mlp.c_fc:1: expected LAYER:POSITION:COMPONENT"),
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
