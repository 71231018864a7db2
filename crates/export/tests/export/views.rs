//! Attributions are exported as a view shows them, and every file says which.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;
use serde_json::{Value, json};
use tributary_export::{CIRCUIT_TRACER_SCHEMA, Format, GRAPH_SCHEMA, Pruning};
use tributary_graph::{Normalise, Sign, View};
use tributary_results::{Delta, Forward, ResultFolder};
use tributary_testing::RandomResults;

use crate::results::Written;

const VIEWED: View = View { sign: Sign::Target, normalise: Normalise::Layer };

/// The values of a set's edges by the target's sign, divided by the norm over the edges to the same layer.
fn expected(written: &Written, set: usize) -> Vec<f32> {
    let set = written.folder.read_set(&written.sets()[set].name).unwrap();
    let signed: Vec<(String, f64)> = set
        .pairs
        .iter()
        .flat_map(|pair| {
            let (target, activation) = (pair.pair.target, &set.nodes[&pair.pair.target].activation);
            let edges: Vec<_> = pair.edges().zip(&pair.values).collect();
            edges.into_iter().map(move |((_, row), &value)| {
                let activation = f64::from(activation[row]);
                let sign = f64::from(i8::from(activation > 0.0) - i8::from(activation < 0.0));
                (target.to_string(), sign * f64::from(value))
            })
        })
        .collect();
    let mut squares = BTreeMap::<&str, f64>::new();
    for (target, value) in &signed {
        *squares.entry(target).or_default() += value * value;
    }
    let norm = |target: &str| Some(squares[target].sqrt()).filter(|norm| *norm > 0.0).unwrap_or(1.0);
    signed.iter().map(|(target, value)| (value / norm(target)) as f32).collect()
}

fn assert_near(found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() <= 1e-6, "{found} for {expected}");
    }
}

