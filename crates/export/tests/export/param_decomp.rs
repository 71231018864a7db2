//! Graphs for param-decomp's app against the result they were made of.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};
use tributary_export::{APP_EDGES, Format, PARAM_DECOMP_SCHEMA, Warning};
use tributary_graph::{Normalise, Sign, View};
use tributary_model::{Layer, PairAttribution, Role, SetAttributions};
use tributary_results::{Delta, Forward, ResultFolder, ResultWriter, SetEntry};
use tributary_testing::RandomResults;

use crate::results::{Written, cases};

fn read(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// What the app calls a layer of a published class.
fn called(layer: Layer) -> String {
    let block = layer.block().unwrap_or_default();
    match layer.role() {
        Role::Embedding => "embed".to_owned(),
        Role::Output => "output".to_owned(),
        Role::Query => format!("{block}.attn.q"),
        Role::Key => format!("{block}.attn.k"),
        Role::Value => format!("{block}.attn.v"),
        Role::AttentionOutput => format!("{block}.attn.o"),
        Role::MlpUp => format!("{block}.mlp.up"),
        Role::MlpDown => format!("{block}.mlp.down"),
        other => panic!("{other:?}"),
    }
}

type Values = BTreeMap<String, f32>;

/// What a set's file holds, by the app's names. NaN and what overflowed are there.
#[derive(Default)]
struct Expected {
    components: Values,
    activations: Values,
    outputs: BTreeMap<String, [Option<f32>; 3]>,
    /// Source, target, value, value by the target's sign, whether the layers cross positions.
    edges: Vec<(String, String, f32, f32, bool)>,
}

impl Expected {
    fn of(set: &SetAttributions<f32>) -> Self {
        let mut expected = Self::default();
        let mut names = HashMap::<Layer, Vec<String>>::new();
        for (&layer, nodes) in &set.nodes {
            let named: Vec<String> = nodes.alive.iter().map(|(s, c)| format!("{}:{s}:{c}", called(layer))).collect();
            for (row, name) in named.iter().enumerate() {
                match layer.role() {
                    Role::Embedding => {}
                    Role::Output => {
                        let target = set.prediction.as_ref().map(|prediction| prediction.target_prob[row]);
                        let key = name.strip_prefix("output:").unwrap().to_owned();
                        let numbers = [Some(nodes.importance[row]), Some(nodes.activation[row]), target];
                        expected.outputs.insert(key, numbers);
                    }
                    _ => {
                        expected.components.insert(name.clone(), nodes.importance[row]);
                        expected.activations.insert(name.clone(), nodes.activation[row]);
                    }
                }
            }
            names.insert(layer, named);
        }
        for pair in &set.pairs {
            let (sources, targets) = (&names[&pair.pair.source], &names[&pair.pair.target]);
            for ((source, target), &value) in pair.edges().zip(&pair.values) {
                let activation = set.nodes[&pair.pair.target].activation[target];
                let sign = if activation > 0.0 {
                    1.0
                } else if activation < 0.0 {
                    -1.0
                } else {
                    // Of NaN, and none of 0.
                    activation
                };
                let ends = (sources[source].clone(), targets[target].clone());
                expected.edges.push((ends.0, ends.1, value, sign * value, pair.pair.crosses_positions));
            }
        }
        expected
    }
}

fn assert_number(found: &Value, expected: Option<f32>) {
    let expected = expected.filter(|value| value.is_finite());
    assert_eq!(found.as_f64().map(|found| found as f32), expected, "{found}");
    assert_eq!(found.is_null(), expected.is_none());
}

fn assert_values(found: &Value, expected: &Values) {
    let expected: BTreeMap<_, _> = expected.iter().filter(|(_, value)| value.is_finite()).collect();
    let found = found.as_object().unwrap();
    assert_eq!(found.keys().collect::<std::collections::BTreeSet<_>>(), expected.keys().copied().collect());
    for (name, value) in found {
        assert_number(value, Some(*expected[name]));
    }
}

fn assert_edges(found: &Value, largest: &Value, expected: impl Iterator<Item = (String, String, f32, bool)>) {
    let expected: Vec<_> = expected.filter(|(_, _, value, _)| value.is_finite() && *value != 0.0).collect();
    let found = found.as_array().unwrap();
    assert_eq!(found.len(), expected.len());
    for (found, (source, target, value, crosses)) in found.iter().zip(&expected) {
        assert_eq!((&found["src"], &found["tgt"]), (&json!(source), &json!(target)));
        assert_eq!(found["is_cross_seq"], json!(crosses));
        assert_number(&found["val"], Some(*value));
    }
    assert_number(largest, Some(expected.iter().fold(0.0, |most, (_, _, value, _)| value.abs().max(most))));
}

fn assert_says(found: &Value, written: &Written, set: &SetEntry) {
    let (manifest, prompt) = (written.folder.manifest(), &written.folder.manifest().prompts[set.prompt]);
    let expected = Expected::of(&written.folder.read_set(&set.name).unwrap());
    assert_eq!(found["tokens"], json!(prompt.texts()));
    let edges = |by_target: bool| {
        let edges = expected.edges.iter().cloned();
        edges.map(move |(from, to, value, abs, crosses)| (from, to, if by_target { abs } else { value }, crosses))
    };
    assert_edges(&found["edges"], &found["maxAbsAttr"], edges(false));
    assert_edges(&found["edgesAbs"], &found["maxAbsAttrAbs"], edges(true));
    assert_values(&found["nodeSubcompActs"], &expected.activations);
    let mut shown = expected.components.clone();
    shown.extend((0..prompt.tokens.len()).map(|position| (format!("embed:{position}:0"), 1.0)));
    shown.extend(expected.outputs.iter().map(|(key, numbers)| (format!("output:{key}"), numbers[0].unwrap())));
    assert_values(&found["nodeCiVals"], &shown);
    assert_eq!(found["l0_total"], json!(expected.components.len()));
    let activations = expected.activations.values().filter(|value| value.is_finite());
    assert_number(&found["maxAbsSubcompAct"], Some(activations.fold(0.0, |most, value| value.abs().max(most))));
    let outputs = found["outputProbs"].as_object().unwrap();
    assert_eq!(outputs.len(), expected.outputs.len());
    for (key, [probability, logit, target]) in &expected.outputs {
        let found = &outputs[key];
        assert_number(&found["prob"], *probability);
        assert_number(&found["logit"], *logit);
        assert_number(&found["target_prob"], *target);
        assert_number(&found["target_logit"], None);
        let token: u32 = key.split_once(':').unwrap().1.parse().unwrap();
        assert_eq!(found["token"], json!(manifest.output_text(token)));
    }
    let own = &found["tributary"];
    assert_eq!((&own["set"], &own["metadata"]), (&json!(set.name), &json!(set.metadata)));
    assert_eq!((&own["prompt"], &own["token_ids"]), (&json!(prompt.text), &json!(prompt.tokens)));
    let layers: Vec<(String, String)> =
        manifest.run.model.node_layers().map(|(layer, _)| (called(layer), layer.to_string())).collect();
    let found: Vec<(String, String)> = serde_json::from_value::<serde_json::Map<String, Value>>(own["layers"].clone())
        .unwrap()
        .into_iter()
        .map(|(name, path)| (name, path.as_str().unwrap().to_owned()))
        .collect();
    assert_eq!(found, layers);
}

#[test]
fn the_app_gets_what_the_result_holds() {
    let schema: Value = serde_json::from_str(PARAM_DECOMP_SCHEMA).unwrap();
    let graphs = jsonschema::draft202012::new(&schema).unwrap();
    let ci_sets = json!({ "$ref": "#/$defs/ci_sets", "$defs": schema["$defs"] });
    let ci_sets = jsonschema::draft202012::new(&ci_sets).unwrap();
    let (mut edges, mut left_out) = (0, 0);
    for written in cases() {
        let out = tempfile::tempdir().unwrap();
        let exported = written.export(out.path(), false, Format::ParamDecomp).unwrap();
        for (number, (set, summary)) in written.sets().iter().zip(&exported.sets).enumerate() {
            let stem = out.path().join(set.stem());
            assert_eq!(summary.files, [stem.with_extension("json"), stem.with_extension("ci.json")]);
            let [graph, sets] = [0, 1].map(|file: usize| read(&summary.files[file]));
            for (schema, read) in [(&graphs, &graph), (&ci_sets, &sets)] {
                if let Some(error) = schema.iter_errors(read).next() {
                    panic!("{}: {error}", error.instance_path());
                }
            }
            assert_eq!((&graph["id"], &graph["graphType"]), (&json!(number), &json!("standard")));
            assert_says(&graph, &written, set);
            let components = Expected::of(&written.folder.read_set(&set.name).unwrap()).components;
            assert_values(&sets["node_ci_vals"][&set.name], &components);
            assert_eq!(sets["tokens"], graph["tributary"]["token_ids"]);
            assert_eq!(sets.get("metadata"), set.metadata.clone().map(|it| json!({ &set.name: it })).as_ref());
            assert_eq!(summary.edges, graph["edges"].as_array().unwrap().len());
            assert_eq!(summary.left_out.not_finite_edges, summary.not_finite);
            assert_eq!(set.edges, summary.edges + summary.left_out.zero_edges + summary.not_finite);
            edges += summary.edges;
            left_out += set.edges - summary.edges;
        }
    }
    assert!(edges > 10_000 && left_out > 1000, "the cases are too small: {edges} edges, {left_out} left out");
}

/// A result of one set that has these metadata.
fn with_metadata(metadata: Value, edit: impl FnOnce(&mut tributary_results::Settings)) -> Written {
    let results = RandomResults::new(7);
    let mut settings = results.settings();
    edit(&mut settings);
    let dir = tempfile::tempdir().unwrap();
    let mut writer = ResultWriter::create(dir.path(), false, settings).unwrap();
    let (set, prompt) = &results.sets[0];
    writer.write_set(0, set, prompt, Some(metadata)).unwrap();
    writer.finish(results.run_info()).unwrap();
    Written { folder: ResultFolder::open(dir.path()).unwrap(), dir }
}

fn exported(written: &Written, view: View) -> Value {
    let out = tempfile::tempdir().unwrap();
    read(&written.export_as(view, out.path(), false, Format::ParamDecomp).unwrap().sets[0].files[0])
}

#[test]
fn an_optimised_set_says_how_it_was() {
    let loss = json!({"type": "ce", "coeff": 0.5, "position": 2, "label_token": 3, "label_str": "c"});
    let optimised = json!({"imp_min_coeff": 0.1, "steps": 2000, "pnorm": 0.3, "loss": loss, "seed": 4});
    let expected = json!({"imp_min_coeff": 0.1, "steps": 2000, "pnorm": 0.3, "loss": loss});
    for metadata in [optimised.clone(), json!({"optimization": optimised, "note": "mine"})] {
        let graph = exported(&with_metadata(metadata.clone(), |_| {}), View::default());
        assert_eq!((&graph["graphType"], &graph["optimization"]), (&json!("optimized"), &expected));
        assert_eq!(graph["tributary"]["metadata"], metadata);
    }
    for metadata in [json!({"steps": 2000}), json!("imp_min_coeff"), json!({"optimization": {"steps": 1}}), json!([])] {
        let graph = exported(&with_metadata(metadata, |_| {}), View::default());
        assert_eq!((&graph["graphType"], graph.get("optimization")), (&json!("standard"), None));
    }
}

#[test]
fn logits_are_those_of_the_model_that_was_evaluated() {
    let at_target = with_metadata(Value::Null, |settings| {
        settings.forward = Forward::Target;
        settings.delta = Some(Delta::Stopped);
    });
    let masked = with_metadata(Value::Null, |_| {});
    let [at_target, masked] = [at_target, masked].map(|written| exported(&written, View::default()));
    assert_eq!(at_target["tributary"]["computation"]["forward"], "target");
    assert_eq!(at_target["tributary"]["computation"]["delta"], "stopped");
    assert_eq!(masked["tributary"]["computation"].get("forward"), None);
    let outputs = masked["outputProbs"].as_object().unwrap();
    assert!(!outputs.is_empty());
    for (key, of_masked) in outputs {
        let of_target = &at_target["outputProbs"][key];
        assert!(of_masked["logit"].is_number() && of_masked["target_logit"].is_null());
        assert!(of_target["logit"].is_null());
        assert_eq!((&of_target["target_logit"], &of_target["prob"]), (&of_masked["logit"], &of_masked["prob"]));
    }
}

#[test]
fn both_lists_are_normalised_and_neither_sign_is_chosen() {
    let written = Written::random(7);
    let target = View { normalise: Normalise::Target, ..View::default() };
    let graph = exported(&written, target);
    assert_eq!(graph["tributary"]["normalise"], "target");
    for list in ["edges", "edgesAbs"] {
        let mut squares = HashMap::<&str, f64>::new();
        for edge in graph[list].as_array().unwrap() {
            *squares.entry(edge["tgt"].as_str().unwrap()).or_default() += edge["val"].as_f64().unwrap().powi(2);
        }
        assert!(squares.len() > 3);
        for (target, square) in squares {
            assert!((square - 1.0).abs() < 1e-5, "{square} to {target} in {list}");
        }
    }
    let parent = tempfile::tempdir().unwrap();
    let view = View { sign: Sign::Target, ..View::default() };
    let error = written.export_as(view, &parent.path().join("out"), false, Format::ParamDecomp).unwrap_err();
    assert!(error.to_string().contains("hold attributions with both signs"), "{error}");
    assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);
}

