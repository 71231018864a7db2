//! The files for circuit-tracer's viewer: its schema, what its scripts take for granted, and the graph.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use tributary_export::{
    CIRCUIT_TRACER_SCHEMA, ExportedSet, Format, LeftOut, MANY_LINKS, METADATA_FILE, OutputPosition, Pruning, Warning,
};
use tributary_graph::{Entry, Graph, Influence, Pruned};
use tributary_model::{Layer, Role};
use tributary_results::SetEntry;

use crate::results::{NASTY, Written, cases};

const PRUNINGS: [Option<Pruning>; 4] = [
    None,
    Some(Pruning { output: OutputPosition::All, node_threshold: 0.8, edge_threshold: 0.98 }),
    Some(Pruning { output: OutputPosition::Last, node_threshold: 0.33, edge_threshold: 0.5 }),
    Some(Pruning { output: OutputPosition::At(0), node_threshold: 1.0, edge_threshold: 1.0 }),
];

fn read(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn assert_valid(schema: &jsonschema::Validator, read: &Value) {
    if let Some(error) = schema.iter_errors(read).next() {
        panic!("{}: {error}", error.instance_path());
    }
}

fn has_null(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(values) => values.iter().any(has_null),
        Value::Object(fields) => fields.values().any(has_null),
        _ => false,
    }
}

fn text<'a>(row: &'a Value, field: &str) -> &'a str {
    row[field].as_str().unwrap()
}

#[test]
fn viewer_files_say_what_the_graph_says() {
    let schema: Value = serde_json::from_str(CIRCUIT_TRACER_SCHEMA).unwrap();
    let graph_schema = jsonschema::draft202012::new(&schema).unwrap();
    let list = json!({ "$ref": "#/$defs/graph_metadata", "$defs": schema["$defs"] });
    let list_schema = jsonschema::draft202012::new(&list).unwrap();
    let (mut links, mut pruned) = (0, 0);
    for written in cases() {
        for pruning in PRUNINGS {
            let out = tempfile::tempdir().unwrap();
            let exported = written.export(out.path(), false, Format::CircuitTracer(pruning)).unwrap();
            let list = read(&exported.metadata.unwrap());
            assert_valid(&list_schema, &list);
            let list = list["graphs"].as_array().unwrap();
            assert_eq!(list.len(), written.sets().len());
            for ((summary, set), metadata) in exported.sets.iter().zip(written.sets()).zip(list) {
                let graph = read(&summary.files[0]);
                assert_valid(&graph_schema, &graph);
                assert!(!has_null(&graph) && !has_null(metadata));
                assert_eq!(&graph["metadata"], metadata);
                assert_eq!(out.path().join(format!("{}.json", text(metadata, "slug"))), summary.files[0]);
                assert_eq!(text(metadata, "title_prefix"), set.name);
                assert_eq!(text(metadata, "prompt"), written.folder.manifest().prompts[set.prompt].text);
                let expected = written.graph(set);
                assert_nodes(&graph, &written, set, &expected);
                assert_links(&graph, &expected, summary, pruning);
                assert_influence(&graph, &expected, pruning);
                links += summary.edges;
                pruned += summary.left_out.pruned_edges;
            }
        }
    }
    assert!(links > 10_000 && pruned > 10_000, "the cases are too small: {links} links, {pruned} pruned");
}