fn read(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn about(path: &Path) -> BTreeMap<String, String> {
    let reader = SerializedFileReader::new(fs::File::open(path).unwrap()).unwrap();
    let about = reader.metadata().file_metadata().key_value_metadata().unwrap().clone();
    about.into_iter().map(|about| (about.key, about.value.unwrap())).collect()
}

#[test]
fn every_format_holds_the_view_and_names_it() {
    let schema = |text: &str| jsonschema::draft202012::new(&serde_json::from_str(text).unwrap()).unwrap();
    let (graph_schema, viewer_schema) = (schema(GRAPH_SCHEMA), schema(CIRCUIT_TRACER_SCHEMA));
    let mut negative = 0;
    for written in (0..8).map(Written::random) {
        let out = tempfile::tempdir().unwrap();
        let export = |format| written.export_as(VIEWED, out.path(), true, format).unwrap().sets;
        for (number, set) in export(Format::Parquet).iter().enumerate() {
            let expected = expected(&written, number);
            negative += expected.iter().filter(|value| **value < 0.0).count();
            for file in &set.files {
                let about = about(file);
                assert_eq!((&*about["sign"], &*about["normalise"]), ("target", "layer"));
            }
            let reader = SerializedFileReader::new(fs::File::open(&set.files[0]).unwrap()).unwrap();
            let value = |row: parquet::record::Row| match row.get_column_iter().last().unwrap().1 {
                Field::Float(value) => *value,
                other => panic!("{other:?}"),
            };
            let found: Vec<f32> = reader.get_row_iter(None).unwrap().map(|row| value(row.unwrap())).collect();
            assert_near(&found, &expected);
        }
        for (number, set) in export(Format::GraphMl).iter().enumerate() {
            let text = fs::read_to_string(&set.files[0]).unwrap();
            assert!(text.contains(r#"<data key="graph_sign">target</data>"#));
            assert!(text.contains(r#"<data key="graph_normalise">layer</data>"#));
            let parts = text.split(r#"<data key="edge_value">"#).skip(1);
            let found: Vec<f32> = parts.map(|part| part.split('<').next().unwrap().parse().unwrap()).collect();
            assert_near(&found, &expected(&written, number));
        }
        for (number, set) in export(Format::Json).iter().enumerate() {
            let graph = read(&set.files[0]);
            assert!(graph_schema.is_valid(&graph));
            assert_eq!(graph["view"], json!({"sign": "target", "normalise": "layer"}));
            let found: Vec<f32> = serde_json::from_value(graph["edges"]["value"].clone()).unwrap();
            assert_near(&found, &expected(&written, number));
            let total: f64 = found.iter().map(|value| f64::from(value.abs())).sum();
            let importance: f64 =
                graph["nodes"].as_array().unwrap().iter().map(|node| node["importance"].as_f64().unwrap()).sum();
            assert!((importance - 2.0 * total).abs() <= 1e-9 * total, "{importance} of {total}");
        }
        for (number, set) in export(Format::CircuitTracer(None)).iter().enumerate() {
            let graph = read(&set.files[0]);
            assert!(viewer_schema.is_valid(&graph));
            let settings = json!({"sign": "target", "normalise": "layer"});
            assert_eq!(graph["metadata"]["generation_settings"], settings);
            let links = graph["links"].as_array().unwrap().iter();
            let found: Vec<f32> = links.map(|link| link["weight"].as_f64().unwrap() as f32).collect();
            let expected: Vec<f32> = expected(&written, number).into_iter().filter(|value| *value != 0.0).collect();
            assert_near(&found, &expected);
        }
    }
    assert!(negative > 500, "the cases are too small: {negative}");
}

#[test]
fn a_norm_changes_nothing_that_pruning_goes_by() {
    let out = tempfile::tempdir().unwrap();
    for written in (0..8).map(Written::random) {
        let nodes = |normalise| {
            let view = View { normalise, ..View::default() };
            let format = Format::CircuitTracer(Some(Pruning::default()));
            let sets = written.export_as(view, out.path(), true, format).unwrap().sets;
            let ids = |file: &Path| -> Vec<Value> {
                read(file)["nodes"].as_array().unwrap().iter().map(|node| node["node_id"].clone()).collect()
            };
            sets.iter().map(|set| (ids(&set.files[0]), set.edges)).collect::<Vec<_>>()
        };
        let unchanged = nodes(Normalise::None);
        assert_eq!(nodes(Normalise::Layer), unchanged);
        assert_eq!(nodes(Normalise::Target), unchanged);
    }
}

#[test]
fn files_say_at_whose_activations_attributions_were_evaluated() {
    let results = RandomResults::new(2);
    for at_target in [false, true] {
        let mut settings = results.settings();
        if at_target {
            (settings.forward, settings.delta) = (Forward::Target, Some(Delta::Through));
        }
        let dir = tempfile::tempdir().unwrap();
        let mut writer = tributary_results::ResultWriter::create(dir.path(), false, settings).unwrap();
        writer.write_set(0, &results.sets[0].0, &results.sets[0].1, None).unwrap();
        writer.finish(results.run_info()).unwrap();
        let written = Written { folder: ResultFolder::open(dir.path()).unwrap(), dir };
        let out = tempfile::tempdir().unwrap();
        let export = |format| written.export(out.path(), true, format).unwrap().sets.remove(0).files;
        let named = at_target.then_some(("target", "through"));
        let found = |found: Option<&str>, delta: Option<&str>| assert_eq!(found.zip(delta), named);
        for file in export(Format::Parquet) {
            let about = about(&file);
            found(about.get("forward").map(String::as_str), about.get("delta").map(String::as_str));
            assert_eq!((&*about["sign"], &*about["normalise"]), ("source", "none"));
        }
        let graph = read(&export(Format::Json)[0]);
        let schema = jsonschema::draft202012::new(&serde_json::from_str(GRAPH_SCHEMA).unwrap()).unwrap();
        assert!(schema.is_valid(&graph));
        found(graph["computation"]["forward"].as_str(), graph["computation"]["delta"].as_str());
        let text = fs::read_to_string(&export(Format::GraphMl)[0]).unwrap();
        assert_eq!(text.contains(r#"<data key="graph_forward">target</data>"#), at_target);
        assert_eq!(text.contains(r#"<data key="graph_delta">through</data>"#), at_target);
    }
}
