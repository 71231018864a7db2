//! Writing the files of several sets, which appear together.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use tributary_graph::Graph;
use tributary_results::{ClosedFile, OutputFile, ResultFolder, SetEntry};

use crate::circuit_tracer::{self, MetadataFile, ViewerGraph};
use crate::set::Set;
use crate::summary::{Exported, ExportedSet, LeftOut};
use crate::{ExportError, Format, graph_json, graphml, parquet_tables};

/// Writes the graphs of some sets of `folder` into the folder `out`, which is made if need be; a set that is named twice
/// is written once. File names begin with the stem of [`SetEntry::file`].
///
/// One set at a time is in memory. The files appear together at the end: a failure before leaves nothing. Files that are
/// there are refused unless `force`. Only the list of graphs for circuit-tracer is extended: what it says of other
/// graphs stays.
///
/// # Panics
///
/// When a set has more than `u32::MAX` nodes, or `sets` are not of `folder`.
pub fn export(
    folder: &ResultFolder,
    sets: &[&SetEntry],
    out: &Path,
    force: bool,
    format: &Format,
) -> Result<Exported, ExportError> {
    format.check()?;
    if sets.is_empty() {
        return Err(ExportError::NoSets);
    }
    let is_new = |folder: &&Path| !folder.as_os_str().is_empty() && !folder.exists();
    let new: Vec<&Path> = out.ancestors().take_while(is_new).collect();
    let exported = write_all(folder, sets, out, force, format);
    if exported.is_err() {
        for folder in new {
            // Only an empty folder goes away.
            let _ = fs::remove_dir(folder);
        }
    }
    exported
}

fn write_all(
    folder: &ResultFolder,
    sets: &[&SetEntry],
    out: &Path,
    force: bool,
    format: &Format,
) -> Result<Exported, ExportError> {
    let mut seen = HashSet::new();
    let sets: Vec<&SetEntry> = sets.iter().copied().filter(|set| seen.insert(&set.name)).collect();
    let slug = |set: &SetEntry| circuit_tracer::slug(set, &folder.manifest().sets);
    let names = |set: &SetEntry| -> Vec<String> {
        match format {
            Format::Parquet => ["edges", "nodes"].map(|table| format!("{}.{table}.parquet", set.stem())).to_vec(),
            Format::GraphMl => vec![format!("{}.graphml", set.stem())],
            Format::Json => vec![format!("{}.json", set.stem())],
            Format::CircuitTracer(_) => vec![format!("{}.json", slug(set))],
        }
    };
    // What cannot be written is said before the work begins.
    for set in &sets {
        format.check_position(&set.name, folder.manifest().prompts[set.prompt].tokens.len())?;
        for name in names(set) {
            OutputFile::create(&out.join(name), force)?;
        }
    }
    let mut metadata = match format {
        Format::CircuitTracer(_) => Some(MetadataFile::read(out)?),
        _ => None,
    };
    let mut closed: Vec<ClosedFile> = Vec::new();
    let mut exported = Vec::with_capacity(sets.len());
    for entry in sets {
        let attributions = folder.read_set(&entry.name)?;
        let graph = Graph::new(&attributions);
        let prediction = attributions.prediction.as_ref();
        let set = Set { manifest: folder.manifest(), entry, graph: &graph, prediction };
        let files = names(entry)
            .iter()
            .map(|name| OutputFile::create(&out.join(name), force))
            .collect::<Result<Vec<_>, _>>()?;
        let mut summary = ExportedSet {
            set: entry.name.clone(),
            files: files.iter().map(|file| file.path().to_owned()).collect(),
            nodes: graph.nodes.len(),
            ghosts: graph.ghosts.len(),
            edges: graph.edges.len(),
            left_out: LeftOut::default(),
            not_finite: graph.not_finite(),
            warnings: Vec::new(),
        };
        let mut files = files.into_iter();
        let mut next = || files.next().expect("every format has a file");
        match format {
            Format::Parquet => {
                closed.push(parquet_tables::write_edges(set, next())?);
                closed.push(parquet_tables::write_nodes(set, next())?);
            }
            Format::GraphMl => {
                closed.push(graphml::write(set, next())?);
                summary.ghosts = 0;
            }
            Format::Json => closed.push(graph_json::write(set, next())?),
            Format::CircuitTracer(pruning) => {
                let graph = ViewerGraph::new(set, slug(entry), *pruning);
                closed.push(graph.write(next())?);
                graph.summarise(&mut summary);
                if let Some(metadata) = &mut metadata {
                    metadata.add(&graph);
                }
            }
        }
        exported.push(summary);
    }
    let metadata = metadata.map(MetadataFile::write).transpose()?;
    let metadata_path = metadata.as_ref().map(|file| file.path().to_owned());
    // The list of graphs last: what it names is there.
    for file in closed.into_iter().chain(metadata) {
        file.finish()?;
    }
    Ok(Exported { sets: exported, metadata: metadata_path })
}
