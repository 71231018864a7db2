//! Folders that version 1 of the format wrote are still read.

use std::fs;
use std::path::{Path, PathBuf};

use tributary_model::published_blocks;
use tributary_results::{Kind, Manifest, ResultFolder, Stages};

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/results/version_1")
}

#[test]
fn version_1_is_read_without_what_it_does_not_say() {
    let folder = ResultFolder::open(&fixture()).unwrap();
    let manifest = folder.manifest();
    assert_eq!((manifest.format_version, manifest.run.kind), (1, Kind::Attributions));
    assert_eq!(manifest.run.timings.stages, Stages::default());
    assert!(manifest.prompts[0].target_likeliest.is_empty());
    let layers = manifest.run.model.components.keys().copied();
    assert!(layers.eq(published_blocks(2)));
    assert_eq!(manifest.sets.len(), 2);
    for entry in &manifest.sets {
        let set = folder.read_set(&entry.name).unwrap();
        assert_eq!((set.node_count(), set.edge_count()), (entry.nodes, entry.edges));
        assert!(set.prediction.is_none() && entry.prediction.is_none());
    }
}

/// The manifest of a folder whose manifest is the fixture's with one text for another.
fn changed(from: &str, to: &str) -> Manifest {
    let text = fs::read_to_string(fixture().join("manifest.json")).unwrap();
    assert!(text.contains(from));
    let out = tempfile::tempdir().unwrap();
    fs::write(out.path().join("manifest.json"), text.replace(from, to)).unwrap();
    ResultFolder::open(out.path()).unwrap().manifest().clone()
}

#[test]
fn version_1_tells_a_consensus_by_its_method() {
    let method = r#""method": "closed-form""#;
    assert!(changed(method, r#""method": "consensus""#).run.is_consensus());
    assert!(!changed(method, r#""method": "autograd""#).run.is_consensus());
}
