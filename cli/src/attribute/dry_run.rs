//! `--dry-run`: what a run would compute and take.

use std::fmt::Write as _;

use bytesize::ByteSize;
use serde_json::json;
use tributary_backend::{AttributionBackend, Element};
use tributary_engine::{Cost, Model, Request, Sink, SinkError, outline};
use tributary_model::SetAttributions;
use tributary_results::{Settings, set_file_size};

use super::{Input, settings};
use crate::args::AttributeArgs;
use crate::progress::Reporter;
use crate::{CliError, console};

/// Counts of one set.
#[derive(Clone)]
struct SetOutline {
    name: String,
    nodes: usize,
    edges: usize,
    /// Of its file.
    bytes: u64,
}

/// Runs the forward pass alone, which tells all nodes, and says in a table or a line of JSON what follows from them.
pub(super) fn describe<B: AttributionBackend>(
    args: &AttributeArgs,
    model: &Model<B>,
    request: &Request<'_>,
    input: &Input,
    reporter: &mut Reporter,
) -> Result<String, CliError> {
    let mut counter = Counter { input, settings: settings(args), sets: vec![None; request.sets.len()] };
    let cost = outline(model, request, &mut counter, &mut |progress| reporter.engine(progress))?;
    let sets: Vec<SetOutline> = counter.sets.into_iter().flatten().collect();
    Ok(if args.json { json_line(&sets, request, cost) } else { table(&sets, request, cost) })
}

struct Counter<'a> {
    input: &'a Input,
    settings: Settings,
    sets: Vec<Option<SetOutline>>,
}

impl<E: Element> Sink<E> for Counter<'_> {
    fn begin(&mut self, set: usize, graph: SetAttributions<E>) -> Result<(), SinkError> {
        self.sets[set] = Some(SetOutline {
            nodes: graph.node_count(),
            edges: graph.pairs.iter().map(tributary_model::PairAttribution::edge_count).sum(),
            bytes: set_file_size(&graph, self.input.prompt(set), &self.settings),
            name: graph.name,
        });
        Ok(())
    }

    fn values(&mut self, _set: usize, _pair: usize, _values: &[E]) -> Result<(), SinkError> {
        Ok(())
    }

    fn end(&mut self, _set: usize) -> Result<(), SinkError> {
        Ok(())
    }
}

fn json_line(sets: &[SetOutline], request: &Request<'_>, cost: Cost) -> String {
    let set =
        |set: &SetOutline| json!({ "name": set.name, "nodes": set.nodes, "edges": set.edges, "bytes": set.bytes });
    let line = json!({
        "sets": sets.iter().map(set).collect::<Vec<_>>(),
        "nodes": sets.iter().map(|set| set.nodes).sum::<usize>(),
        "edges": sets.iter().map(|set| set.edges).sum::<usize>(),
        "bytes": sets.iter().map(|set| set.bytes).sum::<u64>(),
        "memory": cost.memory,
        "max_memory": request.max_memory,
        "batches": cost.batches,
    });
    format!("{line}\n")
}

fn table(sets: &[SetOutline], request: &Request<'_>, cost: Cost) -> String {
    let size = |bytes: u64| ByteSize(bytes).display().si().to_string();
    let mut table = console::table(["set", "nodes", "edges", "file"]);
    for set in sets {
        table.add_row([console::plain(&set.name), set.nodes.to_string(), set.edges.to_string(), size(set.bytes)]);
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
    let allowed = request.max_memory.map_or_else(String::new, |allowed| format!(", of {} allowed", size(allowed)));
    let _ = writeln!(
        text,
        "{} beside the model{allowed}: {} sets in {} batches by {}; nothing was written",
        size(cost.memory),
        sets.len(),
        cost.batches,
        request.method.name()
    );
    text
}