#[test]
fn more_edges_than_the_app_shows_are_warned_of() {
    let written = Written::full(300);
    let out = tempfile::tempdir().unwrap();
    let exported = written.export(out.path(), false, Format::ParamDecomp).unwrap();
    let edges = written.sets()[0].edges;
    assert!(edges > APP_EDGES && exported.sets[0].edges == edges);
    assert_eq!(exported.sets[0].warnings, [Warning::ManyEdges { edges }]);
}

#[test]
fn tokens_end_where_the_set_does() {
    let is_long = |results: &RandomResults| results.sets[0].1.tokens.len() > 1;
    let mut results = (0..20).map(RandomResults::new).find(is_long).unwrap();
    let (mut set, prompt) = results.sets.swap_remove(0);
    set.until = Some(0);
    for nodes in set.nodes.values_mut() {
        nodes.alive = Arc::new(nodes.alive.until(0));
        nodes.importance.truncate(nodes.alive.len());
        nodes.activation.truncate(nodes.alive.len());
    }
    if let Some(prediction) = &mut set.prediction {
        prediction.target_prob.truncate(set.nodes[&Layer::output()].alive.len());
    }
    for pair in &mut set.pairs {
        let empty = PairAttribution::between(pair.pair, &set.nodes);
        *pair = PairAttribution { values: vec![0.5; empty.edge_count()], ..empty };
    }
    results.sets = vec![(set, prompt)];
    let dir = tempfile::tempdir().unwrap();
    results.write(dir.path(), false).unwrap();
    let graph = exported(&Written { folder: ResultFolder::open(dir.path()).unwrap(), dir }, View::default());
    assert_eq!(graph["tokens"].as_array().unwrap().len(), 1);
    assert!(graph["tributary"]["token_ids"].as_array().unwrap().len() > 1);
}
