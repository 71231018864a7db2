//! Graphs as JSON.

use std::io::{self, Write};

use serde::{Serialize, Serializer};
use tributary_files::OutputFile;
use tributary_graph::{Edge, Entry, Graph, View};
use tributary_results::{ModelInfo, PromptEntry};

use crate::ExportError;
use crate::computation::Computation;
use crate::set::Set;

/// Name of the graph in exported files.
pub const GRAPH_FORMAT: &str = "tributary-graph";
/// Version of what exported files say. Fields may be added without a new version.
pub const GRAPH_FORMAT_VERSION: u64 = 1;
/// JSON Schema (2020-12) of the files of [`Format::Json`](crate::Format::Json).
pub const GRAPH_SCHEMA: &str = include_str!("../schema/graph.schema.json");

/// The document. Numbers that are not finite are written as `null`, as JSON has none; what is not defined is left out.
#[derive(Serialize)]
struct Document<'a> {
    format: &'static str,
    format_version: u64,
    tool_version: &'static str,
    set: &'a str,
    metadata: &'a Option<serde_json::Value>,
    prompt: &'a PromptEntry,
    model: &'a ModelInfo,
    computation: Computation<'a>,
    view: ViewRow,
    counts: Counts,
    #[serde(skip_serializing_if = "Option::is_none")]
    prediction: Option<PredictionRow<'a>>,
    nodes: Nodes<'a>,
    ghosts: Ghosts<'a>,
    edges: Edges<'a>,
}

/// How attributions are looked at.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct ViewRow {
    sign: &'static str,
    normalise: &'static str,
}

impl From<View> for ViewRow {
    fn from(View { sign, normalise }: View) -> Self {
        Self { sign: sign.name(), normalise: normalise.name() }
    }
}

#[derive(Serialize)]
struct Counts {
    nodes: usize,
    ghosts: usize,
    edges: usize,
    zero_edges: usize,
    not_finite_edges: usize,
}

/// How faithful the masked model is to the target model; lists are by position.
#[derive(Serialize)]
struct PredictionRow<'a> {
    mean_kl: f32,
    agreeing: usize,
    kl: &'a [f32],
    likeliest: &'a [u32],
}

#[derive(Serialize)]
struct EntryFields {
    layer: String,
    position: u32,
    component: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_token: Option<String>,
}

#[derive(Serialize)]
struct NodeRow {
    #[serde(flatten)]
    entry: EntryFields,
    #[serde(skip_serializing_if = "Option::is_none")]
    ci: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    probability: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target_probability: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    activation: Option<f32>,
    importance: f64,
}

struct Nodes<'a>(Set<'a>);

impl Serialize for Nodes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.graph.nodes.iter().map(|node| NodeRow {
            entry: entry_fields(self.0, node.entry),
            ci: node.ci,
            probability: node.probability,
            target_probability: node.target_probability,
            activation: node.activation,
            importance: node.importance,
        }))
    }
}

struct Ghosts<'a>(Set<'a>);

impl Serialize for Ghosts<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.graph.ghosts.iter().map(|&entry| entry_fields(self.0, entry)))
    }
}

/// Edges by column, which takes a third of what an object for each would.
#[derive(Serialize)]
struct Edges<'a> {
    source: Column<'a, u32>,
    target: Column<'a, u32>,
    value: Column<'a, f32>,
}

struct Column<'a, T>(&'a Graph, fn(&Edge) -> T);

impl<T: Serialize> Serialize for Column<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.edges.iter().map(self.1))
    }
}

fn entry_fields(set: Set<'_>, entry: Entry) -> EntryFields {
    let Entry { layer, position, component } = entry;
    EntryFields { layer: layer.to_string(), position, component, output_token: set.output_token(entry) }
}

pub(crate) fn write(set: Set<'_>, mut file: OutputFile) -> Result<(), ExportError> {
    let Set { manifest, entry, graph, .. } = set;
    let not_finite = graph.not_finite();
    let document = Document {
        format: GRAPH_FORMAT,
        format_version: GRAPH_FORMAT_VERSION,
        tool_version: env!("CARGO_PKG_VERSION"),
        set: &entry.name,
        metadata: &entry.metadata,
        prompt: set.prompt(),
        model: &manifest.run.model,
        computation: Computation::of(set),
        view: set.view.into(),
        counts: Counts {
            nodes: graph.nodes.len(),
            ghosts: graph.ghosts.len(),
            edges: graph.edges.len(),
            zero_edges: graph.zero(),
            not_finite_edges: not_finite,
        },
        prediction: set.prediction().map(|(found, prediction)| PredictionRow {
            mean_kl: found.mean_kl,
            agreeing: found.agreeing,
            kl: &prediction.kl,
            likeliest: &prediction.likeliest,
        }),
        nodes: Nodes(set),
        ghosts: Ghosts(set),
        edges: Edges {
            source: Column(graph, |edge| edge.source),
            target: Column(graph, |edge| edge.target),
            value: Column(graph, |edge| edge.value),
        },
    };
    let path = file.path().to_owned();
    write_json(&document, &mut file).map_err(ExportError::io("write", &path))?;
    Ok(file.close()?)
}

/// Writes a value as JSON on one line.
pub(crate) fn write_json(value: &impl Serialize, out: &mut impl Write) -> io::Result<()> {
    serde_json::to_writer(&mut *out, value)?;
    out.write_all(b"\n")
}
