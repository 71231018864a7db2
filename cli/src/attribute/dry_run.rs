//! `--dry-run`: what a run would compute and take.

use std::fmt::Write as _;

use bytesize::ByteSize;
use serde_json::json;
use tributary::{Outline, SetOutline};

use crate::args::AttributeArgs;
use crate::{CliError, console, visible};

/// Prints the outline as a table or a line of JSON.
pub(super) fn print(args: &AttributeArgs, outline: &Outline) -> Result<(), CliError> {
    if args.output.json { console::print_json(&json_line(outline)) } else { console::print(&table(outline)) }
}

fn json_line(outline: &Outline) -> String {
    let set =
        |set: &SetOutline| json!({ "name": set.name, "nodes": set.nodes, "edges": set.edges, "bytes": set.bytes });
    let line = json!({
        "sets": outline.sets.iter().map(set).collect::<Vec<_>>(),
        "nodes": outline.sets.iter().map(|set| set.nodes).sum::<usize>(),
        "edges": outline.sets.iter().map(|set| set.edges).sum::<usize>(),
        "bytes": outline.sets.iter().map(|set| set.bytes).sum::<u64>(),
        "memory": outline.memory,
        "max_memory": outline.max_memory,
        "batches": outline.batches,
    });
    format!("{line}\n")
}

fn table(outline: &Outline) -> String {
    let sets = &outline.sets;
    let size = |bytes: u64| ByteSize(bytes).display().si().to_string();
    let mut table = console::table(["set", "nodes", "edges", "file"]);
    for set in sets {
        table.add_row([visible::on_one_line(&set.name), set.nodes.to_string(), set.edges.to_string(), size(set.bytes)]);
    }
    let (nodes, edges) = sets.iter().fold((0, 0), |(nodes, edges), set| (nodes + set.nodes, edges + set.edges));
    let bytes = sets.iter().map(|set| set.bytes).sum();
    table.add_row(["all".to_owned(), nodes.to_string(), edges.to_string(), size(bytes)]);
    for column in 1..4 {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(comfy_table::CellAlignment::Right);
        }
    }
    let mut text = format!("{table}\n");
    let allowed = outline.max_memory.map_or_else(String::new, |allowed| format!(", of {} allowed", size(allowed)));
    let _ = writeln!(
        text,
        "{} beside the model{allowed}: {} sets in {} batches by {}; nothing was written",
        size(outline.memory),
        sets.len(),
        outline.batches,
        outline.method.name()
    );
    text
}
