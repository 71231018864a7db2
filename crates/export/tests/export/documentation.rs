//! `docs/export.md` names every column and field.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::Path;

use parquet::file::reader::{FileReader, SerializedFileReader};
use serde_json::Value;
use tributary_export::{CIRCUIT_TRACER_SCHEMA, Format, GRAPH_SCHEMA, PARAM_DECOMP_SCHEMA};

use crate::results::Written;

/// The names of all properties in a JSON Schema.
fn properties(schema: &Value, names: &mut BTreeSet<String>) {
    let Value::Object(fields) = schema else {
        schema.as_array().into_iter().flatten().for_each(|part| properties(part, names));
        return;
    };
    for (field, part) in fields {
        if let ("properties", Value::Object(named)) = (&**field, part) {
            names.extend(named.keys().cloned());
        }
        properties(part, names);
    }
}

#[test]
fn every_column_and_field_is_documented() {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/export.md")).unwrap();
    let sections: Vec<&str> = page.split("\n## ").collect();
    let section = |title: &str| *sections.iter().find(|section| section.starts_with(title)).unwrap();
    let assert_named = |title: &str, name: &str| {
        let named = [format!("`{name}`"), format!(".{name}`"), format!("[].{name}`"), format!("`{name}[]`")];
        assert!(named.iter().any(|named| section(title).contains(named)), "{title} does not name {name}");
    };
    let written = Written::random(1);
    let out = tempfile::tempdir().unwrap();
    for file in &written.export(out.path(), false, Format::Parquet).unwrap().sets[0].files {
        let reader = SerializedFileReader::new(File::open(file).unwrap()).unwrap();
        let metadata = reader.metadata().file_metadata();
        metadata.schema_descr().columns().iter().for_each(|column| assert_named("Parquet", column.name()));
        metadata.key_value_metadata().unwrap().iter().for_each(|about| assert_named("Parquet", &about.key));
    }
    let graphml = &written.export(out.path(), false, Format::GraphMl).unwrap().sets[0].files[0];
    let graphml = fs::read_to_string(graphml).unwrap();
    let document = roxmltree::Document::parse(&graphml).unwrap();
    let keys: Vec<_> = document.descendants().filter_map(|element| element.attribute("attr.name")).collect();
    assert_eq!(keys.len(), 28);
    for name in keys {
        assert_named("GraphML", name);
    }
    for (title, schema, least) in [
        ("JSON", GRAPH_SCHEMA, 40),
        ("circuit-tracer", CIRCUIT_TRACER_SCHEMA, 30),
        ("param-decomp", PARAM_DECOMP_SCHEMA, 40),
    ] {
        let mut names = BTreeSet::new();
        properties(&serde_json::from_str(schema).unwrap(), &mut names);
        assert!(names.len() >= least, "{} names in the schema of {title}", names.len());
        names
            .iter()
            .filter(|name| !["graphs", "nodes", "metadata"].contains(&&***name))
            .for_each(|name| assert_named(title, name));
    }
}
