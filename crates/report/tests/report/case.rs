//! Result folders to make reports of.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use fastrand::Rng;
use serde_json::{Value, json};
use tributary_graph::{Entry, View};
use tributary_model::{
    AliveEntries, Layer, LayerNodes, Pair, PairAttribution, Prediction, Prompt, SetAttributions, TokenProb, pair_table,
    published_blocks,
};
use tributary_results::{Forward, Kind, ModelInfo, ResultFolder, ResultWriter, RunInfo, Settings, Timings};

/// Texts that break pages which take them for markup, or cannot be seen.
pub(crate) const NASTY: [&str; 9] = [
    "</script><script>window.injected = 1</script>",
    "<img src=x onerror=\"window.injected = 2\">",
    "a/b\\c 'quoted' \"twice\" &amp; {{data}} <!--",
    "\u{65e5}\u{672c}\u{8a9e} \u{1f9ea} e\u{301}",
    "",
    "line\nbreak\u{0}",
    "__proto__",
    "a name of many words that goes on and on, so that no header and no table has room for the whole of it at once",
    " spaced ",
];

/// A small result: sets named as nastily as can be, on two prompts, with edges that are zero, infinite or NaN, and a set
/// without any node but the embedding's.
pub(crate) fn nasty(folder: &Path) -> ResultFolder {
    nasty_as(folder, settings())
}

/// The same as a result of other settings.
pub(crate) fn nasty_as(folder: &Path, settings: Settings) -> ResultFolder {
    let mut random = Rng::with_seed(1);
    let model = model(2, 6, 30);
    let prompts = [
        prompt(&["</script>", " the", "", "\n", "<b>bold</b>"], "<script>window.injected = 3</script>"),
        prompt(&["one"], "one"),
    ];
    let pairs = pairs(&model);
    let mut writer = ResultWriter::create(folder, false, settings).unwrap();
    for (index, name) in NASTY.into_iter().enumerate() {
        let prompt = &prompts[usize::from(index >= 7)];
        let density = if index == 4 { 0.0 } else { 0.5 };
        let mut value = |random: &mut Rng| heavy(random);
        // The first two sets have values that no difference can be taken of; the others only finite ones.
        let mut odd = |random: &mut Rng| match random.u32(0..40) {
            0 => f32::NAN,
            1 => f32::INFINITY,
            2 => f32::NEG_INFINITY,
            3..6 => 0.0,
            _ => heavy(random),
        };
        let value: &mut dyn FnMut(&mut Rng) -> f32 = if index < 2 { &mut odd } else { &mut value };
        let mut set = set(name, &model, &pairs, prompt.tokens.len(), density, &mut random, value);
        // Of one set it is not known how far it is from the target model.
        if index != 2 {
            set.prediction = Some(prediction(&set, &model, index));
        }
        let metadata = metadata(index);
        writer.write_set(index, &set, prompt, metadata).unwrap();
    }
    writer.name_output_tokens(|token| NASTY[token as usize % NASTY.len()].to_owned());
    writer.finish(run(model)).unwrap();
    ResultFolder::open(folder).unwrap()
}

