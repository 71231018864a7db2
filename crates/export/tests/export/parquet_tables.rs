//! Parquet against the graph, through the library's own reader; `python.rs` has another.

use std::fs::File;
use std::path::Path;

use parquet::file::metadata::RowGroupMetaData;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::{Field, Row};
use tributary_export::Format;
use tributary_graph::Entry;

use crate::results::{Written, assert_counts, cases};

fn rows(path: &Path) -> Vec<Row> {
    let reader = SerializedFileReader::new(File::open(path).unwrap()).unwrap();
    reader.get_row_iter(None).unwrap().map(Result::unwrap).collect()
}

fn text(field: &Field) -> &str {
    match field {
        Field::Str(text) => text,
        other => panic!("{other:?} is no text"),
    }
}

/// `None` for NULL. The sign of a NaN is not looked at.
fn bits(field: &Field) -> Option<u32> {
    match field {
        Field::Float(value) => Some(canonical(*value)),
        Field::Null => None,
        other => panic!("{other:?} is no float"),
    }
}

fn canonical(value: f32) -> u32 {
    if value.is_nan() { f32::NAN.to_bits() } else { value.to_bits() }
}

/// Layer, position and component in three columns.
fn assert_entry(fields: &[(&String, &Field)], entry: Entry) {
    assert_eq!(text(fields[0].1), entry.layer.to_string());
    assert_eq!([fields[1].1, fields[2].1], [&Field::UInt(entry.position), &Field::UInt(entry.component)]);
}

#[test]
fn tables_read_back_as_the_graph() {
    for written in cases() {
        let manifest = written.folder.manifest();
        let out = tempfile::tempdir().unwrap();
        let exported = written.export(out.path(), false, Format::Parquet).unwrap();
        assert_counts(&exported, &written, true);
        for (set, summary) in written.sets().iter().zip(&exported.sets) {
            let graph = written.graph(set);
            let [edges, nodes] = [0, 1].map(|file| rows(&summary.files[file]));
            assert_eq!(edges.len(), graph.edges.len());
            for (row, edge) in edges.iter().zip(&graph.edges) {
                let fields: Vec<_> = row.get_column_iter().collect();
                assert_eq!(text(fields[0].1), set.name);
                assert_entry(&fields[1..], graph.nodes[edge.source as usize].entry);
                assert_entry(&fields[4..], graph.nodes[edge.target as usize].entry);
                assert_eq!(bits(fields[7].1), Some(canonical(edge.value)));
            }
            assert_eq!(nodes.len(), graph.nodes.len() + graph.ghosts.len());
            let all = graph.nodes.iter().map(|node| (node.entry, Some(node)));
            for (row, (entry, node)) in nodes.iter().zip(all.chain(graph.ghosts.iter().map(|&ghost| (ghost, None)))) {
                let fields: Vec<_> = row.get_column_iter().collect();
                assert_eq!(text(fields[0].1), set.name);
                assert_entry(&fields[1..], entry);
                assert_eq!(text(fields[4].1), if node.is_some() { "node" } else { "ghost" });
                let numbers = node.map(|node| [node.ci, node.probability, node.target_probability, node.activation]);
                let numbers = numbers.unwrap_or_default();
                let found = [5, 6, 7, 8].map(|column| bits(fields[column].1));
                assert_eq!(found, numbers.map(|value| value.map(canonical)));
                let importance = node.map_or(Field::Null, |node| Field::Double(node.importance));
                assert_eq!(fields[9].1, &importance);
                let prompt = &manifest.prompts[set.prompt];
                assert_eq!(text(fields[10].1), prompt.texts()[entry.position as usize]);
                let token = (entry.layer.is_output()).then(|| manifest.output_text(entry.component));
                assert_eq!(fields[11].1, &token.map_or(Field::Null, Field::Str));
            }
        }
    }
}

#[test]
fn large_tables_have_several_row_groups() {
    let written = Written::full(1100);
    let edges = written.sets()[0].edges;
    assert!(edges > 1 << 20);
    let out = tempfile::tempdir().unwrap();
    let exported = written.export(out.path(), false, Format::Parquet).unwrap();
    let path = &exported.sets[0].files[0];
    let reader = SerializedFileReader::new(File::open(path).unwrap()).unwrap();
    let groups: Vec<i64> = reader.metadata().row_groups().iter().map(RowGroupMetaData::num_rows).collect();
    assert_eq!(groups, [1 << 20, edges as i64 - (1 << 20)]);
    let graph = written.graph(&written.sets()[0]);
    for (row, edge) in rows(path).iter().zip(&graph.edges) {
        let fields: Vec<_> = row.get_column_iter().collect();
        assert_entry(&fields[1..], graph.nodes[edge.source as usize].entry);
        assert_entry(&fields[4..], graph.nodes[edge.target as usize].entry);
        assert_eq!(fields[7].1, &Field::Float(edge.value));
    }
}
