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
    for format in ["graph", "circuit-tracer", "comparison"] {
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
