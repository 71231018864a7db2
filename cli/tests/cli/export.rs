//! `tributary export` and `tributary schema`. What is in the files is tested beside the formats.

use serde_json::Value;
use tributary_results::ResultFolder;

use crate::workshop::Workshop;

fn computed() -> Workshop {
    let workshop = Workshop::small();
    workshop.compute();
    workshop
}

fn json(workshop: &Workshop, more: &[&str]) -> Value {
    let args = [&["export", "out", "--json", "--out", "exported"], more].concat();
    serde_json::from_str(&workshop.succeed(&args)).unwrap()
}

#[test]
fn every_format_has_every_edge() {
    let workshop = computed();
    let folder = ResultFolder::open(&workshop.path("out")).unwrap();
    for (format, files) in [
        ("parquet", vec!["high.edges.parquet", "high.nodes.parquet", "low.edges.parquet", "low.nodes.parquet"]),
        ("graphml", vec!["high.graphml", "low.graphml"]),
        ("json", vec!["high.json", "low.json"]),
    ] {
        let out = workshop.path("exported");
        let report = json(&workshop, &["--format", format]);
        assert_eq!(workshop.list("exported"), files);
        for (set, entry) in report["exports"].as_array().unwrap().iter().zip(&folder.manifest().sets) {
            assert_eq!(
                (&set["set"], &set["nodes"], &set["edges"]),
                (&entry.name.clone().into(), &entry.nodes.into(), &entry.edges.into())
            );
        }
        std::fs::remove_dir_all(out).unwrap();
    }
}

#[test]
fn the_viewer_gets_a_pruned_graph_unless_all_is_asked_for() {
    let workshop = computed();
    let links = |workshop: &Workshop| {
        let graph: Value =
            serde_json::from_str(&std::fs::read_to_string(workshop.path("exported/low.json")).unwrap()).unwrap();
        graph["links"].as_array().unwrap().len()
    };
    let pruned = json(&workshop, &["--format", "circuit-tracer", "--sets", "low"]);
    assert_eq!(workshop.list("exported"), ["graph-metadata.json", "low.json"]);
    assert_eq!(links(&workshop) as u64, pruned["exports"][0]["edges"].as_u64().unwrap());
    let whole = json(&workshop, &["--format", "circuit-tracer", "--no-pruning", "--force"]);
    let of_low = &whole["exports"][0];
    assert_eq!(links(&workshop) as u64, of_low["edges"].as_u64().unwrap());
    let folder = ResultFolder::open(&workshop.path("out")).unwrap();
    let nonzero: usize = folder.manifest().set("low").unwrap().pairs.iter().map(|pair| pair.nonzero).sum();
    assert_eq!(of_low["edges"], nonzero);
    let dropped = &pruned["exports"][0]["left_out"]["pruned_edges"];
    assert_eq!(dropped.as_u64().unwrap() + pruned["exports"][0]["edges"].as_u64().unwrap(), nonzero as u64);
    assert!(dropped.as_u64().unwrap() > 0);
    let last =
        json(&workshop, &["--format", "circuit-tracer", "--output-position", "last", "--sets", "low", "--force"]);
    let graph: Value =
        serde_json::from_str(&std::fs::read_to_string(workshop.path("exported/low.json")).unwrap()).unwrap();
    let logits = graph["nodes"].as_array().unwrap().iter().filter(|node| node["feature_type"] == "logit");
    assert!(logits.clone().count() > 0 && logits.into_iter().all(|node| node["ctx_idx"] == 2), "{last}");
    let error = workshop.fail(&["export", "out", "--format", "json", "--out", "x", "--output-position", "last"]);
    assert!(error.contains("are for --format circuit-tracer"), "{error}");
}

#[test]
fn what_the_app_gets_is_computed_again_as_it_was() {
    let workshop = computed();
    let report = json(&workshop, &["--format", "param-decomp"]);
    assert_eq!(workshop.list("exported"), ["high.ci.json", "high.json", "low.ci.json", "low.json"]);
    let folder = ResultFolder::open(&workshop.path("out")).unwrap();
    let before = folder.read_set("low").unwrap();
    let nonzero: usize = folder.manifest().set("low").unwrap().pairs.iter().map(|pair| pair.nonzero).sum();
    let of_low = report["exports"].as_array().unwrap().iter().find(|set| set["set"] == "low").unwrap();
    assert_eq!(of_low["edges"], nonzero);
    let args = ["attribute", "--model", "run", "--backend", "flex", "--quiet", "--ci-sets", "exported/low.ci.json"];
    workshop.succeed(&[&args[..], &["--out", "again"]].concat());
    let again = ResultFolder::open(&workshop.path("again")).unwrap();
    assert_eq!(again.manifest().prompts[0].tokens, folder.manifest().prompts[0].tokens);
    let after = again.read_set("low").unwrap();
    assert_eq!((after.nodes, after.pairs), (before.nodes, before.pairs));
    let error = workshop.fail(&["attribute", "--model", "run", "--ci-sets", "exported/low.json", "--out", "x"]);
    assert!(error.contains("exported/low.json") && error.contains("give their ids"), "{error}");
}

