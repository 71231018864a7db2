//! What is in the page, read back in another way than the page does.

use std::collections::BTreeMap;
use std::io::Read;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use sha2::{Digest, Sha256};
use tributary_graph::{Entry, Graph, Normalise, Sign, View};
use tributary_report::{Options, ReportError, Summary, write};
use tributary_results::{Delta, Forward, ResultError, ResultFolder, Settings};

use crate::case::{NASTY, nasty, nasty_as, settings};

/// The columns of a block, all as f64, which holds every u32 and f32.
type Columns = BTreeMap<String, Vec<f64>>;

struct Page {
    html: String,
    metadata: Value,
    summary: Summary,
}

impl Page {
    fn new(result: &ResultFolder, options: &Options) -> Self {
        let mut html = Vec::new();
        let summary = write(result, options, &mut html).unwrap();
        assert_eq!(summary.bytes, html.len() as u64);
        let html = String::from_utf8(html).unwrap();
        let metadata = serde_json::from_str(element(&html, "metadata")).unwrap();
        Self { html, metadata, summary }
    }

    fn block(&self, id: &str, columns: &Value) -> Columns {
        let packed = STANDARD.decode(element(&self.html, id)).unwrap();
        let mut planes = Vec::new();
        flate2::read::ZlibDecoder::new(&packed[..]).read_to_end(&mut planes).unwrap();
        let mut planes = planes.as_slice();
        let columns = columns.as_array().unwrap().iter().map(|column| {
            let (length, element) = (column["length"].as_u64().unwrap() as usize, column["type"].as_str().unwrap());
            let size = if element == "f64" { 8 } else { 4 };
            let (these, rest) = planes.split_at(size * length);
            planes = rest;
            let number = |i: usize| {
                let mut bytes = [0; 8];
                (0..size).for_each(|plane| bytes[plane] = these[plane * length + i]);
                let bits = u64::from_le_bytes(bytes);
                match element {
                    "u32" => bits as f64,
                    "f32" => f64::from(f32::from_bits(bits as u32)),
                    _ => f64::from_bits(bits),
                }
            };
            (column["name"].as_str().unwrap().to_owned(), (0..length).map(number).collect())
        });
        let columns = columns.collect();
        assert!(planes.is_empty());
        columns
    }
}

/// Text of the script element with this id.
fn element<'a>(html: &'a str, id: &str) -> &'a str {
    let (_, rest) = html.split_once(&format!("id=\"{id}\">")).unwrap();
    rest.split_once("</script>").unwrap().0
}

/// A number of a u32 column.
fn whole(number: f64) -> u32 {
    u32::try_from(number as i64).unwrap()
}

fn folder() -> (tempfile::TempDir, ResultFolder) {
    let folder = tempfile::tempdir().unwrap();
    let result = nasty(folder.path());
    (folder, result)
}

/// Every node, ghost and finite edge of every set is there with its numbers, edges in descending order, in every view.
#[test]
fn the_page_holds_the_graphs() {
    let (_folder, result) = folder();
    for sign in [Sign::Source, Sign::Target] {
        for normalise in [Normalise::None, Normalise::Target, Normalise::Layer] {
            for max_edges_per_set in [0, 40, 100_000] {
                check_page(&result, &Options { sets: None, max_edges_per_set, view: View { sign, normalise } });
            }
        }
    }
}