/// Entries by node id, with every field of the nodes looked at.
fn assert_nodes(read: &Value, written: &Written, set: &SetEntry, graph: &Graph) {
    let manifest = written.folder.manifest();
    let prompt = &manifest.prompts[set.prompt];
    let layers: Vec<Layer> = manifest.run.model.node_layers().map(|(layer, _)| layer).collect();
    let (mut ids, mut keys) = (HashSet::new(), HashSet::new());
    let mut likeliest: Option<(f32, bool)> = None;
    for row in read["nodes"].as_array().unwrap() {
        assert!(ids.insert(text(row, "node_id")));
        assert!(ids.insert(text(row, "jsNodeId")));
        assert!(keys.insert((text(row, "layer"), row["feature"].as_u64(), row["ctx_idx"].as_u64())));
        let entry = entry(text(row, "node_id"), &layers);
        let node = graph.nodes[graph.find(entry).unwrap()];
        assert_eq!(row["ctx_idx"], json!(entry.position));
        let activation = node.activation.filter(|activation| activation.is_finite());
        assert_eq!(row.get("activation").map(|value| value.as_f64().unwrap() as f32), activation);
        let component = u64::from(entry.component);
        match entry.layer.role() {
            Role::Embedding => {
                let token = prompt.tokens[entry.position as usize];
                assert_eq!(text(row, "node_id"), format!("E_{token}_{}", entry.position));
                assert_eq!((text(row, "feature_type"), &row["feature"]), ("embedding", &json!(token)));
            }
            Role::Output => {
                assert_eq!((text(row, "feature_type"), &row["feature"]), ("logit", &json!(component)));
                // As the viewer cuts it.
                let clerp = text(row, "clerp");
                let probability = node.probability.filter(|p| p.is_finite()).unwrap_or(0.0);
                assert_eq!(clerp.split("(p=").nth(1).unwrap().split(')').next().unwrap(), format!("{probability:.3}"));
                let target = node.target_probability.map_or_else(String::new, |p| format!(" (target {p:.3})"));
                assert!(clerp.ends_with(&format!("\" (p={probability:.3}){target}")), "{clerp}");
                let token = clerp.split('"').nth(1).unwrap().replace('\u{2060}', "").replace('\u{ff02}', "\"");
                let plain = |c: char| c >= ' ' && c != '\u{7f}';
                let expected = manifest.output_text(entry.component);
                assert_eq!(token.chars().count(), expected.chars().count());
                assert!(token.chars().zip(expected.chars()).all(|(found, c)| found == c || !plain(c)), "{token:?}");
                if entry.position as usize + 1 == prompt.tokens.len() {
                    let found = (probability, row["is_target_logit"].as_bool().unwrap());
                    if probability.is_finite() {
                        likeliest = likeliest.filter(|best| best.0 >= probability).or(Some(found));
                    }
                } else {
                    assert_eq!(row["is_target_logit"], json!(false));
                }
            }
            _ => {
                assert_eq!(text(row, "feature_type"), "cross layer transcoder");
                // Taken apart as the viewer does, in f64.
                let z = row["feature"].as_f64().unwrap();
                let w = (((8.0 * z + 1.0).sqrt() - 1.0) / 2.0).floor();
                let component = z - w * (w + 1.0) / 2.0;
                assert_eq!(
                    (component, (w - component).to_string()),
                    (f64::from(entry.component), text(row, "layer").to_owned())
                );
                assert!(text(row, "clerp").starts_with(&format!("{} {component} at “", entry.layer)));
            }
        }
        for shown in [text(row, "clerp")]
            .into_iter()
            .chain(read["metadata"]["prompt_tokens"].as_array().unwrap().iter().map(|token| token.as_str().unwrap()))
        {
            assert!(!shown.chars().any(|c| c < ' '), "{shown:?}");
            assert!(!["<s", "</", "<i", "<!", "&a", "&#"].iter().any(|markup| shown.contains(markup)), "{shown:?}");
        }
    }
    // Negative numbers stand for no probability; random results have them.
    assert!(likeliest.is_none_or(|(probability, is_target)| is_target || probability <= 0.0));
}

fn entry(id: &str, layers: &[Layer]) -> Entry {
    let parts: Vec<&str> = id.split('_').collect();
    let [layer, feature, position] = parts[..] else { panic!("{id} has not three parts") };
    let position = position.parse().unwrap();
    match layer {
        "E" => Entry { layer: Layer::wte(), position, component: 0 },
        number => {
            Entry { layer: layers[number.parse::<usize>().unwrap()], position, component: feature.parse().unwrap() }
        }
    }
}

/// The influence of nodes, and what pruning keeps.
fn expected(graph: &Graph, positions: usize, pruning: Pruning) -> (Vec<f64>, Pruned) {
    let position = match pruning.output {
        OutputPosition::All => None,
        OutputPosition::Last => Some(positions as u32 - 1),
        OutputPosition::At(position) => Some(position),
    };
    let pruned = Pruned::new(graph, position, pruning.node_threshold, pruning.edge_threshold);
    (Influence::new(graph, position).nodes, pruned)
}

