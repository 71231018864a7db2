//! JSON against the graph.

use std::fs;

use serde_json::{Value, json};
use tributary_export::{Format, GRAPH_SCHEMA};
use tributary_graph::Entry;

use crate::results::{Written, assert_counts, cases};

/// A number as it was: `null` stands for what is not finite.
fn same(found: &Value, expected: f32) -> bool {
    found
        .as_f64()
        .map_or(found.is_null() && !expected.is_finite(), |found| (found as f32).to_bits() == expected.to_bits())
}

#[test]
fn json_reads_back_as_the_graph() {
    let schema = jsonschema::draft202012::new(&serde_json::from_str(GRAPH_SCHEMA).unwrap()).unwrap();
    let (mut edges, mut not_finite) = (0, 0);
    for written in cases() {
        let out = tempfile::tempdir().unwrap();
        let exported = written.export(out.path(), false, Format::Json).unwrap();
        assert_counts(&exported, &written, true);
        for (set, summary) in written.sets().iter().zip(&exported.sets) {
            let read: Value = serde_json::from_slice(&fs::read(&summary.files[0]).unwrap()).unwrap();
            if let Some(error) = schema.iter_errors(&read).next() {
                panic!("{}: {error}", error.instance_path());
            }
            assert_says(&read, &written, set);
            edges += summary.edges;
            not_finite += summary.not_finite;
        }
    }
    assert!(edges > 10_000 && not_finite > 100, "the cases are too small: {edges} edges, {not_finite} not finite");
}

fn assert_says(read: &Value, written: &Written, set: &tributary_results::SetEntry) {
    let (manifest, graph) = (written.folder.manifest(), written.graph(set));
    assert_eq!(read["set"], json!(set.name));
    assert_eq!(read["metadata"], json!(set.metadata));
    assert_eq!(read["prompt"], json!(manifest.prompts[set.prompt]));
    assert_eq!(read["model"], json!(manifest.run.model));
    let prediction = written.folder.read_set(&set.name).unwrap().prediction;
    assert_eq!(read.get("prediction").is_some(), prediction.is_some());
    if let Some((prediction, found)) = prediction.zip(set.prediction) {
        let read = &read["prediction"];
        assert_eq!((&read["agreeing"], &read["likeliest"]), (&json!(found.agreeing), &json!(prediction.likeliest)));
        assert!(same(&read["mean_kl"], found.mean_kl));
        let kl = read["kl"].as_array().unwrap();
        assert_eq!(kl.len(), prediction.kl.len());
        assert!(kl.iter().zip(&prediction.kl).all(|(found, &kl)| same(found, kl)));
    }
    let zero = graph.edges.iter().filter(|edge| edge.value == 0.0).count();
    let counts = json!({
        "nodes": set.nodes,
        "ghosts": graph.ghosts.len(),
        "edges": set.edges,
        "zero_edges": zero,
        "not_finite_edges": graph.edges.iter().filter(|edge| !edge.value.is_finite()).count(),
    });
    assert_eq!(read["counts"], counts);
    let assert_entry = |row: &Value, entry: Entry| {
        let found = (&row["layer"], &row["position"], &row["component"]);
        assert_eq!(found, (&json!(entry.layer.to_string()), &json!(entry.position), &json!(entry.component)));
        let token = (entry.layer == tributary_model::Layer::output()).then(|| manifest.output_text(entry.component));
        assert_eq!(row.get("output_token"), token.map(Value::String).as_ref());
    };
    let nodes = read["nodes"].as_array().unwrap();
    assert_eq!(nodes.len(), graph.nodes.len());
    for (row, node) in nodes.iter().zip(&graph.nodes) {
        assert_entry(row, node.entry);
        assert_eq!(row["importance"].as_f64(), Some(node.importance));
        let numbers = [
            ("ci", node.ci),
            ("probability", node.probability),
            ("target_probability", node.target_probability),
            ("activation", node.activation),
        ];
        for (field, value) in numbers {
            let right = match (row.get(field), value) {
                (Some(found), Some(value)) => same(found, value),
                (found, value) => found.is_none() && value.is_none(),
            };
            assert!(right, "{field} of {row}, expected {value:?}");
        }
    }
    let ghosts = read["ghosts"].as_array().unwrap();
    assert_eq!(ghosts.len(), graph.ghosts.len());
    ghosts.iter().zip(&graph.ghosts).for_each(|(row, &ghost)| assert_entry(row, ghost));
    let column = |name: &str| read["edges"][name].as_array().unwrap();
    let (source, target, value) = (column("source"), column("target"), column("value"));
    assert_eq!([source.len(), target.len(), value.len()], [graph.edges.len(); 3]);
    for (i, edge) in graph.edges.iter().enumerate() {
        assert_eq!((&source[i], &target[i]), (&json!(edge.source), &json!(edge.target)));
        assert!(same(&value[i], edge.value), "{} for {}", value[i], edge.value);
    }
}