fn check_page(result: &ResultFolder, options: &Options) {
    let page = Page::new(result, options);
    assert_eq!(page.metadata["attributions"]["view"], serde_json::json!(options.view.described()));
    let mut shown = 0;
    for (number, prompt) in page.metadata["prompts"].as_array().unwrap().iter().enumerate() {
        let entries = page.block(&format!("prompt-{number}"), &prompt["columns"]);
        let layers = page.metadata["layers"].as_array().unwrap();
        let of = |column: &str, index: f64| whole(entries[column][whole(index) as usize]);
        let entry = |index: f64| Entry {
            layer: layers[of("layer", index) as usize]["name"].as_str().unwrap().parse().unwrap(),
            position: of("position", index),
            component: of("component", index),
        };
        for (index, set) in prompt["sets"].as_array().unwrap().iter().enumerate() {
            shown += 1;
            let columns = page.block(&format!("prompt-{number}-set-{index}"), &set["columns"]);
            let graph = options.view.of(&result.read_set(set["name"].as_str().unwrap()).unwrap());
            check_nodes(&columns, &graph, entry);
            check_edges(&columns, &graph, entry, options.max_edges_per_set);
            check_counts(set, &page.summary, &graph, &columns);
            check_prediction(&page, number, set, &columns, result);
            let in_manifest = result.manifest().set(&graph.set).unwrap();
            assert_eq!(prompt["text"], result.manifest().prompts[in_manifest.prompt].text);
        }
    }
    assert_eq!(shown, NASTY.len());
    assert_eq!(page.summary.sets.iter().map(|set| &set.name[..]).collect::<Vec<_>>(), NASTY);
}

/// What is said of attributions: nothing where they are the masked model's, as they were computed.
#[test]
fn the_page_says_where_attributions_were_evaluated_and_how_they_are_looked_at() {
    let (_folder, result) = folder();
    let page = Page::new(&result, &Options::default());
    assert_eq!(page.metadata["attributions"], serde_json::json!({ "evaluated": null, "view": null }));
    assert_eq!(page.metadata["computation"]["is_strict"], false);
    let folder = tempfile::tempdir().unwrap();
    for (delta, does) in [(Delta::Through, "pass through"), (Delta::Stopped, "stop at")] {
        let of = Settings { forward: Forward::Target, delta: Some(delta), ..settings() };
        let result = nasty_as(&folder.path().join(delta.name()), of);
        let view = View { sign: Sign::Target, ..View::default() };
        let page = Page::new(&result, &Options { view, ..Options::default() });
        assert_eq!(
            page.metadata["attributions"],
            serde_json::json!({
                "evaluated": format!("at the target model's activations, gradients {does} what no component holds of the weights"),
                "view": "signs: whether the source drives the target harder (+) or less hard (\u{2212})",
            })
        );
        assert_eq!(page.metadata["computation"]["is_strict"], true);
    }
}

fn check_nodes(columns: &Columns, graph: &Graph, entry: impl Fn(f64) -> Entry) {
    assert_eq!(columns["node"].len(), graph.nodes.len());
    // NaN is no number, as absence is.
    let number = |value: Option<f32>| f64::from(value.unwrap_or(f32::NAN)).to_bits();
    for (row, (&index, node)) in columns["node"].iter().zip(&graph.nodes).enumerate() {
        assert_eq!(entry(index), node.entry);
        assert_eq!(columns["ci"][row].to_bits(), number(node.ci));
        assert_eq!(columns["probability"][row].to_bits(), number(node.probability));
        assert_eq!(columns["activation"][row].to_bits(), number(node.activation));
        assert_eq!(columns["importance"][row].to_bits(), node.importance.to_bits());
        let flows = graph.edges.iter().filter(|edge| edge.value.is_finite() && edge.value != 0.0);
        let (mut incoming, mut outgoing) = (0.0, 0.0);
        for edge in flows {
            incoming += f64::from(u8::from(edge.target as usize == row));
            outgoing += f64::from(u8::from(edge.source as usize == row));
        }
        assert_eq!((columns["incoming"][row], columns["outgoing"][row]), (incoming, outgoing));
    }
    let ghosts: Vec<Entry> = columns["ghost"].iter().map(|&index| entry(index)).collect();
    assert_eq!(ghosts, graph.ghosts);
}

