//! GraphML against the graph, through an XML parser.

use std::collections::HashMap;
use std::fs;

use roxmltree::{Document, Node};
use tributary_export::Format;

use crate::results::{assert_counts, cases};

/// What XML cannot hold is its escape.
fn shown(text: &str) -> String {
    let forbidden = |c: char| (c < ' ' && !matches!(c, '\t' | '\n' | '\r')) || matches!(c, '\u{fffe}' | '\u{ffff}');
    text.chars().map(|c| if forbidden(c) { c.escape_unicode().to_string() } else { c.to_string() }).collect()
}

/// A number as XML Schema spells it.
fn number(text: &str) -> f32 {
    match text {
        "INF" => f32::INFINITY,
        "-INF" => f32::NEG_INFINITY,
        "NaN" => f32::NAN,
        _ => text.parse().unwrap(),
    }
}

fn data<'a>(element: Node<'a, 'a>) -> HashMap<&'a str, &'a str> {
    let data = element.children().filter(|child| child.has_tag_name(("http://graphml.graphdrawing.org/xmlns", "data")));
    data.map(|data| (data.attribute("key").unwrap(), data.text().unwrap_or_default())).collect()
}

#[test]
fn graphml_reads_back_as_the_graph() {
    for written in cases() {
        let manifest = written.folder.manifest();
        let out = tempfile::tempdir().unwrap();
        let exported = written.export(out.path(), false, Format::GraphMl).unwrap();
        assert_counts(&exported, &written, false);
        for (set, summary) in written.sets().iter().zip(&exported.sets) {
            let (graph, prompt) = (written.graph(set), &manifest.prompts[set.prompt]);
            let text = fs::read_to_string(&summary.files[0]).unwrap();
            let document = Document::parse(&text).unwrap();
            let elements = |name| document.descendants().filter(move |element| element.tag_name().name() == name);
            let about = data(elements("graph").next().unwrap());
            assert_eq!((about["graph_set"], about["graph_prompt"]), (&*shown(&set.name), &*shown(&prompt.text)));
            let kl = about.get("graph_mean_kl").map(|text| number(text));
            assert_eq!(kl, set.prediction.map(|prediction| prediction.mean_kl));
            let agreeing = about.get("graph_agreeing").map(|text| text.parse().unwrap());
            assert_eq!(agreeing, set.prediction.map(|prediction| prediction.agreeing));
            let tokens: Vec<String> = serde_json::from_str(about["graph_token_strings"]).unwrap();
            assert_eq!(tokens, prompt.token_strings);
            let nodes: Vec<_> = elements("node").collect();
            assert_eq!(nodes.len(), graph.nodes.len());
            for (element, node) in nodes.iter().zip(&graph.nodes) {
                let (entry, data) = (node.entry, data(*element));
                let found = [data["node_layer"], data["node_position"], data["node_component"]];
                let expected = [entry.layer.to_string(), entry.position.to_string(), entry.component.to_string()];
                assert_eq!(found, expected);
                assert_eq!(element.attribute("id").unwrap(), expected.join(":"));
                assert_eq!(data["node_position_token"], shown(&prompt.texts()[entry.position as usize]));
                let token = (entry.layer.is_output()).then(|| shown(&manifest.output_text(entry.component)));
                assert_eq!(data.get("node_output_token").copied(), token.as_deref());
                assert_eq!(data["node_importance"].parse(), Ok(node.importance));
                let numbers = [
                    ("node_ci", node.ci),
                    ("node_probability", node.probability),
                    ("node_target_probability", node.target_probability),
                    ("node_activation", node.activation),
                ];
                for (key, value) in numbers {
                    assert_eq!(data.get(key).map(|text| bits(number(text))), value.map(bits), "{key}");
                }
            }
            let edges: Vec<_> = elements("edge").collect();
            assert_eq!(edges.len(), graph.edges.len());
            for (element, edge) in edges.iter().zip(&graph.edges) {
                for (end, node) in [("source", edge.source), ("target", edge.target)] {
                    assert_eq!(element.attribute(end), nodes[node as usize].attribute("id"));
                }
                let data = data(*element);
                assert_eq!(bits(number(data["edge_value"])), bits(edge.value));
                assert_eq!(bits(number(data["edge_weight"])), bits(edge.value.abs()));
            }
        }
    }
}

/// Equal for all NaN, which have no sign in XML.
fn bits(value: f32) -> u32 {
    if value.is_nan() { f32::NAN.to_bits() } else { value.to_bits() }
}
