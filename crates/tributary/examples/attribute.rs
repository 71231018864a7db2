//! The main job: a trained run and CI sets in, a folder of graphs out.
//!
//! `cargo run --example attribute`

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program that talks to a terminal")]

use tributary::{Folder, Input, Progress, Settings, attribute, outline};
use tributary_flex::Flex;
use tributary_ndarray::NdArray;

const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../data");

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let input = Input::ci_sets(format!("{DATA}/walked.ci_sets.json"));
    let mut settings = Settings::new(format!("{DATA}/gpt2s-2L"), input);
    settings.thresholds.output_prob = 0.2;
    settings.compute.backend = Some("flex".to_owned());

    let mut say = |progress: Progress<'_>| eprintln!("{progress:?}");
    let planned = outline::<(Flex, NdArray)>(&settings, &mut say)?;
    let bytes: u64 = planned.sets.iter().map(|set| set.bytes).sum();
    println!("{} sets, {bytes} bytes of files, {} bytes of memory", planned.sets.len(), planned.memory);

    let out = tempfile::tempdir()?;
    let manifest = attribute::<(Flex, NdArray)>(&settings, Folder::new(&out), &mut say)?;
    for set in &manifest.sets {
        println!("{}: {} nodes, {} edges in {}", set.name, set.nodes, set.edges, set.file);
    }
    assert!(manifest.sets.iter().zip(&planned.sets).all(|(set, planned)| set.edges == planned.edges));
    Ok(())
}
