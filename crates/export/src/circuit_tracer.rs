//! Graph files of circuit-tracer's viewer.
//!
//! After `circuit_tracer/frontend` of <https://github.com/safety-research/circuit-tracer>: the fields are those of its
//! `graph_models.py`, and what its scripts make of them is why they hold what they do.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Serialize, Serializer};
use serde_json::{Value, json};
use tributary_files::{OutputFile, Replace, Transaction, input};
use tributary_graph::{Edge, Node, Pruned, View};
use tributary_model::{Layer, Role};
use tributary_results::SetEntry;

use crate::graph_json::{ViewRow, write_json};
use crate::set::Set;
use crate::summary::{ExportedSet, LeftOut, MANY_LINKS, Warning};
use crate::viewer_text::{logit_label, shown};
use crate::{ExportError, Pruning};

/// Name of the list of all graphs in a folder.
pub const METADATA_FILE: &str = "graph-metadata.json";
/// JSON Schema (2020-12) of the graph files of [`Format::CircuitTracer`](crate::Format::CircuitTracer); its definition
/// `graph_metadata` is that of [`METADATA_FILE`].
pub const CIRCUIT_TRACER_SCHEMA: &str = include_str!("../schema/circuit-tracer.schema.json");

/// The name that the viewer knows a set of `sets` by, which is that of its file.
pub(crate) fn slug(set: &SetEntry, sets: &[SetEntry]) -> String {
    let mut slug = set.stem().to_owned();
    let is_list = |slug: &str| METADATA_FILE.strip_suffix(".json") == Some(slug);
    // A set may be named as the list of all graphs is, and another as what that one is named instead.
    while is_list(&slug) || (slug != set.stem() && sets.iter().any(|other| other.stem() == slug)) {
        slug.push('_');
    }
    slug
}

#[derive(Clone, Debug, Serialize)]
struct Metadata {
    slug: String,
    scan: String,
    transcoder_list: [String; 0],
    prompt_tokens: Vec<String>,
    prompt: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    node_threshold: Option<f64>,
    schema_version: u32,
    /// What the viewer shows before `scan`: without it, the sets of a prompt look the same in its list.
    title_prefix: String,
    /// Where attributions are not as they were computed.
    #[serde(skip_serializing_if = "Option::is_none")]
    generation_settings: Option<ViewRow>,
}

#[derive(Serialize)]
struct ViewerNode {
    node_id: String,
    feature: u64,
    layer: String,
    ctx_idx: u32,
    feature_type: &'static str,
    token_prob: f32,
    is_target_logit: bool,
    run_idx: u32,
    reverse_ctx_idx: u32,
    #[serde(rename = "jsNodeId")]
    js_node_id: String,
    clerp: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    influence: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    activation: Option<f32>,
}

#[derive(Serialize)]
struct Link<'a> {
    source: &'a str,
    target: &'a str,
    weight: f32,
}

/// A set as the viewer takes it.
#[derive(Debug)]
pub(crate) struct ViewerGraph<'a> {
    set: Set<'a>,
    metadata: Metadata,
    pruned: Option<Pruned>,
    /// Number of each layer: the decomposed ones from 1 as data flows, then the logits.
    numbers: BTreeMap<Layer, u32>,
    /// Index of the likeliest token after the prompt.
    target_logit: Option<usize>,
}