fn check_prediction(page: &Page, prompt: usize, set: &Value, columns: &Columns, result: &ResultFolder) {
    let read = result.read_set(set["name"].as_str().unwrap()).unwrap();
    let Some(prediction) = &read.prediction else {
        assert!(set["prediction"].is_null() && !columns.contains_key("kl"));
        return;
    };
    let found = read.faithfulness(|&value| value).unwrap();
    let said = &set["prediction"];
    assert_eq!(said["mean_kl"].as_f64().map(|kl| kl as f32), Some(found.mean_kl));
    assert_eq!(
        (said["agreeing"].as_u64(), said["is_far"].as_bool()),
        (Some(found.agreeing as u64), Some(found.is_far()))
    );
    assert_eq!(columns["kl"], prediction.kl.iter().copied().map(f64::from).collect::<Vec<_>>());
    assert_eq!(columns["likeliest"], prediction.likeliest.iter().copied().map(f64::from).collect::<Vec<_>>());
    let graph = Graph::new(&read);
    for (row, node) in graph.nodes.iter().enumerate() {
        let target = f64::from(node.target_probability.unwrap_or(f32::NAN));
        assert_eq!(columns["target_probability"][row].to_bits(), target.to_bits());
        assert_eq!(whole(columns["far"][row]), u32::from(node.is_far()));
    }
    let target = page.metadata["prompts"][prompt]["target_likeliest"].as_array().unwrap();
    for (found, expected) in target.iter().zip(&*prediction.target_likeliest) {
        let found: Vec<(u32, f32)> = serde_json::from_value(found.clone()).unwrap();
        assert!(found.iter().map(|&(token, _)| token).eq(expected.iter().map(|entry| entry.token)));
        assert!(found.iter().map(|&(_, prob)| prob).eq(expected.iter().map(|entry| entry.prob as f32)));
        for (token, _) in found {
            assert_eq!(page.metadata["output_tokens"][token.to_string()], result.manifest().output_text(token));
        }
    }
}

fn check_edges(columns: &Columns, graph: &Graph, entry: impl Fn(f64) -> Entry, limit: usize) {
    let mut expected: Vec<(Entry, Entry, f32)> = graph
        .edges
        .iter()
        .filter(|edge| edge.value.is_finite() && edge.value != 0.0)
        .map(|edge| (graph.nodes[edge.source as usize].entry, graph.nodes[edge.target as usize].entry, edge.value))
        .collect();
    expected.sort_by(|a, b| b.2.abs().total_cmp(&a.2.abs()));
    expected.truncate(limit);
    let found: Vec<(Entry, Entry, f32)> = (0..columns["value"].len())
        .map(|i| (entry(columns["source"][i]), entry(columns["target"][i]), columns["value"][i] as f32))
        .collect();
    // Random values of 24 bits differ but rarely; equal ones may stand in any order.
    assert_eq!(
        found.iter().map(|edge| edge.2.abs()).collect::<Vec<_>>(),
        expected.iter().map(|edge| edge.2.abs()).collect::<Vec<_>>()
    );
    for edge in &found {
        assert!(expected.contains(edge), "{edge:?}");
    }
}

fn check_counts(set: &Value, summary: &Summary, graph: &Graph, columns: &Columns) {
    let summary = summary.sets.iter().find(|known| known.name == graph.set).unwrap();
    assert_eq!(summary.written + summary.left_out + summary.zero + summary.not_finite, graph.edges.len());
    assert_eq!(summary.written, columns["value"].len());
    assert_eq!(summary.not_finite, graph.edges.iter().filter(|edge| !edge.value.is_finite()).count());
    assert_eq!(summary.zero, graph.edges.iter().filter(|edge| edge.value == 0.0).count());
    for (field, count) in [
        ("nodes", graph.nodes.len()),
        ("ghosts", graph.ghosts.len()),
        ("edges", graph.edges.len()),
        ("written", summary.written),
        ("left_out", summary.left_out),
        ("zero", summary.zero),
        ("not_finite", summary.not_finite),
    ] {
        assert_eq!(set[field], count, "{field}");
    }
    let mut sizes: Vec<f32> =
        graph.edges.iter().map(|edge| edge.value.abs()).filter(|size| size.is_finite() && *size > 0.0).collect();
    sizes.sort_by(|a, b| b.total_cmp(a));
    let largest_left_out = sizes.get(summary.written).copied().unwrap_or(0.0);
    assert_eq!(summary.largest_left_out.to_bits(), largest_left_out.to_bits());
    let magnitude: f64 = sizes.iter().map(|&size| f64::from(size)).sum();
    // Two sums of a few hundred numbers in different orders.
    assert!((set["magnitude"].as_f64().unwrap() - magnitude).abs() <= 1e-12 * magnitude);
}

