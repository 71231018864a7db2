//! Graphs as the published app of param-decomp has them (`GraphData`), and their causal importances as a file of CI sets.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};
use serde_json::{Map, Value};
use tributary_files::OutputFile;
use tributary_graph::{Edge, Graph, Node};
use tributary_model::{Layer, canonical_names};
use tributary_results::Forward;

use crate::ExportError;
use crate::computation::Computation;
use crate::graph_json::write_json;
use crate::set::Set;
use crate::summary::{APP_EDGES, ExportedSet, LeftOut, Warning};

/// JSON Schema (2020-12) of the graph files of [`Format::ParamDecomp`](crate::Format::ParamDecomp); its definition `ci_sets` is
/// that of the files of CI sets beside them.
pub const PARAM_DECOMP_SCHEMA: &str = include_str!("../schema/param-decomp.schema.json");

/// What the app keeps of the optimisation that made a set.
const OPTIMISATION: [&str; 8] = ["imp_min_coeff", "steps", "pnorm", "beta", "mask_type", "loss", "metrics", "pgd"];

/// A set as the app takes it.
pub(crate) struct AppGraph<'a> {
    set: Set<'a>,
    /// The same graph, signed by what its targets do.
    by_target: &'a Graph,
    layers: BTreeMap<Layer, String>,
    /// What each node is called.
    names: Vec<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct GraphData<'a> {
    id: usize,
    graph_type: &'static str,
    tokens: &'a [String],
    edges: Edges<'a>,
    edges_abs: Edges<'a>,
    output_probs: BTreeMap<String, OutputProbability>,
    node_ci_vals: NodeValues<'a>,
    node_subcomp_acts: NodeValues<'a>,
    max_abs_attr: f32,
    max_abs_attr_abs: f32,
    max_abs_subcomp_act: f32,
    #[serde(rename = "l0_total")]
    l0_total: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    optimization: Option<Map<String, Value>>,
    tributary: Origin<'a>,
}

/// What the app has no field for.
#[derive(Serialize)]
struct Origin<'a> {
    tool_version: &'static str,
    set: &'a str,
    metadata: &'a Option<Value>,
    prompt: &'a str,
    token_ids: &'a [u32],
    model_class: &'a str,
    model_fingerprint: &'a str,
    layers: Layers<'a>,
    normalise: &'static str,
    computation: Computation<'a>,
}

#[derive(Serialize)]
struct OutputProbability {
    prob: Option<f32>,
    logit: Option<f32>,
    target_prob: Option<f32>,
    target_logit: Option<f32>,
    token: String,
}

#[derive(Serialize)]
struct EdgeData<'a> {
    src: &'a str,
    tgt: &'a str,
    val: f32,
    is_cross_seq: bool,
}

/// The edges that say something: the app's numbers are finite, and what it leaves out is 0.
struct Edges<'a> {
    graph: &'a Graph,
    names: &'a [String],
}

impl Serialize for Edges<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let of_pair = |(pair, edges): &'_ (tributary_model::Pair, std::ops::Range<usize>)| {
            let is_cross_seq = pair.crosses_positions;
            let edges = self.graph.edges[edges.clone()].iter().filter(|edge| edge.flows());
            edges.map(move |edge| EdgeData {
                src: &self.names[edge.source as usize],
                tgt: &self.names[edge.target as usize],
                val: edge.value,
                is_cross_seq,
            })
        };
        serializer.collect_seq(self.graph.pairs.iter().flat_map(of_pair))
    }
}

/// A finite value of each node that has one, by its name.
struct NodeValues<'a> {
    nodes: &'a [Node],
    names: &'a [String],
    value: fn(&Node) -> Option<f32>,
}

impl Serialize for NodeValues<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let named = self.nodes.iter().zip(self.names);
        serializer.collect_map(named.filter_map(|(node, name)| Some((name, finite((self.value)(node))?))))
    }
}

/// The model's own path of each layer that has nodes, by what it is called here, as data flows.
struct Layers<'a>(&'a BTreeMap<Layer, String>);

impl Serialize for Layers<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(layer, name)| (name, layer.path())))
    }
}

/// A file of CI sets, of one set that has a name.
#[derive(Serialize)]
struct CiSets<'a> {
    /// Without the text, of which a tokenizer may make others.
    tokens: &'a [u32],
    node_ci_vals: BTreeMap<&'a str, NodeValues<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<BTreeMap<&'a str, &'a Value>>,
}

impl<'a> AppGraph<'a> {
    pub(crate) fn new(set: Set<'a>, by_target: &'a Graph) -> Self {
        let layers: Vec<Layer> = set.model().node_layers().map(|(layer, _)| layer).collect();
        let layers = canonical_names(&layers);
        let name = |node: &Node| {
            let entry = node.entry;
            format!("{}:{}:{}", layers[&entry.layer], entry.position, entry.component)
        };
        let names = set.graph.nodes.iter().map(name).collect();
        Self { set, by_target, layers, names }
    }

    /// Writes the graph, and its causal importances as a CI set.
    pub(crate) fn write(&self, graph: OutputFile, ci_sets: OutputFile) -> Result<(), ExportError> {
        write(&self.graph_data(), graph)?;
        write(&self.ci_sets(), ci_sets)
    }

