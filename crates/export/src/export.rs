//! Writing the files of several sets, which appear together.

use std::collections::HashSet;
use std::path::Path;

use tributary_files::{Replace, Transaction};
use tributary_graph::{Node, Sign, View};
use tributary_results::{ResultFolder, SetEntry};

use crate::circuit_tracer::{self, Added, ViewerGraph};
use crate::param_decomp::AppGraph;
use crate::set::Set;
use crate::summary::{Exported, ExportedSet, LeftOut};
use crate::{ExportError, Format, graph_json, graphml, parquet_tables};

/// Writes the graphs of some sets of `folder` into the folder `out`, which is made if need be; a set that is named twice
/// is written once. File names begin with the stem of [`SetEntry::file`].
///
/// Attributions are written as `view` shows them, which the files say. One set at a time is in memory. The files appear together at the end: a failure before leaves nothing. Files that are
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
    view: View,
) -> Result<Exported, ExportError> {
    format.check(view)?;
    if sets.is_empty() {
        return Err(ExportError::NoSets { path: folder.path().to_owned() });
    }
    let mut seen = HashSet::new();
    let sets: Vec<&SetEntry> = sets.iter().copied().filter(|set| seen.insert(&set.name)).collect();
    let slug = |set: &SetEntry| circuit_tracer::slug(set, &folder.manifest().sets);
    let names = |set: &SetEntry| -> Vec<String> {
        match format {
            Format::Parquet => ["edges", "nodes"].map(|table| format!("{}.{table}.parquet", set.stem())).to_vec(),
            Format::GraphMl => vec![format!("{}.graphml", set.stem())],
            Format::Json => vec![format!("{}.json", set.stem())],
            Format::CircuitTracer(_) => vec![format!("{}.json", slug(set))],
            Format::ParamDecomp => ["json", "ci.json"].map(|end| format!("{}.{end}", set.stem())).to_vec(),
        }
    };
    let transaction = Transaction::begin(out)?;
    let replace = Replace::if_asked(force);
    // What cannot be written is said before the work begins.
    for set in &sets {
        format.check_position(&set.name, folder.manifest().prompts[set.prompt].tokens.len())?;
        for name in names(set) {
            transaction.check(name, replace)?;
        }
    }
    let mut added = match format {
        Format::CircuitTracer(_) => circuit_tracer::read_list(out).map(|_| Some(Added::default()))?,
        _ => None,
    };
    let edges = sets.iter().map(|set| folder.edges(set)).max().unwrap_or(0);
    folder.check_memory(edges.saturating_mul(format.of_edge()))?;
    let mut exported = Vec::with_capacity(sets.len());
    for entry in sets {
        let attributions = folder.read_set(&entry.name)?;
        let mut graph = view.of(&attributions);
        if let Format::CircuitTracer(_) = format {
            // A graph is pruned by what carries its tokens, whose probabilities add up to 1 at most.
            let vocab = folder.manifest().run.model.vocab;
            let is_difference =
                |node: &&mut Node| node.entry.layer.is_output() && node.entry.component as usize >= vocab;
            graph.nodes.iter_mut().filter(is_difference).for_each(|node| node.probability = None);
        }
        let prediction = attributions.prediction.as_ref();
        let set = Set { manifest: folder.manifest(), entry, graph: &graph, view, prediction };
        let files = names(entry).iter().map(|name| transaction.create(name, replace)).collect::<Result<Vec<_>, _>>()?;
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
                parquet_tables::write_edges(set, next())?;
                parquet_tables::write_nodes(set, next())?;
            }
            Format::GraphMl => {
                graphml::write(set, next())?;
                summary.ghosts = 0;
            }
            Format::Json => graph_json::write(set, next())?,
            Format::ParamDecomp => {
                let by_target = View { sign: Sign::Target, ..view }.of(&attributions);
                let graph = AppGraph::new(set, &by_target);
                graph.write(next(), next())?;
                graph.summarise(&mut summary);
            }
            Format::CircuitTracer(pruning) => {
                let graph = ViewerGraph::new(set, slug(entry), *pruning);
                graph.write(next())?;
                graph.summarise(&mut summary);
                if let Some(added) = &mut added {
                    added.push(&graph);
                }
            }
        }
        exported.push(summary);
    }
    // The list of graphs last: what it names is there. Others may be adding to it.
    let mut metadata = None;
    transaction.commit_with(|transaction| -> Result<(), ExportError> {
        metadata = added.map(|added| added.extend_list(transaction)).transpose()?;
        Ok(())
    })?;
    Ok(Exported { sets: exported, metadata })
}