/// Names, tokens and metadata come back letter by letter, and none of them is markup.
#[test]
fn texts_are_data() {
    let (_folder, result) = folder();
    let page = Page::new(&result, &Options::default());
    assert!(!page.html.contains("window.injected = 1</script>") && !page.html.contains("<img"));
    assert!(
        page.html
            .contains("<title>&lt;script&gt;window.injected = 3&lt;/script&gt; and 1 more \u{b7} tributary</title>")
    );
    let prompt = &page.metadata["prompts"][0];
    assert_eq!(prompt["token_strings"], serde_json::json!(result.manifest().prompts[0].texts()));
    assert_eq!(prompt["sets"][0]["metadata"]["note"], NASTY[0]);
    let tokens = page.metadata["output_tokens"].as_object().unwrap();
    assert!(!tokens.is_empty());
    for (id, token) in tokens {
        assert_eq!(*token, result.manifest().output_text(id.parse().unwrap()));
    }
    // The page has no script elements but its data and its script.
    let scripts = page.html.matches("<script").count();
    assert_eq!(scripts, 1 + 2 + NASTY.len() + 1);
}

/// The policy allows the one script and the one style that are in the page, and no network.
#[test]
fn the_policy_allows_what_is_there_and_nothing_else() {
    let (_folder, result) = folder();
    let page = Page::new(&result, &Options::default());
    let between = |start: &str, end: &str| page.html.rsplit_once(start).unwrap().1.split_once(end).unwrap().0;
    let hash = |text: &str| format!("'sha256-{}'", STANDARD.encode(Sha256::digest(text.as_bytes())));
    let policy = between("http-equiv=\"Content-Security-Policy\" content=\"", "\">");
    let rules: BTreeMap<&str, &str> = policy.split("; ").map(|rule| rule.split_once(' ').unwrap()).collect();
    assert_eq!(rules["default-src"], "'none'");
    assert_eq!(rules["style-src"], hash(between("<style>", "</style>")));
    assert_eq!(rules["script-src"], hash(between("<script>", "</script>")));
    assert_eq!(rules["img-src"], "data:");
    assert_eq!(rules.len(), 6, "{rules:?}");
}

#[test]
fn sets_are_chosen_by_name() {
    let (_folder, result) = folder();
    let choose =
        |sets: &[&str]| Options { sets: Some(sets.iter().map(|&set| set.to_owned()).collect()), ..Options::default() };
    let page = Page::new(&result, &choose(&[NASTY[3], NASTY[0], NASTY[3]]));
    assert_eq!(page.summary.sets.iter().map(|set| &set.name[..]).collect::<Vec<_>>(), [NASTY[3], NASTY[0]]);
    assert_eq!(page.metadata["prompts"].as_array().unwrap().len(), 1);
    let refused = write(&result, &choose(&["no such set"]), &mut Vec::new());
    assert!(matches!(refused, Err(ReportError::Result(ResultError::UnknownSet { .. }))));
    assert!(matches!(write(&result, &choose(&[]), &mut Vec::new()), Err(ReportError::NoSets { .. })));
}

#[test]
fn a_full_disk_is_an_error() {
    let (_folder, result) = folder();
    let mut small = [0; 1000];
    let failed = write(&result, &Options::default(), &mut &mut small[..]);
    assert!(matches!(failed, Err(ReportError::Write(_))));
}
