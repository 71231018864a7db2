//! Reading a result: its manifest, its nodes, its strongest edges.
//!
//! `cargo run --example read_results -- FOLDER`, by default of a result that it computes itself.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program that talks to a terminal")]

use std::path::Path;

use tributary::{Folder, Input, Settings, attribute};
use tributary_flex::Flex;

const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../data");

fn main() -> Result<(), Box<dyn std::error::Error>> {
    if let Some(folder) = std::env::args().nth(1) { read(Path::new(&folder)) } else { read(computed()?.path()) }
}

fn computed() -> Result<tempfile::TempDir, Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let input = Input::ci_sets(format!("{DATA}/walked.ci_sets.json"));
    let settings = Settings::new(format!("{DATA}/gpt2s-2L"), input);
    attribute::<Flex>(&settings, Folder::new(&folder), &mut |_| {})?;
    Ok(folder)
}

fn read(folder: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let result = tributary::open(folder)?;
    let manifest = result.manifest();
    println!("{} sets, computed by {} on {}", manifest.sets.len(), manifest.run.method, manifest.run.backend);
    for entry in &manifest.sets {
        let tokens = &manifest.prompts[entry.prompt].token_strings;
        let graph = result.read_set(&entry.name)?;
        let mut edges = Vec::new();
        for pair in &graph.pairs {
            // An edge leads from a row of the pair's source entries to one of its target entries, each (position, component).
            let (sources, targets): (Vec<_>, Vec<_>) = (pair.source.iter().collect(), pair.target.iter().collect());
            let values = pair.edges().zip(&pair.values);
            edges.extend(values.map(|((source, target), &value)| (value, pair.pair, sources[source], targets[target])));
        }
        edges.sort_by(|a, b| b.0.abs().total_cmp(&a.0.abs()));
        println!("{}: {} nodes, {} edges, the strongest of them", entry.name, graph.node_count(), edges.len());
        for (value, pair, (from, source), (to, target)) in edges.iter().take(3) {
            let (from, to) = (&tokens[*from], &tokens[*to]);
            println!("  {value:+.3e}  {} {source} at {from:?} -> {} {target} at {to:?}", pair.source, pair.target);
        }
        assert_eq!(edges.len(), entry.edges);
    }
    Ok(())
}