/// What came with a set: of two what came of putting them to the test, of one something else of that name.
fn metadata(index: usize) -> Option<Value> {
    let drawn = |mean: f64| json!({ "mean": mean, "standard_error": 0.02, "min": mean / 2.0, "n": 10 });
    let top = json!([
        { "token_id": 3, "token": NASTY[3], "prob": 0.75 }, { "token_id": 0, "token": NASTY[0], "prob": 0.125 },
        { "token_id": 29, "token": "Ġrare", "prob": 0.0625 }, { "token_id": 1, "token": "fourth", "prob": 0.03 },
    ]);
    let regimes = |worst: f64| {
        json!({
            "target": { "label_prob": 0.75, "kl": 0.0, "kl_mean": 0.0, "top": top },
            "ci": { "label_prob": 0.5, "kl": 0.25, "kl_mean": 0.5, "top": top },
            "stochastic": { "label_prob": drawn(0.25), "kl": drawn(1.5), "kl_mean": drawn(2.0) },
            "adversarial": { "label_prob": drawn(worst), "kl": drawn(6.0), "kl_mean": drawn(4.0),
                             "label_prob_dead_at_zero": drawn(0.125) },
        })
    };
    let control = |number: usize| {
        let regimes = json!({ "ci": { "label_prob": 0.125 * number as f64 }, "target": { "label_prob": 0.75 } });
        json!({ "name": format!("random {number} for all"), "nodes": 12, "regimes": regimes })
    };
    let above = json!({ "name": NASTY[1], "nodes": 4, "regimes": { "ci": { "label_prob": 0.375 } } });
    let selections = json!([{ "name": "all", "nodes": 12, "regimes": regimes(0.0625) }, above, control(1), control(2)]);
    let pgd = json!({ "n_steps": 4, "step_size": 1.0 });
    match index {
        0 => Some(json!({
            "coefficient": 1e-4, "note": NASTY[0],
            "evaluation": { "label_token": 3, "label": NASTY[3], "position": 4, "pgd": pgd, "selections": selections },
            "curve": { "step": (0..500).collect::<Vec<_>>(), "l0": (0..500).rev().collect::<Vec<_>>(), "recon": vec![0.5; 500] },
        })),
        1 => Some(json!({ "evaluation": { "selections": [{ "name": "all", "regimes": regimes(0.5) }] } })),
        3 => Some(json!({ "evaluation": { "selections": NASTY[1] }, "curve": "steep" })),
        _ => None,
    }
}

/// What the target model predicts. It differs from set to set: the later ones are far from it.
fn prediction(set: &SetAttributions<f32>, model: &ModelInfo, index: usize) -> Prediction<f32> {
    let output = &set.nodes[&Layer::output()];
    let positions = output.alive.positions();
    let probs = output.importance.iter().enumerate();
    let at_one =
        |s: usize| (0..3).map(move |i| TokenProb { token: (s + i) as u32, prob: 0.5 / (i + 1) as f64 }).collect();
    Prediction {
        target_prob: probs.map(|(row, prob)| if row % 3 == 0 { prob / 16.0 } else { *prob }).collect(),
        kl: (0..positions).map(|s| (index * (s + 1)) as f32 / 8.0).collect(),
        likeliest: (0..positions).map(|s| (s * (index + 1) % model.vocab) as u32).collect(),
        target_likeliest: Arc::new((0..positions).map(at_one).collect()),
    }
}

/// Four sets of more than 100,000 edges each, of a prompt of 48 tokens.
pub(crate) fn large(folder: &Path) -> ResultFolder {
    let mut random = Rng::with_seed(2);
    let model = model(2, 60, 100);
    let tokens: Vec<String> = (0..48).map(|position| format!("token{position}")).collect();
    let tokens: Vec<&str> = tokens.iter().map(String::as_str).collect();
    let prompt = prompt(&tokens, "a long prompt");
    let pairs = pairs(&model);
    let mut writer = ResultWriter::create(folder, false, settings()).unwrap();
    for index in 0..4 {
        let set = set(&format!("seed_{index}"), &model, &pairs, 48, 0.16, &mut random, &mut heavy);
        assert!(set.edge_count() > 100_000, "{} edges", set.edge_count());
        writer.write_set(index, &set, &prompt, None).unwrap();
    }
    writer.name_output_tokens(|token| format!("token{token}"));
    writer.finish(run(model)).unwrap();
    ResultFolder::open(folder).unwrap()
}

