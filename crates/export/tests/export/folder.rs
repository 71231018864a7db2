//! What is refused, and what is left after a failure.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use tributary_export::{ExportError, Format, METADATA_FILE, Pruning, export};
use tributary_files::FilesError;
use tributary_graph::View;
use tributary_results::ResultError;

use crate::results::Written;

const FORMATS: [Format; 5] =
    [Format::Parquet, Format::GraphMl, Format::Json, Format::CircuitTracer(None), Format::ParamDecomp];

fn names(folder: &Path) -> BTreeSet<String> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn nothing_is_left_when_a_set_cannot_be_read() {
    let written = Written::nasty(1);
    let damaged = written.folder.set_path(&written.sets()[2]);
    let mut bytes = fs::read(&damaged).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&damaged, bytes).unwrap();
    for format in FORMATS {
        let parent = tempfile::tempdir().unwrap();
        let error = written.export(&parent.path().join("deep/er"), false, format).unwrap_err();
        assert!(matches!(error, ExportError::Result(ResultError::Changed { .. })), "{error}");
        assert_eq!(names(parent.path()), BTreeSet::new());
        // What was there stays.
        fs::write(parent.path().join("notes.txt"), "mine").unwrap();
        written.export(parent.path(), true, format).unwrap_err();
        assert_eq!(names(parent.path()), BTreeSet::from(["notes.txt".to_owned()]));
    }
}

#[test]
fn files_are_replaced_only_by_force() {
    let written = Written::random(2);
    for format in FORMATS {
        let out = tempfile::tempdir().unwrap();
        let exported = written.export(out.path(), false, format).unwrap();
        let files: Vec<_> = exported.sets.iter().flat_map(|set| &set.files).collect();
        let expected = files.iter().copied().chain(&exported.metadata);
        let expected: BTreeSet<_> =
            expected.map(|file| file.file_name().unwrap().to_str().unwrap().to_owned()).collect();
        assert_eq!(names(out.path()), expected);
        let last = files.last().unwrap();
        let content = fs::read(last).unwrap();
        // One of the files is enough to refuse all.
        for file in &files[..files.len() - 1] {
            fs::remove_file(file).unwrap();
        }
        fs::write(last, "old").unwrap();
        let before = names(out.path());
        let error = written.export(out.path(), false, format).unwrap_err();
        let ExportError::Result(ResultError::Files(FilesError::FileExists { path })) = &error else {
            panic!("{error}")
        };
        assert_eq!(path, *last);
        assert_eq!((names(out.path()), fs::read(last).unwrap()), (before, b"old".to_vec()));
        written.export(out.path(), true, format).unwrap();
        assert_eq!((names(out.path()), fs::read(last).unwrap()), (expected, content));
    }
}

#[test]
fn sets_are_chosen() {
    let written = Written::nasty(3);
    let out = tempfile::tempdir().unwrap();
    let [a, b] = [4, 1].map(|set| &written.sets()[set]);
    let exported = export(&written.folder, &[a, b, a], out.path(), false, &Format::Json, View::default()).unwrap();
    let names: Vec<_> = exported.sets.iter().map(|set| &set.set).collect();
    assert_eq!(names, [&a.name, &b.name]);
    assert!(matches!(
        export(&written.folder, &[], out.path(), false, &Format::Json, View::default()),
        Err(ExportError::NoSets { .. })
    ));
}

#[test]
fn thresholds_are_shares() {
    let written = Written::random(4);
    let parent = tempfile::tempdir().unwrap();
    for found in [-0.1, 1.1, f64::NAN, f64::INFINITY] {
        let default = Pruning::default();
        let nodes = Pruning { node_threshold: found, ..default };
        let edges = Pruning { edge_threshold: found, ..default };
        for (pruning, name) in [(nodes, "node"), (edges, "edge")] {
            let error = written.export(parent.path(), false, Format::CircuitTracer(Some(pruning))).unwrap_err();
            assert!(error.to_string().starts_with(&format!("the {name} threshold is {found}")), "{error}");
        }
    }
    assert_eq!(names(parent.path()), BTreeSet::new());
}

#[test]
fn an_output_position_is_one_of_the_prompt() {
    let written = Written::random(4);
    let parent = tempfile::tempdir().unwrap();
    let pruning = Pruning { output: tributary_export::OutputPosition::At(1000), ..Pruning::default() };
    let error = written.export(parent.path(), false, Format::CircuitTracer(Some(pruning))).unwrap_err();
    assert!(error.to_string().contains("has no output position 1000: its prompt has"), "{error}");
    assert_eq!(names(parent.path()), BTreeSet::new());
}

#[test]
fn a_list_of_graphs_that_is_none_is_refused() {
    let written = Written::random(5);
    for list in ["", "[]", "{}", "{\"graphs\": {}}", "null"] {
        let out = tempfile::tempdir().unwrap();
        fs::write(out.path().join(METADATA_FILE), list).unwrap();
        for force in [false, true] {
            let error = written.export(out.path(), force, Format::CircuitTracer(None)).unwrap_err();
            assert!(matches!(error, ExportError::Metadata { .. }), "{error}");
        }
        assert_eq!(names(out.path()), BTreeSet::from([METADATA_FILE.to_owned()]));
        assert_eq!(fs::read_to_string(out.path().join(METADATA_FILE)).unwrap(), list);
    }
}
