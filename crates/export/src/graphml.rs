//! GraphML.

use std::io::{self, Write};

use tributary_files::OutputFile;
use tributary_graph::Node;
use tributary_model::token_label;

use crate::computation::AtTarget;
use crate::set::{Set, json_text};
use crate::xml::{escape, number};
use crate::{ExportError, GRAPH_FORMAT, GRAPH_FORMAT_VERSION};

/// Domain, name and type of every attribute.
const KEYS: [(&str, &str, &str); 28] = [
    ("graph", "format", "string"),
    ("graph", "format_version", "int"),
    ("graph", "tool_version", "string"),
    ("graph", "set", "string"),
    ("graph", "prompt", "string"),
    ("graph", "tokens", "string"),
    ("graph", "token_strings", "string"),
    ("graph", "model_class", "string"),
    ("graph", "model_fingerprint", "string"),
    ("graph", "mean_kl", "float"),
    ("graph", "agreeing", "int"),
    ("graph", "forward", "string"),
    ("graph", "delta", "string"),
    ("graph", "sign", "string"),
    ("graph", "normalise", "string"),
    ("node", "label", "string"),
    ("node", "layer", "string"),
    ("node", "position", "int"),
    ("node", "component", "int"),
    ("node", "ci", "float"),
    ("node", "probability", "float"),
    ("node", "target_probability", "float"),
    ("node", "activation", "float"),
    ("node", "importance", "double"),
    ("node", "position_token", "string"),
    ("node", "output_token", "string"),
    ("edge", "value", "float"),
    // Tools take an edge's `weight` for its strength, which has no sign.
    ("edge", "weight", "float"),
];

pub(crate) fn write(set: Set<'_>, mut file: OutputFile) -> Result<(), ExportError> {
    let path = file.path().to_owned();
    document(set, &mut file).map_err(ExportError::io("write", &path))?;
    Ok(file.close()?)
}

fn document(set: Set<'_>, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, r#"<?xml version="1.0" encoding="UTF-8"?>"#)?;
    writeln!(out, r#"<graphml xmlns="http://graphml.graphdrawing.org/xmlns">"#)?;
    for (domain, name, kind) in KEYS {
        writeln!(out, r#"<key id="{domain}_{name}" for="{domain}" attr.name="{name}" attr.type="{kind}"/>"#)?;
    }
    writeln!(out, r#"<graph edgedefault="directed">"#)?;
    let (prompt, model) = (set.prompt(), set.model());
    data(out, "graph_format", GRAPH_FORMAT)?;
    data(out, "graph_format_version", &GRAPH_FORMAT_VERSION.to_string())?;
    data(out, "graph_tool_version", env!("CARGO_PKG_VERSION"))?;
    data(out, "graph_set", &set.entry.name)?;
    data(out, "graph_prompt", &prompt.text)?;
    data(out, "graph_tokens", &json_text(&prompt.tokens))?;
    data(out, "graph_token_strings", &xml_json(&prompt.token_strings))?;
    data(out, "graph_model_class", &model.class)?;
    data(out, "graph_model_fingerprint", &model.fingerprint)?;
    if let Some((found, _)) = set.prediction() {
        data(out, "graph_mean_kl", &number(found.mean_kl))?;
        data(out, "graph_agreeing", &found.agreeing.to_string())?;
    }
    if let Some(AtTarget { forward, delta }) = AtTarget::of(set) {
        data(out, "graph_forward", forward)?;
        delta.map_or(Ok(()), |delta| data(out, "graph_delta", delta))?;
    }
    data(out, "graph_sign", set.view.sign.name())?;
    data(out, "graph_normalise", set.view.normalise.name())?;
    let ids: Vec<String> = set.graph.nodes.iter().map(id).collect();
    for (id, node) in ids.iter().zip(&set.graph.nodes) {
        write_node(set, id, node, out)?;
    }
    for edge in &set.graph.edges {
        let (source, target) = (&ids[edge.source as usize], &ids[edge.target as usize]);
        let (value, weight) = (number(edge.value), number(edge.value.abs()));
        writeln!(
            out,
            r#"<edge source="{source}" target="{target}"><data key="edge_value">{value}</data><data key="edge_weight">{weight}</data></edge>"#
        )?;
    }
    writeln!(out, "</graph>\n</graphml>")
}

/// A node's id: layer, position and component, none of which needs to be escaped.
fn id(node: &Node) -> String {
    let entry = node.entry;
    format!("{}:{}:{}", entry.layer, entry.position, entry.component)
}

fn write_node(set: Set<'_>, id: &str, node: &Node, out: &mut impl Write) -> io::Result<()> {
    let entry = node.entry;
    let output_token = set.output_token(entry);
    writeln!(out, r#"<node id="{id}">"#)?;
    let label = match &output_token {
        Some(_) => format!("output {}", set.manifest.output_label(entry.component)),
        None if entry.layer.is_embedding() => format!("wte {}", token_label(set.position_token(entry))),
        None => format!("{} {}", entry.layer, entry.component),
    };
    data(out, "node_label", &label)?;
    data(out, "node_layer", &entry.layer.to_string())?;
    data(out, "node_position", &entry.position.to_string())?;
    data(out, "node_component", &entry.component.to_string())?;
    let numbers = [
        ("node_ci", node.ci),
        ("node_probability", node.probability),
        ("node_target_probability", node.target_probability),
        ("node_activation", node.activation),
    ];
    for (key, value) in numbers.into_iter().filter_map(|(key, value)| Some((key, value?))) {
        data(out, key, &number(value))?;
    }
    data(out, "node_importance", &number(node.importance))?;
    data(out, "node_position_token", set.position_token(entry))?;
    if let Some(token) = &output_token {
        data(out, "node_output_token", token)?;
    }
    writeln!(out, "</node>")
}

/// A list as JSON that XML can hold: of what XML forbids, JSON itself escapes all but these.
fn xml_json(list: &[String]) -> String {
    json_text(list).replace('\u{fffe}', "\\ufffe").replace('\u{ffff}', "\\uffff")
}

fn data(out: &mut impl Write, key: &str, value: &str) -> io::Result<()> {
    writeln!(out, r#"<data key="{key}">{}</data>"#, escape(value))
}
