//! `tributary export`: graphs for other tools.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::json;
use tributary_export::{Exported, ExportedSet, Format, Pruning, export};
use tributary_results::ResultFolder;

use crate::args::{ExportArgs, ExportFormat};
use crate::own_folder::refuse_own_folder;
use crate::{CliError, console, selected_sets, visible};

pub(crate) fn run(args: &ExportArgs) -> Result<(), CliError> {
    let result = ResultFolder::open(&args.result)?;
    let sets = selected_sets::of_result(&args.sets, result.manifest(), &args.result)?;
    let default = Pruning::default();
    let pruning = Pruning {
        output: args.output_position.unwrap_or(default.output),
        node_threshold: args.node_threshold.unwrap_or(default.node_threshold),
        edge_threshold: args.edge_threshold.unwrap_or(default.edge_threshold),
    };
    let is_pruned = args.output_position.is_some() || args.node_threshold.is_some() || args.edge_threshold.is_some();
    if args.format != ExportFormat::CircuitTracer && (is_pruned || args.no_pruning) {
        return Err(CliError::NotPruned);
    }
    refuse_own_folder(&args.out, &[&args.result])?;
    let format = match args.format {
        ExportFormat::Parquet => Format::Parquet,
        ExportFormat::Graphml => Format::GraphMl,
        ExportFormat::Json => Format::Json,
        ExportFormat::ParamDecomp => Format::ParamDecomp,
        ExportFormat::CircuitTracer => Format::CircuitTracer((!args.no_pruning).then_some(pruning)),
    };
    let exported = export(&result, &sets, &args.out, args.output.force, &format, args.view.view())?;
    for set in &exported.sets {
        for warning in &set.warnings {
            console::say(&format!("note: set {}: {warning}", visible::on_one_line(&set.set)));
        }
    }
    console::summarise(&args.output, || json(&exported), || text(&args.out, &exported))
}

fn text(out: &Path, exported: &Exported) -> String {
    let mut text = String::new();
    for ExportedSet { set, files, nodes, ghosts, edges, left_out, not_finite, .. } in &exported.sets {
        let files: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
        let _ = write!(text, "set {}: {}\n  {nodes} nodes, ", visible::on_one_line(set), files.join(", "));
        if *ghosts > 0 {
            let _ = write!(text, "{ghosts} ghosts, ");
        }
        let _ = write!(text, "{edges} edges");
        let counts = [
            (left_out.pruned_nodes, "nodes pruned"),
            (left_out.pruned_edges, "edges pruned"),
            (left_out.zero_edges, "edges left out that are zero"),
            (*not_finite, "edges are not finite"),
        ];
        for (count, what) in counts.into_iter().filter(|&(count, _)| count > 0) {
            let _ = write!(text, "; {count} {what}");
        }
        text.push('\n');
    }
    if let Some(list) = &exported.metadata {
        let _ = writeln!(text, "the viewer's list of graphs: {}", list.display());
    }
    let _ = writeln!(text, "{} sets in {}", exported.sets.len(), out.display());
    text
}

fn json(exported: &Exported) -> String {
    let sets: Vec<_> = exported
        .sets
        .iter()
        .map(|set| {
            json!({
                "set": set.set,
                "files": set.files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>(),
                "nodes": set.nodes,
                "ghosts": set.ghosts,
                "edges": set.edges,
                "left_out": {
                    "pruned_nodes": set.left_out.pruned_nodes,
                    "pruned_edges": set.left_out.pruned_edges,
                    "zero_edges": set.left_out.zero_edges,
                    "not_finite_edges": set.left_out.not_finite_edges,
                },
                "not_finite": set.not_finite,
                "warnings": set.warnings.iter().map(ToString::to_string).collect::<Vec<_>>(),
            })
        })
        .collect();
    let list = exported.metadata.as_ref().map(|list| list.display().to_string());
    format!("{}\n", json!({ "exports": sets, "graph_metadata": list }))
}