fn assert_links(read: &Value, graph: &Graph, summary: &ExportedSet, pruning: Option<Pruning>) {
    let positions = read["metadata"]["prompt_tokens"].as_array().unwrap().len();
    let expected = pruning.map(|pruning| expected(graph, positions, pruning).1);
    let keeps_node = |node: usize| expected.as_ref().is_none_or(|pruned| pruned.nodes[node]);
    let keeps_edge = |edge: usize| expected.as_ref().is_none_or(|pruned| pruned.edges[edge]);
    // Nodes are in their order in the graph.
    let kept: Vec<usize> = (0..graph.nodes.len()).filter(|&node| keeps_node(node)).collect();
    let ids: Vec<&str> = read["nodes"].as_array().unwrap().iter().map(|row| text(row, "node_id")).collect();
    assert_eq!(ids.len(), kept.len());
    let nodes: HashMap<&str, usize> = ids.into_iter().zip(kept).collect();
    let mut weights: BTreeMap<(usize, usize), f32> = BTreeMap::new();
    for link in read["links"].as_array().unwrap() {
        let ends = (nodes[text(link, "source")], nodes[text(link, "target")]);
        assert!(weights.insert(ends, link["weight"].as_f64().unwrap() as f32).is_none());
    }
    let links: BTreeMap<(usize, usize), f32> = graph
        .edges
        .iter()
        .enumerate()
        .filter(|&(i, edge)| edge.value.is_finite() && edge.value != 0.0 && keeps_edge(i))
        .map(|(_, edge)| ((edge.source as usize, edge.target as usize), edge.value))
        .collect();
    assert_eq!(weights, links);
    assert_eq!((summary.nodes, summary.ghosts, summary.edges), (nodes.len(), 0, links.len()));
    let LeftOut { pruned_nodes, pruned_edges, zero_edges, not_finite_edges } = summary.left_out;
    assert_eq!(pruned_nodes, graph.nodes.len() - nodes.len());
    assert_eq!(zero_edges, graph.edges.iter().filter(|edge| edge.value == 0.0).count());
    assert_eq!(not_finite_edges, graph.edges.iter().filter(|edge| !edge.value.is_finite()).count());
    assert_eq!(not_finite_edges, summary.not_finite);
    assert_eq!(links.len() + pruned_edges + zero_edges + not_finite_edges, graph.edges.len());
    assert!(pruning.is_some() || (pruned_nodes, pruned_edges) == (0, 0));
    assert_eq!(summary.warnings.contains(&Warning::NothingCarried), links.is_empty() && pruned_edges > 0);
    assert_eq!(
        summary.warnings.contains(&Warning::OneToken),
        read["metadata"]["prompt_tokens"].as_array().unwrap().len() == 1
    );
}

fn assert_influence(read: &Value, graph: &Graph, pruning: Option<Pruning>) {
    let rows = read["nodes"].as_array().unwrap();
    let Some(pruning) = pruning else {
        assert!(read["metadata"].get("node_threshold").is_none());
        assert!(rows.iter().all(|row| row.get("influence").is_none()));
        return;
    };
    let threshold = read["metadata"]["node_threshold"].as_f64().unwrap();
    assert!((pruning.node_threshold..=1.0).contains(&threshold));
    let (carried, pruned) = expected(graph, read["metadata"]["prompt_tokens"].as_array().unwrap().len(), pruning);
    let kept = (0..graph.nodes.len()).filter(|&node| pruned.nodes[node]);
    let mut by_influence: Vec<(f64, f64)> = Vec::new();
    for (row, node) in rows.iter().zip(kept) {
        let influence = row["influence"].as_f64().unwrap();
        // The viewer hides what is above the threshold but for these.
        assert!(influence <= threshold || matches!(text(row, "feature_type"), "embedding" | "logit"));
        by_influence.push((carried[node], influence));
    }
    by_influence.sort_by(|a, b| b.0.total_cmp(&a.0));
    assert!(by_influence.windows(2).all(|pair| pair[0].0 <= pair[1].0 || pair[0].1 <= pair[1].1));
}

