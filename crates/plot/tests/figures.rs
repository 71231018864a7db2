//! Figures, read back: what they show is what the graph holds.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use insta::{Settings, assert_snapshot};
use resvg::tiny_skia::Pixmap;
use roxmltree::{Document, Node};
use serde_json::json;
use tributary_graph::{Entry, Graph, Limits, Selection};
use tributary_model::{AliveEntries, Faithfulness, Layer, Role, SetAttributions, token_heading};
use tributary_plot::{Figure, PlotOptions, Scale, png};
use tributary_results::{Manifest, ResultFolder};

fn walked() -> ResultFolder {
    ResultFolder::open(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/results/walked")).unwrap()
}

fn graph(result: &ResultFolder, set: &str) -> Graph {
    Graph::new(&result.read_set(set).unwrap())
}

fn options(min_edge: Option<f32>, top_edges: Option<usize>) -> PlotOptions {
    PlotOptions { limits: Limits { min_edge, top_edges }, ..PlotOptions::default() }
}

/// The first set's figure of a graph, which may be another than the manifest counts.
fn figure<'a>(graph: &'a Graph, manifest: &'a Manifest, options: &PlotOptions) -> Figure<'a> {
    Figure::new(graph, manifest, &manifest.sets[0], options)
}

fn classed<'a, 'i>(svg: &'a Document<'i>, class: &str) -> Vec<Node<'a, 'i>> {
    let has = |node: &Node| node.attribute("class").is_some_and(|classes| classes.split(' ').any(|c| c == class));
    svg.descendants().filter(has).collect()
}

fn title(node: Node<'_, '_>) -> String {
    let title = node.children().find(|child| child.has_tag_name("title")).unwrap();
    title.text().unwrap_or_default().to_owned()
}

/// The text without its title.
fn text(node: Node<'_, '_>) -> String {
    node.children().filter(Node::is_text).filter_map(|child| child.text()).collect()
}

fn number(node: Node<'_, '_>, attribute: &str) -> f64 {
    node.attribute(attribute).unwrap().parse().unwrap()
}

/// How titles name an entry.
fn name(entry: Entry, manifest: &Manifest) -> String {
    let at = format!("at {} ({})", entry.position, manifest.prompts[0].labels()[entry.position as usize]);
    match entry.layer.role() {
        Role::Embedding => format!("wte {at}"),
        Role::Output => format!("output {} (token {}) {at}", manifest.output_label(entry.component), entry.component),
        _ => format!("{} {} {at}", entry.layer, entry.component),
    }
}

/// Holds every mark of a figure to the graph.
fn check(graph: &Graph, manifest: &Manifest, options: &PlotOptions) {
    let figure = figure(graph, manifest, options);
    let svg = figure.svg();
    let svg = Document::parse(&svg).unwrap();
    let left_out = figure.left_out();
    // Nodes: each once, by kind, with its name and numbers; the others are counted beside their cells.
    let nodes = classed(&svg, "node");
    let ghosts = classed(&svg, "ghost");
    assert_eq!(nodes.len() + left_out.nodes, graph.nodes.len());
    assert_eq!(ghosts.len() + left_out.ghosts, graph.ghosts.len());
    let marked: usize = classed(&svg, "hidden").into_iter().map(|node| text(node)[1..].parse::<usize>().unwrap()).sum();
    assert_eq!(marked, left_out.nodes);
    let mut centres = BTreeMap::new();
    for node in nodes {
        let title = title(node);
        let (entry, numbers) = title.rsplit_once(": ").unwrap();
        let known = graph.nodes.iter().find(|node| name(node.entry, manifest) == entry).unwrap();
        let kind = known.entry.layer.role().name();
        assert_eq!(node.attribute("class").unwrap(), format!("node {kind}"));
        let named = [
            ("CI", known.ci),
            ("probability", known.probability),
            ("target probability", known.target_probability),
            ("activation", known.activation),
        ];
        for (what, value) in named {
            let shown = numbers.split(", ").find_map(|number| number.strip_prefix(&format!("{what} ")));
            assert_eq!(shown.map(|shown| shown.parse::<f32>().unwrap().to_bits()), value.map(f32::to_bits));
        }
        assert!(centres.insert(known.entry, (number(node, "cx"), number(node, "cy"))).is_none(), "{entry} twice");
    }
    for ghost in &ghosts {
        let title = title(*ghost);
        let entry = title.strip_suffix(" (ghost)").unwrap();
        assert!(graph.ghosts.iter().any(|ghost| name(*ghost, manifest) == entry), "{entry}");
        assert_eq!(ghost.attribute("fill"), Some("none"));
    }
    // Edges: the strongest, each from its source to its target, coloured by sign, wider when stronger.
    let selection = Selection::new(graph, options.limits);
    let edges = classed(&svg, "edge");
    assert_eq!(edges.len(), selection.edges.len());
    assert_eq!((figure.edge_count(), left_out.edges), (edges.len(), selection.left_out));
    let mut widths = Vec::new();
    // The weakest is drawn first.
    for (node, &edge) in edges.into_iter().rev().zip(&selection.edges) {
        let edge = graph.edges[edge as usize];
        let ends = [edge.source, edge.target].map(|node| graph.nodes[node as usize].entry);
        let expected = format!("{} → {}: {:e}", name(ends[0], manifest), name(ends[1], manifest), edge.value);
        assert_eq!(title(node), expected);
        let sign = if edge.value > 0.0 { "edge positive" } else { "edge negative" };
        assert_eq!(node.attribute("class"), Some(sign));
        let path: Vec<f64> =
            node.attribute("d").unwrap()[1..].split(['C', ' ']).map(|number| number.parse().unwrap()).collect();
        let (from, to) = (centres[&ends[0]], centres[&ends[1]]);
        assert_eq!(path[..2], [from.0, from.1]);
        assert_eq!(path[6..], [to.0, to.1]);
        assert!(from.1 > to.1, "data flows upwards");
        widths.push(number(node, "stroke-width"));
    }
    assert!(widths.windows(2).all(|pair| pair[0] >= pair[1]));
    // Circles and labels are apart, and all of it is on the page.
    let root = svg.root_element();
    let centres: BTreeSet<(i64, i64)> =
        centres.values().map(|&(x, y)| ((x * 100.0) as i64, (y * 100.0) as i64)).collect();
    assert_eq!(centres.len() + left_out.nodes, graph.nodes.len());
    assert!(centres.iter().all(|&(x, y)| {
        x >= 0 && y >= 0 && (x as f64) < number(root, "width") * 100.0 && (y as f64) < number(root, "height") * 100.0
    }));
    let tokens: Vec<String> = classed(&svg, "token").into_iter().map(text).collect();
    assert_eq!(tokens.len(), manifest.prompts[0].token_strings.len());
}

#[test]
fn figures_show_what_the_graph_holds() {
    let result = walked();
    for set in ["seed_0", "seed_1"] {
        let graph = graph(&result, set);
        for options in [
            PlotOptions::default(),
            options(None, None),
            options(None, Some(0)),
            options(Some(0.5), None),
            options(Some(0.01), Some(1000)),
            options(Some(1e30), None),
        ] {
            check(&graph, result.manifest(), &options);
        }
    }
}

#[test]
fn output_nodes_bear_token_and_probability() {
    let result = walked();
    let graph = graph(&result, "seed_0");
    let svg = figure(&graph, result.manifest(), &PlotOptions::default()).svg();
    let svg = Document::parse(&svg).unwrap();
    let labels: BTreeSet<String> = classed(&svg, "output-label").into_iter().map(text).collect();
    let outputs = graph.nodes.iter().filter(|node| node.entry.layer.is_output());
    let expected: BTreeSet<String> = outputs
        .map(|node| {
            let (probability, target) = (node.probability.unwrap(), node.target_probability.unwrap());
            let label =
                format!("{} {probability:.2}", token_heading(&result.manifest().output_label(node.entry.component)));
            // The columns of four positions have room for both.
            if !node.is_far() {
                label
            } else if target < 0.01 {
                format!("{label} (target {target:.0e})")
            } else {
                format!("{label} (target {target:.2})")
            }
        })
        .collect();
    assert!(expected.contains("and 0.46"), "the tokens are known: {expected:?}");
    assert_eq!(labels, expected);
    let layers: Vec<String> = classed(&svg, "layer").into_iter().map(text).collect();
    let expected =
        ["wte", "h.0.attn q · k · v", "h.0.attn.o_proj", "h.0.mlp.c_fc", "h.0.mlp.down_proj", "h.1.attn q · k · v"];
    assert_eq!(layers[..6], expected);
    assert_eq!(layers.last().map(String::as_str), Some("output"));
}

#[test]
fn figures_say_how_far_a_set_is_from_the_target_model() {
    let result = walked();
    let graph = graph(&result, "seed_0");
    let mut manifest = result.manifest().clone();
    let near = Faithfulness { mean_kl: 0.25, positions: 4, agreeing: 3, far_outputs: 0, farthest: None };
    let far = Faithfulness { mean_kl: 1.25, far_outputs: 2, ..near };
    for (prediction, warnings) in [(None, 0), (Some(near), 0), (Some(far), 2)] {
        manifest.sets[0].prediction = prediction;
        let svg = figure(&graph, &manifest, &PlotOptions::default()).svg();
        let svg = Document::parse(&svg).unwrap();
        let shown: Vec<Node> = classed(&svg, "prediction");
        assert_eq!(
            shown.iter().map(|&node| text(node)).collect::<Vec<_>>(),
            prediction.iter().map(Faithfulness::to_string).collect::<Vec<_>>()
        );
        // Nothing else has the colour of a warning but labels of nodes.
        let remarks = classed(&svg, "remark");
        let ordinary = remarks.last().unwrap().attribute("fill");
        assert_eq!(remarks.iter().filter(|remark| remark.attribute("fill") != ordinary).count(), warnings);
        assert_eq!(shown.iter().any(|node| node.attribute("fill") != ordinary), warnings > 0);
        assert_eq!(remarks.iter().any(|&remark| text(remark).starts_with(Faithfulness::FAR)), warnings > 0);
    }
}

/// What the model predicts with nothing but the nodes of a set is a line, in the colour of warnings where an adversary can undo it.
#[test]
fn figures_say_what_came_of_putting_a_set_to_the_test() {
    let result = walked();
    let graph = graph(&result, "seed_0");
    let mut manifest = result.manifest().clone();
    manifest.output_token_texts.insert(7, " and".to_owned());
    manifest.output_tokens.insert(7, "Ġand".to_owned());
    let evaluation = |worst: f64| {
        let drawn = |mean: f64| json!({ "mean": mean, "standard_error": mean / 4.0, "min": 0.0, "n": 10 });
        let regimes = json!({
            "target": { "label_prob": 0.93 }, "ci": { "label_prob": 0.9 }, "stochastic": { "label_prob": drawn(0.41) },
            "adversarial": { "label_prob": drawn(worst) },
        });
        let selections = [json!({ "name": "all", "nodes": 3, "regimes": regimes })];
        json!({ "evaluation": { "label_token": 7, "label": "Ġand", "position": 3, "selections": selections } })
    };
    let far = "p(\"·and\") at 3: target 0.93, ci 0.90, stochastic 0.41 ± 0.10, adversarial 0.0004 ± 0.0001";
    let near = "p(\"·and\") at 3: target 0.93, ci 0.90, stochastic 0.41 ± 0.10, adversarial 0.80 ± 0.20";
    let mut broken = evaluation(0.8);
    broken["evaluation"]["selections"] = json!("all");
    for (metadata, line, is_warning) in [
        (Some(evaluation(4e-4)), Some(far), true),
        (Some(evaluation(0.8)), Some(near), false),
        (Some(broken), None, false),
        (None, None, false),
    ] {
        manifest.sets[0].metadata = metadata;
        let svg = figure(&graph, &manifest, &PlotOptions::default()).svg();
        let svg = Document::parse(&svg).unwrap();
        let remarks = classed(&svg, "remark");
        let found: Vec<&Node> = remarks.iter().filter(|&&remark| text(remark).starts_with("p(")).collect();
        assert_eq!(found.iter().map(|&&node| text(node)).collect::<Vec<_>>(), line.into_iter().collect::<Vec<_>>());
        let ordinary = remarks.last().unwrap().attribute("fill");
        assert!(found.iter().all(|node| (node.attribute("fill") != ordinary) == is_warning));
    }
    // A token of any length leaves the numbers.
    manifest.sets[0].metadata = Some(evaluation(4e-4));
    manifest.output_token_texts.insert(7, "W".repeat(500));
    let svg = figure(&graph, &manifest, &PlotOptions::default()).svg();
    assert!(svg.contains("…&quot;) at 3: target 0.93") && svg.contains("adversarial 0.0004 ± 0.0001<"), "{svg}");
}

/// The prompt of the manifest with another number of positions, and a graph that has every component of some alive.
fn dense(positions: usize, alive: usize) -> (Manifest, Graph) {
    let result = walked();
    let mut manifest = result.manifest().clone();
    let prompt = &mut manifest.prompts[0];
    prompt.tokens = (0..positions as u32).collect();
    prompt.token_strings = (0..positions).map(|s| format!("token-number-{s}")).collect();
    let mut set: SetAttributions<f32> = result.read_set("seed_0").unwrap();
    (set.prediction, manifest.sets[0].prediction) = (None, None);
    for (layer, nodes) in &mut set.nodes {
        let alive = if layer.is_embedding() { 1 } else { alive };
        nodes.alive = Arc::new(AliveEntries::collect(positions, alive, |_, _| true));
        nodes.original = Arc::new(AliveEntries::collect(positions, alive + 3, |_, c| c % 2 == 0));
        let values = if layer.is_embedding() { 0 } else { nodes.alive.len() };
        nodes.importance = vec![0.25; values];
        nodes.activation = vec![1.0; values];
    }
    let mut random = 1_u32;
    for pair in &mut set.pairs {
        pair.source = Arc::clone(&set.nodes[&pair.pair.source].alive);
        pair.target = Arc::clone(&set.nodes[&pair.pair.target].alive);
        pair.values = (0..pair.edge_count())
            .map(|_| {
                random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                f32::from((random >> 16) as i16) / 32_768.0
            })
            .collect();
    }
    (manifest, Graph::new(&set))
}

#[test]
fn one_position_and_many_fit_their_page() {
    for (positions, alive) in [(1, 0), (1, 70), (4, 40), (48, 12)] {
        let (manifest, graph) = dense(positions, alive);
        check(&graph, &manifest, &PlotOptions::default());
    }
}

#[test]
fn a_node_with_an_edge_is_never_left_out() {
    // Far more nodes with edges than a cell has room for by default.
    let (manifest, graph) = dense(2, 96);
    check(&graph, &manifest, &options(None, Some(4000)));
}

#[test]
fn names_of_any_kind_stay_text() {
    let result = walked();
    let mut manifest = result.manifest().clone();
    let mut graph = graph(&result, "seed_0");
    let nasty = "</text><script>alert(1)</script> & \"quotes\" 'and' \u{0}\u{1b}[31m\u{202e}\n日本 ]]>";
    graph.set = nasty.to_owned();
    manifest.prompts[0].text = nasty.to_owned();
    manifest.prompts[0].token_strings[1] = "<b>".to_owned();
    manifest.prompts[0].token_strings[2] = "\u{0}\u{fffe}".to_owned();
    for token in manifest.output_tokens.values_mut() {
        *token = format!("{token}\"&<x>");
    }
    let svg = figure(&graph, &manifest, &PlotOptions::default()).svg();
    let document = Document::parse(&svg).unwrap();
    let elements: BTreeSet<&str> =
        document.descendants().filter(Node::is_element).map(|node| node.tag_name().name()).collect();
    assert_eq!(elements, BTreeSet::from(["circle", "g", "line", "path", "rect", "svg", "text", "title"]));
    let shown = "</text><script>alert(1)</script> & \"quotes\" 'and' \\u{0}\\u{1b}[31m\\u{202e}\\n日本 ]]>";
    assert_eq!(classed(&document, "set").into_iter().map(text).collect::<Vec<_>>(), [shown]);
    let tokens: Vec<String> = classed(&document, "token").into_iter().map(text).collect();
    assert_eq!(tokens[1..3], ["<b>", "⟨00⟩\\u{fffe}"]);
    // Its pixels can be made too.
    assert!(!png(&svg, 0.5).unwrap().bytes.is_empty());
}

/// Columns bear what tokens are decoded to, so that nothing in them is taken for nothing or for dust.
#[test]
fn tokens_are_shown_as_they_are_decoded() {
    let result = walked();
    let mut manifest = result.manifest().clone();
    let graph = graph(&result, "seed_0");
    manifest.prompts[0].token_strings = ["▁", "Ġthe", ".", "Ã"].map(str::to_owned).to_vec();
    manifest.prompts[0].token_texts = ["", " the", " .", "⟨C3⟩"].map(str::to_owned).to_vec();
    let output = graph.nodes.iter().find(|node| node.entry.layer.is_output()).unwrap().entry.component;
    manifest.output_token_texts.insert(output, "\n\n".to_owned());
    let svg = figure(&graph, &manifest, &PlotOptions::default()).svg();
    let document = Document::parse(&svg).unwrap();
    let tokens: Vec<String> = classed(&document, "token").into_iter().map(text).collect();
    assert_eq!(tokens, ["▁", "·the", "“·.”", "⟨C3⟩"]);
    let labels: Vec<String> = classed(&document, "output-label").into_iter().map(text).collect();
    assert!(labels.iter().any(|label| label.starts_with("↵↵ ")), "{labels:?}");
    let titles: Vec<String> = classed(&document, "node").into_iter().map(title).collect();
    assert!(titles.iter().any(|title| title.contains(" at 1 (·the)")), "{titles:?}");
}

#[test]
fn values_that_overflowed_are_counted() {
    let result = walked();
    let mut graph = graph(&result, "seed_0");
    for (edge, value) in graph.edges.iter_mut().zip([f32::NAN, f32::INFINITY, f32::NEG_INFINITY]) {
        edge.value = value;
    }
    let options = options(None, None);
    check(&graph, result.manifest(), &options);
    let figure = figure(&graph, result.manifest(), &options);
    assert_eq!(figure.left_out().not_finite, 3);
    let svg = figure.svg();
    assert!(svg.contains("3 edges are not finite"));
    assert!(!svg.contains("NaN"));
}

#[test]
#[expect(clippy::cast_sign_loss, reason = "coordinates on a page")]
fn pixels_show_every_node_in_its_colour() {
    let result = walked();
    let graph = graph(&result, "seed_1");
    let svg = figure(&graph, result.manifest(), &PlotOptions::default()).svg();
    let document = Document::parse(&svg).unwrap();
    let scale = 2.0;
    let picture = png(&svg, scale).unwrap();
    assert!((picture.scale - scale).abs() < f64::EPSILON);
    let pixels = Pixmap::decode_png(&picture.bytes).unwrap();
    let root = document.root_element();
    let size = [number(root, "width"), number(root, "height")].map(|length| (length * scale).ceil() as u32);
    assert_eq!([pixels.width(), pixels.height()], size);
    // All circles are in one group, which is moved.
    let parent = classed(&document, "node")[0].parent().unwrap();
    let moved: Vec<f64> = parent.attribute("transform").unwrap()["translate(".len()..]
        .trim_end_matches(')')
        .split(' ')
        .map(|number| number.parse().unwrap())
        .collect();
    let at = |x: f64, y: f64| {
        let pixel = pixels.pixel(((x + moved[0]) * scale) as u32, ((y + moved[1]) * scale) as u32).unwrap();
        format!("#{:02x}{:02x}{:02x}", pixel.red(), pixel.green(), pixel.blue())
    };
    for node in classed(&document, "node") {
        assert_eq!(at(number(node, "cx"), number(node, "cy")), node.attribute("fill").unwrap(), "{}", title(node));
    }
    // Text is drawn without fonts of the system: some of the page around each token is dark.
    for token in classed(&document, "token") {
        let (x, y) = (number(token, "x"), number(token, "y"));
        let dark = (-40..40).any(|dx| at(x + f64::from(dx) / 4.0, y - 3.0).as_str() < "#808080");
        assert!(dark, "{}", text(token));
    }
}

#[test]
fn pictures_that_would_be_too_large_are_scaled_down() {
    let (manifest, graph) = dense(300, 1);
    let svg = figure(&graph, &manifest, &PlotOptions::default()).svg();
    let picture = png(&svg, 2.0).unwrap();
    let pixels = Pixmap::decode_png(&picture.bytes).unwrap();
    assert!(picture.scale < 2.0);
    assert!(pixels.width() <= 16_001 && u64::from(pixels.width()) * u64::from(pixels.height()) <= 65_000_000);
}

#[test]
fn figures_on_one_scale_draw_equal_values_alike() {
    let result = walked();
    let graphs = ["seed_0", "seed_1"].map(|set| graph(&result, set));
    let scale = graphs.iter().fold(Scale::default(), Scale::including);
    let largest = graphs.iter().flat_map(|graph| &graph.edges).map(|edge| edge.value.abs()).fold(0.0, f32::max);
    assert_eq!(scale.edge.to_bits(), largest.to_bits());
    let widths = graphs.each_ref().map(|graph| {
        let options = PlotOptions { scale: Some(scale), ..options(None, None) };
        let svg = figure(graph, result.manifest(), &options).svg();
        let document = Document::parse(&svg).unwrap();
        let edges = classed(&document, "edge");
        edges.iter().map(|&edge| number(edge, "stroke-width")).fold(0.0, f64::max)
    });
    // The widest edge of all has the full width, and the other figure's widest its part of it.
    let strongest =
        graphs.each_ref().map(|graph| f64::from(graph.edges.iter().map(|edge| edge.value.abs()).fold(0.0, f32::max)));
    for (width, strongest) in widths.iter().zip(strongest) {
        let expected = 0.35 + 2.65 * strongest / f64::from(largest);
        // Two decimals are written.
        assert!((width - expected).abs() <= 0.005 + 1e-9, "{width} {expected}");
    }
}

#[test]
fn the_figures_of_the_small_cases() {
    let mut settings = Settings::clone_current();
    settings.set_snapshot_path("../../../snapshots/plot");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    let result = walked();
    let graph = graph(&result, "seed_0");
    let of_graph = figure(&graph, result.manifest(), &options(None, Some(40))).svg();
    let (manifest, graph) = dense(2, 2);
    let of_dense = figure(&graph, &manifest, &PlotOptions::default()).svg();
    settings.bind(|| {
        assert_snapshot!("walked_seed_0", of_graph);
        assert_snapshot!("two_positions", of_dense);
    });
}

#[test]
fn projections_of_a_block_stand_side_by_side() {
    let result = walked();
    let graph = graph(&result, "seed_0");
    let svg = figure(&graph, result.manifest(), &PlotOptions::default()).svg();
    let document = Document::parse(&svg).unwrap();
    // By layer, the lowest and highest centre.
    let mut spans: BTreeMap<Layer, (f64, f64)> = BTreeMap::new();
    for node in classed(&document, "node") {
        let title = title(node);
        let layer: Layer = title.split(' ').next().unwrap().parse().unwrap();
        let y = number(node, "cy");
        let span = spans.entry(layer).or_insert((y, y));
        *span = (span.0.min(y), span.1.max(y));
    }
    let attends = |layer: Layer| match layer.role() {
        Role::Query | Role::Key | Role::Value => layer.block(),
        _ => None,
    };
    for (&lower, &(top, _)) in &spans {
        for (&upper, &(_, bottom)) in spans.range(lower..).skip(1) {
            let beside = attends(lower).is_some() && attends(lower) == attends(upper);
            assert!(beside || bottom < top, "{upper} is not above {lower}");
        }
    }
}