#[test]
fn exports_show_attributions_as_asked_for() {
    let workshop = computed();
    let values = |more: &[&str]| -> (Value, Vec<f32>) {
        json(&workshop, &[&["--format", "json", "--sets", "low", "--force"], more].concat());
        let graph: Value =
            serde_json::from_str(&std::fs::read_to_string(workshop.path("exported/low.json")).unwrap()).unwrap();
        (graph["view"].clone(), serde_json::from_value(graph["edges"]["value"].clone()).unwrap())
    };
    let (view, computed) = values(&[]);
    assert_eq!((&view["sign"], &view["normalise"]), (&"source".into(), &"none".into()));
    let (view, signed) = values(&["--sign", "target", "--normalise", "none"]);
    assert_eq!((&view["sign"], &view["normalise"]), (&"target".into(), &"none".into()));
    let magnitudes = |values: &[f32]| -> Vec<f32> { values.iter().map(|value| value.abs()).collect() };
    assert!(signed != computed && magnitudes(&signed) == magnitudes(&computed));
    let (view, relative) = values(&["--normalise", "layer"]);
    assert_eq!((&view["sign"], &view["normalise"]), (&"source".into(), &"layer".into()));
    assert!(relative.iter().all(|value| value.abs() <= 1.0) && relative != computed);
    let args = ["export", "out", "--format", "param-decomp", "--out", "app"];
    let error = workshop.fail(&[&args[..], &["--sign", "target"]].concat());
    assert!(error.contains("both signs") && error.contains("(--sign)") && !workshop.path("app").exists(), "{error}");
    workshop.succeed(&[&args[..], &["--quiet", "--normalise", "target"]].concat());
}

#[test]
fn a_result_is_not_written_over_while_it_is_read() {
    let workshop = computed();
    let before = std::fs::read(workshop.path("out/manifest.json")).unwrap();
    for args in [
        &["export", "out", "--format", "json", "--out", "out/../out", "--force"][..],
        &["compare", "out", "--out", "out", "--force"],
        &["report", "out", "--out", "out/manifest.json", "--force"],
    ] {
        let error = workshop.fail(args);
        assert!(error.contains("it is the folder that is read"), "{error}");
    }
    assert_eq!(std::fs::read(workshop.path("out/manifest.json")).unwrap(), before);
    let twice = workshop.fail(&["compare", "out", "./out"]);
    assert!(twice.contains("given twice"), "{twice}");
}

#[test]
fn nothing_is_replaced_without_force() {
    let workshop = computed();
    json(&workshop, &["--format", "json"]);
    let before = std::fs::read(workshop.path("exported/low.json")).unwrap();
    let error = workshop.fail(&["export", "out", "--format", "json", "--out", "exported"]);
    assert!(error.contains("low.json") && error.contains("--force"), "{error}");
    assert_eq!(std::fs::read(workshop.path("exported/low.json")).unwrap(), before);
    json(&workshop, &["--format", "json", "--force"]);
    let error = workshop.fail(&["export", "out", "--format", "json", "--out", "elsewhere", "--sets", "medium"]);
    assert!(error.contains("medium") && error.contains("low") && error.contains("high"), "{error}");
    assert!(!workshop.path("elsewhere").exists());
}

#[test]
fn schemas_come_with_the_tool() {
    let workshop = computed();
    for format in ["graph", "circuit-tracer", "param-decomp", "comparison"] {
        let schema: Value = serde_json::from_str(&workshop.succeed(&["schema", format])).unwrap();
        assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    }
    let schema: Value = serde_json::from_str(&workshop.succeed(&["schema", "graph"])).unwrap();
    json(&workshop, &["--format", "json", "--sets", "low"]);
    let graph: Value =
        serde_json::from_str(&std::fs::read_to_string(workshop.path("exported/low.json")).unwrap()).unwrap();
    for required in schema["required"].as_array().unwrap() {
        assert!(graph.get(required.as_str().unwrap()).is_some(), "{required}");
    }
}