#[test]
fn the_schema_refuses_what_the_viewer_trips_over() {
    let schema = jsonschema::draft202012::new(&serde_json::from_str(CIRCUIT_TRACER_SCHEMA).unwrap()).unwrap();
    let exported = |seed| {
        let out = tempfile::tempdir().unwrap();
        let exported = Written::random(seed).export(out.path(), false, Format::CircuitTracer(PRUNINGS[3])).unwrap();
        read(&exported.sets[0].files[0])
    };
    let has_links = |graph: &Value| !graph["links"].as_array().unwrap().is_empty();
    let graph = (0..99).map(exported).find(has_links).unwrap();
    assert_valid(&schema, &graph);
    // Where there are links after pruning, there is a logit.
    let logit = graph["nodes"].as_array().unwrap().iter().position(|row| row["feature_type"] == "logit").unwrap();
    let logit = |field: &str| format!("/nodes/{logit}/{field}");
    let changes = [
        (logit("clerp"), json!("Output \"the\"")),
        (logit("layer"), json!("E")),
        (logit("layer"), json!(3)),
        (logit("activation"), Value::Null),
        (logit("influence"), Value::Null),
        ("/nodes/0/is_target_logit".to_owned(), json!(true)),
        ("/nodes/0/feature".to_owned(), json!(1.5)),
        ("/nodes/0/node_id".to_owned(), json!("E_1")),
        ("/links/0/weight".to_owned(), json!(0.0)),
        ("/links/0/weight".to_owned(), Value::Null),
        ("/qParams/linkType".to_owned(), json!("either")),
        ("/qParams/sg_pos".to_owned(), Value::Null),
        ("/metadata/schema_version".to_owned(), json!(0)),
        ("/metadata/transcoder_list".to_owned(), json!(["a"])),
        ("/metadata/node_threshold".to_owned(), Value::Null),
    ];
    for (pointer, value) in changes {
        let mut changed = graph.clone();
        *changed.pointer_mut(&pointer).unwrap() = value;
        assert!(!schema.is_valid(&changed), "{pointer}");
    }
    // A threshold asks for the influence of every node.
    let mut changed = graph;
    changed["nodes"][0].as_object_mut().unwrap().remove("influence").unwrap();
    assert!(!schema.is_valid(&changed));
    changed["metadata"].as_object_mut().unwrap().remove("node_threshold").unwrap();
    assert!(schema.is_valid(&changed));
}

#[test]
fn a_set_may_be_named_as_the_list_of_graphs() {
    let written = Written::nasty(100);
    let out = tempfile::tempdir().unwrap();
    let exported = written.export(out.path(), false, Format::CircuitTracer(None)).unwrap();
    let index = NASTY.iter().position(|name| *name == "graph-metadata").unwrap();
    assert_eq!(exported.sets[index].files, [out.path().join("graph-metadata_.json")]);
    assert_eq!(read(&out.path().join(METADATA_FILE))["graphs"].as_array().unwrap().len(), NASTY.len());
}

#[test]
fn the_list_keeps_graphs_of_others() {
    let out = tempfile::tempdir().unwrap();
    let list = out.path().join(METADATA_FILE);
    let other = json!({ "slug": "another", "of": ["someone"] });
    fs::write(&list, json!({ "graphs": [other] }).to_string()).unwrap();
    let written = Written::random(3);
    for force in [false, true] {
        written.export(out.path(), force, Format::CircuitTracer(Some(Pruning::default()))).unwrap();
        let graphs = read(&list)["graphs"].as_array().unwrap().clone();
        assert_eq!(graphs[0], other);
        let slugs: HashSet<&str> = graphs.iter().map(|graph| text(graph, "slug")).collect();
        assert_eq!(slugs.len(), graphs.len());
        assert!(graphs.len() > written.sets().len());
    }
}

#[test]
fn what_the_viewer_cannot_show_is_said() {
    for (components, many) in [(100, false), (150, true)] {
        let written = Written::full(components);
        let out = tempfile::tempdir().unwrap();
        let exported = written.export(out.path(), false, Format::CircuitTracer(None)).unwrap();
        let links = written.sets()[0].edges;
        assert_eq!(many, links > MANY_LINKS);
        let expected =
            if many { vec![Warning::ManyLinks { links }, Warning::OneToken] } else { vec![Warning::OneToken] };
        assert_eq!(exported.sets[0].warnings, expected);
        // It has no output node.
        let pruned = written.export(out.path(), true, Format::CircuitTracer(Some(Pruning::default()))).unwrap();
        assert_eq!((pruned.sets[0].edges, pruned.sets[0].left_out.pruned_edges), (0, links));
        assert_eq!(pruned.sets[0].warnings, [Warning::NothingCarried, Warning::OneToken]);
    }
}