impl<'a> ViewerGraph<'a> {
    pub(crate) fn new(set: Set<'a>, slug: String, pruning: Option<Pruning>) -> Self {
        let (graph, prompt) = (set.graph, set.prompt());
        let pruned = pruning.map(|Pruning { output, node_threshold, edge_threshold }| {
            Pruned::new(graph, output.of_prompt(set.positions()), node_threshold, edge_threshold)
        });
        let node_threshold = pruned.as_ref().zip(pruning).map(|(pruned, pruning)| {
            let components =
                (0..graph.nodes.len()).filter(|&node| pruned.nodes[node] && graph.nodes[node].entry.layer.is_linear());
            let largest = components.map(|node| pruned.cumulative[node]).fold(0.0, f64::max);
            // The viewer hides nodes above the threshold, but pruning keeps the node that passes it. Its slider has steps
            // of 0.01.
            if largest <= pruning.node_threshold {
                pruning.node_threshold
            } else {
                ((largest * 100.0).ceil() / 100.0).clamp(largest, 1.0)
            }
        });
        let last = u32::try_from(set.positions()).unwrap_or(u32::MAX).saturating_sub(1);
        let probability = |&node: &usize| graph.nodes[node].probability.filter(|p| p.is_finite()).unwrap_or(0.0);
        let target_logit = (0..graph.nodes.len())
            .filter(|&node| graph.nodes[node].entry.layer.is_output() && graph.nodes[node].entry.position == last)
            .filter(|&node| set.is_token(graph.nodes[node].entry))
            .reduce(|best, node| if probability(&node) > probability(&best) { node } else { best });
        let layers = set.model().node_layers().map(|(layer, _)| layer);
        let metadata = Metadata {
            slug,
            // The viewer keeps a user's own labels by `scan` and feature, and features are those of the model.
            scan: format!("tributary-{}", set.model().fingerprint.chars().take(12).collect::<String>()),
            transcoder_list: [],
            prompt_tokens: prompt.texts()[..set.positions()].iter().map(|token| shown(token)).collect(),
            prompt: prompt.text.clone(),
            node_threshold,
            schema_version: 1,
            title_prefix: set.entry.name.clone(),
            generation_settings: (set.view != View::default()).then(|| set.view.into()),
        };
        Self { set, metadata, pruned, numbers: layers.zip(0..).collect(), target_logit }
    }

    /// Writes `SLUG.json`.
    pub(crate) fn write(&self, mut file: OutputFile) -> Result<(), ExportError> {
        let document = json_document(self);
        let path = file.path().to_owned();
        write_json(&document, &mut file).map_err(ExportError::io("write", &path))?;
        Ok(file.close()?)
    }

    /// Says what was written.
    pub(crate) fn summarise(&self, summary: &mut ExportedSet) {
        let graph = self.set.graph;
        let links = self.links().count();
        summary.nodes = (0..graph.nodes.len()).filter(|&node| self.keeps(node)).count();
        summary.ghosts = 0;
        summary.edges = links;
        let zero_edges = graph.zero();
        summary.left_out = LeftOut {
            pruned_nodes: graph.nodes.len() - summary.nodes,
            pruned_edges: graph.edges.len() - zero_edges - summary.not_finite - links,
            zero_edges,
            not_finite_edges: summary.not_finite,
        };
        if links > MANY_LINKS {
            summary.warnings.push(Warning::ManyLinks { links });
        }
        if links == 0 && summary.left_out.pruned_edges > 0 {
            summary.warnings.push(Warning::NothingCarried);
        }
        if self.metadata.prompt_tokens.len() == 1 {
            summary.warnings.push(Warning::OneToken);
        }
    }

    fn keeps(&self, node: usize) -> bool {
        self.pruned.as_ref().is_none_or(|pruned| pruned.nodes[node])
    }

    /// The edges that are written: JSON has no numbers that are not finite, and the viewer divides by sums of weights.
    fn links(&self) -> impl Iterator<Item = &'a Edge> + '_ {
        let keeps = |edge: usize| self.pruned.as_ref().is_none_or(|pruned| pruned.edges[edge]);
        let edges = self.set.graph.edges.iter().enumerate();
        edges.filter(move |&(i, edge)| edge.flows() && keeps(i)).map(|(_, edge)| edge)
    }

    /// Layer and feature by which the viewer and its users know a node: `E` and the token, or the number of the layer and
    /// the component or token.
    fn layer_and_feature(&self, node: &Node) -> (String, u32) {
        let entry = node.entry;
        match entry.layer.role() {
            Role::Embedding => ("E".to_owned(), self.set.prompt().tokens[entry.position as usize]),
            _ => (self.numbers[&entry.layer].to_string(), entry.component),
        }
    }

    fn node_id(&self, node: &Node) -> String {
        let (layer, feature) = self.layer_and_feature(node);
        format!("{layer}_{feature}_{}", node.entry.position)
    }