    /// Says what was written.
    pub(crate) fn summarise(&self, summary: &mut ExportedSet) {
        let edges = &self.set.graph.edges;
        summary.ghosts = 0;
        summary.edges = edges.iter().filter(|edge| edge.flows()).count();
        summary.left_out =
            LeftOut { zero_edges: self.set.graph.zero(), not_finite_edges: summary.not_finite, ..LeftOut::default() };
        if summary.edges > APP_EDGES {
            summary.warnings.push(Warning::ManyEdges { edges: summary.edges });
        }
    }

    fn graph_data(&self) -> GraphData<'_> {
        let Set { manifest, entry, graph, .. } = self.set;
        let prompt = self.set.prompt();
        let optimization = optimisation(entry.metadata.as_ref());
        let components = || graph.nodes.iter().filter(|node| node.entry.layer.is_linear());
        GraphData {
            id: manifest.sets.iter().position(|other| other.name == entry.name).unwrap_or_default(),
            graph_type: if optimization.is_some() { "optimized" } else { "standard" },
            tokens: &prompt.texts()[..self.set.positions()],
            edges: Edges { graph, names: &self.names },
            edges_abs: Edges { graph: self.by_target, names: &self.names },
            output_probs: self.output_probs(),
            node_ci_vals: self.values(shown_importance),
            node_subcomp_acts: self.values(component_activation),
            max_abs_attr: largest(graph.edges.iter().map(|edge| edge.value)),
            max_abs_attr_abs: largest(self.by_target.edges.iter().map(|edge: &Edge| edge.value)),
            max_abs_subcomp_act: largest(components().filter_map(|node| node.activation)),
            l0_total: components().count(),
            optimization,
            tributary: Origin {
                tool_version: env!("CARGO_PKG_VERSION"),
                set: &entry.name,
                metadata: &entry.metadata,
                prompt: &prompt.text,
                token_ids: &prompt.tokens,
                model_class: &self.set.model().class,
                model_fingerprint: &self.set.model().fingerprint,
                layers: Layers(&self.layers),
                normalise: self.set.view.normalise.name(),
                computation: Computation::of(self.set),
            },
        }
    }

    /// Probabilities and logits of the output nodes by `POSITION:TOKEN`. Results hold the logits of one of the two models.
    fn output_probs(&self) -> BTreeMap<String, OutputProbability> {
        let is_of_target = self.set.manifest.settings.forward == Forward::Target;
        let outputs = self.set.graph.nodes.iter().filter(|node| node.entry.layer.is_output());
        let of_node = |node: &Node| {
            let (entry, logit) = (node.entry, finite(node.activation));
            let known = OutputProbability {
                prob: finite(node.probability),
                logit: logit.filter(|_| !is_of_target),
                target_prob: finite(node.target_probability),
                target_logit: logit.filter(|_| is_of_target),
                token: self.set.manifest.output_text(entry.component),
            };
            (format!("{}:{}", entry.position, entry.component), known)
        };
        outputs.map(of_node).collect()
    }

    fn values(&self, value: fn(&Node) -> Option<f32>) -> NodeValues<'_> {
        NodeValues { nodes: &self.set.graph.nodes, names: &self.names, value }
    }

    fn ci_sets(&self) -> CiSets<'_> {
        let Set { entry, .. } = self.set;
        CiSets {
            tokens: &self.set.prompt().tokens,
            node_ci_vals: BTreeMap::from([(&*entry.name, self.values(|node| node.ci))]),
            metadata: entry.metadata.as_ref().map(|metadata| BTreeMap::from([(&*entry.name, metadata)])),
        }
    }
}

fn write(document: &impl Serialize, mut file: OutputFile) -> Result<(), ExportError> {
    let path = file.path().to_owned();
    write_json(document, &mut file).map_err(ExportError::io("write", &path))?;
    Ok(file.close()?)
}

/// What the app shows a node by: 1 for the embedding, the probability of an output, the causal importance of a component.
fn shown_importance(node: &Node) -> Option<f32> {
    if node.entry.layer.is_embedding() { Some(1.0) } else { node.ci.or(node.probability) }
}

fn component_activation(node: &Node) -> Option<f32> {
    node.activation.filter(|_| node.entry.layer.is_linear())
}

fn finite(value: Option<f32>) -> Option<f32> {
    value.filter(|value| value.is_finite())
}

/// The largest absolute value of those that are finite; 0 of none.
fn largest(values: impl Iterator<Item = f32>) -> f32 {
    values.filter(|value| value.is_finite()).fold(0.0, |largest, value| value.abs().max(largest))
}

/// What a set's metadata say of the optimisation that made it, by itself or under `optimization`; `None` where they do not say
/// what sparsity cost, without which it was none.
fn optimisation(metadata: Option<&Value>) -> Option<Map<String, Value>> {
    let metadata = metadata?.as_object()?;
    let said = metadata.get("optimization").and_then(Value::as_object).unwrap_or(metadata);
    let known = OPTIMISATION.iter().filter_map(|&key| Some((key.to_owned(), said.get(key)?.clone())));
    said.contains_key(OPTIMISATION[0]).then(|| known.collect())
}