/// What a page of a result has to show, taken from the graphs: every set with its nodes, ghosts and edges.
pub(crate) fn expected(result: &ResultFolder, view: View) -> Value {
    let manifest = result.manifest();
    let sets = manifest.sets.iter().map(|entry| {
        let set = result.read_set(&entry.name).unwrap();
        let graph = view.of(&set);
        let prediction = set.prediction.map(|prediction| {
            let found = entry.prediction.unwrap();
            json!({
                "mean_kl": found.mean_kl, "agreeing": found.agreeing, "positions": found.positions, "is_far": found.is_far(),
                "kl": prediction.kl, "likeliest": prediction.likeliest,
            })
        });
        let name = |entry: Entry| format!("{} {} {}", entry.layer, entry.position, entry.component);
        let nodes: Vec<Value> = graph
            .nodes
            .iter()
            .map(|node| {
                json!({
                    "node": name(node.entry), "ci": node.ci, "probability": node.probability,
                    "target_probability": node.target_probability, "activation": node.activation, "importance": node.importance,
                })
            })
            .collect();
        // What is not finite becomes null.
        let edges: Vec<Value> = graph
            .edges
            .iter()
            .map(|edge| {
                let end = |node: u32| name(graph.nodes[node as usize].entry);
                json!([end(edge.source), end(edge.target), f64::from(edge.value)])
            })
            .collect();
        let ghosts: Vec<String> = graph.ghosts.iter().map(|&ghost| name(ghost)).collect();
        json!({
            "name": entry.name, "prompt": entry.prompt, "metadata": entry.metadata, "prediction": prediction, "nodes": nodes, "ghosts": ghosts,
            "edges": edges,
        })
    });
    let sets: Vec<Value> = sets.collect();
    let attributions = json!({ "evaluated": manifest.settings.evaluated(), "view": view.described() });
    json!({ "attributions": attributions, "prompts": manifest.prompts, "output_tokens": manifest.output_tokens, "sets": sets })
}

/// Values of all sizes, as attributions are.
fn heavy(random: &mut Rng) -> f32 {
    let size = (-12.0 * random.f32()).exp();
    if random.bool() { size } else { -size }
}

fn model(n_blocks: usize, components: usize, vocab: usize) -> ModelInfo {
    let layers = published_blocks(n_blocks).into_iter();
    let (class, fingerprint) = ("GPT2Simple".to_owned(), "0".repeat(64));
    ModelInfo { class, fingerprint, n_blocks, vocab, components: layers.map(|layer| (layer, components)).collect() }
}

fn pairs(model: &ModelInfo) -> Vec<Pair> {
    pair_table(&published_blocks(model.n_blocks), &model.components.keys().copied().collect::<BTreeSet<_>>())
}

fn prompt(token_strings: &[&str], text: &str) -> Prompt {
    Prompt {
        text: text.to_owned(),
        tokens: (0..token_strings.len() as u32).collect(),
        token_strings: token_strings.iter().map(|&token| token.to_owned()).collect(),
    }
}

fn set(
    name: &str,
    model: &ModelInfo,
    pairs: &[Pair],
    positions: usize,
    density: f32,
    random: &mut Rng,
    value: &mut dyn FnMut(&mut Rng) -> f32,
) -> SetAttributions<f32> {
    let mut nodes = BTreeMap::new();
    for (layer, components) in model.node_layers() {
        let mut entries = |density: f32| {
            let density = if layer.is_output() { density * 0.2 } else { density };
            let alive: Vec<bool> = (0..positions * components).map(|_| random.f32() < density).collect();
            Arc::new(AliveEntries::collect(positions, components, |s, c| alive[s * components + c]))
        };
        if layer.is_embedding() {
            nodes.insert(layer, LayerNodes::embedding(positions));
            continue;
        }
        let (alive, original) = (entries(density), entries(density.max(0.3)));
        let importance = (0..alive.len()).map(|_| random.f32()).collect();
        let activation = (0..alive.len()).map(|_| heavy(random)).collect();
        nodes.insert(layer, LayerNodes { alive, original, importance, activation });
    }
    let attributions = pairs.iter().map(|&pair| {
        let empty = PairAttribution::between(pair, &nodes);
        PairAttribution { values: (0..empty.edge_count()).map(|_| value(random)).collect(), ..empty }
    });
    let pairs = attributions.collect();
    SetAttributions::new(name.to_owned(), nodes, pairs)
}

pub(crate) fn settings() -> Settings {
    Settings {
        ci_threshold: 1e-6,
        output_prob_threshold: 0.1,
        method: "auto".to_owned(),
        output_probs: false,
        threads: None,
        implied_index: true,
        allow_tf32: false,
        ghosts: true,
        output_top: None,
        output_targets: tributary_results::OutputTargets::default(),
        forward: Forward::Masked,
        delta: None,
    }
}

fn run(model: ModelInfo) -> RunInfo {
    RunInfo {
        kind: Kind::Attributions,
        model,
        inputs: None,
        backend: "none".to_owned(),
        device: "cpu".to_owned(),
        dtype: "f32".to_owned(),
        method: "closed-form".to_owned(),
        deltas: BTreeMap::new(),
        timings: Timings::default(),
    }
}