    fn node(&self, index: usize, node: &Node) -> ViewerNode {
        let entry = node.entry;
        let (layer, feature) = self.layer_and_feature(node);
        let token = shown(self.set.position_token(entry));
        let js_prefix = if entry.layer.is_output() { "L" } else { &layer };
        let token_prob = node.probability.filter(|p| p.is_finite()).unwrap_or(0.0);
        let (feature_type, feature_number, clerp) = match entry.layer.role() {
            Role::Embedding => ("embedding", u64::from(feature), format!("Emb: “{token}”")),
            Role::Output => {
                let token = self.set.manifest.output_text(entry.component);
                let target = node.target_probability.filter(|p| p.is_finite());
                ("logit", u64::from(feature), logit_label(&token, token_prob, target))
            }
            _ => {
                let clerp = format!("{} {} at “{token}”", entry.layer, entry.component);
                ("cross layer transcoder", cantor_pairing(self.numbers[&entry.layer], feature), clerp)
            }
        };
        ViewerNode {
            node_id: self.node_id(node),
            feature: feature_number,
            ctx_idx: entry.position,
            feature_type,
            token_prob,
            is_target_logit: self.target_logit == Some(index),
            run_idx: 0,
            reverse_ctx_idx: 0,
            js_node_id: format!("{js_prefix}_{feature}-{}", entry.position),
            clerp,
            influence: self.pruned.as_ref().map(|pruned| pruned.cumulative[index]),
            activation: node.activation.filter(|activation| activation.is_finite()),
            layer,
        }
    }
}

/// The number that stands for a component of a layer: with `schema_version` 1 the viewer takes it apart again.
fn cantor_pairing(layer: u32, component: u32) -> u64 {
    let (layer, component) = (u64::from(layer), u64::from(component));
    (layer + component) * (layer + component + 1) / 2 + component
}

struct ViewerNodes<'a>(&'a ViewerGraph<'a>);

impl Serialize for ViewerNodes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let nodes = self.0.set.graph.nodes.iter().enumerate().filter(|&(index, _)| self.0.keeps(index));
        serializer.collect_seq(nodes.map(|(index, node)| self.0.node(index, node)))
    }
}

struct Links<'a>(&'a ViewerGraph<'a>);

impl Serialize for Links<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let ids: Vec<String> = self.0.set.graph.nodes.iter().map(|node| self.0.node_id(node)).collect();
        let link = |edge: &Edge| Link {
            source: &ids[edge.source as usize],
            target: &ids[edge.target as usize],
            weight: edge.value,
        };
        serializer.collect_seq(self.0.links().map(link))
    }
}

#[derive(Serialize)]
struct Document<'a> {
    metadata: &'a Metadata,
    #[serde(rename = "qParams")]
    q_params: Value,
    nodes: ViewerNodes<'a>,
    links: Links<'a>,
}

fn json_document<'a>(graph: &'a ViewerGraph<'a>) -> Document<'a> {
    let q_params = json!({ "pinnedIds": [], "supernodes": [], "linkType": "both", "clickedId": "", "sg_pos": "" });
    Document { metadata: &graph.metadata, q_params, nodes: ViewerNodes(graph), links: Links(graph) }
}

/// What the list of the graphs in a folder is to say of the graphs that are added to it.
#[derive(Debug, Default)]
pub(crate) struct Added(Vec<Metadata>);

impl Added {
    pub(crate) fn push(&mut self, graph: &ViewerGraph<'_>) {
        self.0.push(graph.metadata.clone());
    }

    /// Extends the list. What it says of other graphs stays, so nobody else may write it meanwhile.
    pub(crate) fn extend_list(&self, transaction: &Transaction) -> Result<PathBuf, ExportError> {
        let mut graphs = read_list(transaction.folder())?;
        graphs.retain(|other| self.0.iter().all(|added| other["slug"] != *added.slug));
        graphs.extend(self.0.iter().map(|added| json!(added)));
        let mut file = transaction.create(METADATA_FILE, Replace::File)?;
        let path = file.path().to_owned();
        write_json(&json!({ "graphs": graphs }), &mut file).map_err(ExportError::io("write", &path))?;
        file.close()?;
        Ok(path)
    }
}

/// The list in a folder; empty when there is none.
pub(crate) fn read_list(folder: &Path) -> Result<Vec<Value>, ExportError> {
    /// Bytes of the longest list that is read.
    const LONGEST: u64 = 1 << 28;
    let path = folder.join(METADATA_FILE);
    if path.symlink_metadata().is_err() {
        return Ok(Vec::new());
    }
    let bytes = input::read(&path, "the viewer's list of graphs", LONGEST)?;
    let broken = |reason: String| ExportError::Metadata { path: path.clone(), reason };
    let mut list: Value = serde_json::from_slice(&bytes).map_err(|error| broken(error.to_string()))?;
    match list.get_mut("graphs").map(Value::take) {
        Some(Value::Array(graphs)) => Ok(graphs),
        Some(_) => Err(broken("\"graphs\" is not a list".to_owned())),
        None => Err(broken("it has no \"graphs\"".to_owned())),
    }
}
