//! Sets to compare, made in code.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;
use serde_json::Value;
use tributary_compare::ComparedSet;
use tributary_graph::{Entry, View};
use tributary_model::{
    AliveEntries, Layer, LayerNodes, PairAttribution, Prediction, Prompt, Role, SetAttributions, TokenProb, pair_table,
    published_blocks,
};
use tributary_results::{
    FORMAT, FORMAT_VERSION, Forward, Kind, Manifest, ModelInfo, PairEntry, PromptEntry, ResultWriter, RunInfo,
    SetEntry, Settings, Timings,
};

pub(crate) const COMPONENTS: usize = 3;
/// As many tokens as components, for brevity.
const VOCAB: usize = COMPONENTS;

/// A set and what came with it.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) set: SetAttributions<f32>,
    pub(crate) metadata: Option<Value>,
}

pub(crate) fn model(decomposed: &BTreeSet<Layer>) -> ModelInfo {
    ModelInfo {
        class: "GPT2Simple".to_owned(),
        fingerprint: "f".repeat(64),
        n_blocks: 1,
        vocab: VOCAB,
        components: decomposed.iter().map(|&layer| (layer, COMPONENTS)).collect(),
    }
}

pub(crate) fn settings() -> Settings {
    Settings {
        ci_threshold: 0.0,
        output_prob_threshold: 0.0,
        method: "auto".to_owned(),
        output_probs: false,
        threads: None,
        implied_index: false,
        allow_tf32: false,
        ghosts: true,
        output_top: None,
        output_targets: tributary_results::OutputTargets::default(),
        forward: Forward::Masked,
        delta: None,
    }
}

fn run_info(model: ModelInfo) -> RunInfo {
    RunInfo {
        kind: Kind::Attributions,
        model,
        inputs: None,
        backend: "flex".to_owned(),
        device: "cpu".to_owned(),
        dtype: "f32".to_owned(),
        method: "closed-form".to_owned(),
        deltas: BTreeMap::new(),
        timings: Timings::default(),
    }
}

pub(crate) fn prompt(positions: usize) -> Prompt {
    Prompt {
        text: "a \"prompt\"\n</script>".to_owned(),
        tokens: (0..positions as u32).map(|s| s % VOCAB as u32).collect(),
        token_strings: (0..positions).map(|s| format!("t{s}")).collect(),
    }
}

fn decomposed_of(set: &SetAttributions<f32>) -> BTreeSet<Layer> {
    set.nodes.keys().copied().filter(|layer| layer.is_linear()).collect()
}

pub(crate) fn positions(set: &SetAttributions<f32>) -> usize {
    set.nodes[&Layer::wte()].alive.positions()
}

/// Sets as they are read from one result, without the detour over files.
pub(crate) fn compared(cases: &[Case]) -> Vec<ComparedSet> {
    viewed(cases, View::default())
}

/// The same in a view.
pub(crate) fn viewed(cases: &[Case], view: View) -> Vec<ComparedSet> {
    let first = &cases[0].set;
    let prompt = PromptEntry::from(&prompt(positions(first)));
    let entry = |case: &Case| SetEntry {
        name: case.set.name.clone(),
        file: String::new(),
        sha256: String::new(),
        prompt: 0,
        metadata: case.metadata.clone(),
        until: None,
        nodes: case.set.node_count(),
        edges: case.set.edge_count(),
        delta_distance: None,
        prediction: case.set.faithfulness(|&value| value),
        layers: BTreeMap::new(),
        pairs: Vec::new(),
        borderline: Vec::new(),
    };
    let manifest = Arc::new(Manifest {
        format: FORMAT.to_owned(),
        format_version: FORMAT_VERSION,
        tool_version: String::new(),
        settings: settings(),
        run: run_info(model(&decomposed_of(first))),
        prompts: vec![prompt],
        output_token_texts: BTreeMap::new(),
        output_tokens: BTreeMap::from([(1, "one".to_owned())]),
        pairs: first.pairs.iter().map(|pair| PairEntry::from(&pair.pair)).collect(),
        sets: cases.iter().map(entry).collect(),
    });
    let new = |(index, case): (usize, &Case)| {
        ComparedSet::new(case.set.name.clone(), Path::new("out"), Arc::clone(&manifest), index, &case.set, view)
    };
    cases.iter().enumerate().map(new).collect()
}

/// Writes sets, each with its prompt, as a result.
pub(crate) fn write(
    out: &Path,
    cases: &[(Case, Prompt)],
    settings: Settings,
    change: impl Fn(&mut ModelInfo),
) -> Manifest {
    let mut writer = ResultWriter::create(out, true, settings).unwrap();
    for (index, (case, prompt)) in cases.iter().enumerate() {
        writer.write_set(index, &case.set, prompt, case.metadata.clone()).unwrap();
    }
    writer.name_output_tokens(|token| if token == 2 { String::new() } else { format!("token {token}") });
    let mut model = model(&decomposed_of(&cases[0].0.set));
    change(&mut model);
    writer.finish(run_info(model)).unwrap()
}

/// A set of a model of one block, in which `decomposed` are the decomposed layers. `alive` and `original` say which entries
/// are so, `value` gives each edge its attribution.
pub(crate) fn set(
    name: &str,
    positions: usize,
    decomposed: &BTreeSet<Layer>,
    mut alive: impl FnMut(Entry) -> bool,
    mut original: impl FnMut(Entry) -> bool,
    mut value: impl FnMut(Entry, Entry) -> f32,
) -> SetAttributions<f32> {
    let entry = |layer, (s, c): (usize, usize)| Entry { layer, position: s as u32, component: c as u32 };
    let collect = |layer, is: &mut dyn FnMut(Entry) -> bool| {
        let mut flags = Vec::new();
        for s in 0..positions {
            flags.extend((0..COMPONENTS).map(|c| is(entry(layer, (s, c)))));
        }
        Arc::new(AliveEntries::collect(positions, COMPONENTS, |s, c| flags[s * COMPONENTS + c]))
    };
    let mut nodes = BTreeMap::from([(Layer::wte(), LayerNodes::embedding(positions))]);
    for layer in decomposed.iter().copied().chain([Layer::output()]) {
        let (alive, original) = (collect(layer, &mut alive), collect(layer, &mut original));
        // Different in every set, as its name is.
        let shift = name.len() as f32;
        let importance = (0..alive.len()).map(|row| 0.125 + row as f32 / 64.0 + shift / 8.0).collect();
        let activation = (0..alive.len()).map(|row| row as f32 - 2.0 * shift).collect();
        nodes.insert(layer, LayerNodes { alive, original, importance, activation });
    }
    let pairs = pair_table(&published_blocks(1), decomposed).into_iter().map(|pair| {
        let mut attribution = PairAttribution::between(pair, &nodes);
        let (sources, targets): (Vec<_>, Vec<_>) =
            (attribution.source.iter().collect(), attribution.target.iter().collect());
        let values: Vec<f32> = attribution
            .edges()
            .map(|(s, t)| value(entry(pair.source, sources[s]), entry(pair.target, targets[t])))
            .collect();
        assert_eq!(values.len(), attribution.edge_count());
        attribution.values = values;
        attribution
    });
    let pairs = pairs.collect();
    SetAttributions::new(name.to_owned(), nodes, pairs)
}

pub(crate) fn c_fc_layer() -> Layer {
    Layer::published(0, Role::MlpUp)
}

pub(crate) fn down_layer() -> Layer {
    Layer::published(0, Role::MlpDown)
}

pub(crate) fn at(layer: Layer, position: u32, component: u32) -> Entry {
    Entry { layer, position, component }
}

/// A set of one position in which only the MLP is decomposed, with nodes and edges as they are given; all others of its
/// edges are zero.
pub(crate) fn small(name: &str, alive: &[Entry], edges: &[(Entry, Entry, f32)]) -> Case {
    let value =
        |source, target| edges.iter().find(|edge| (edge.0, edge.1) == (source, target)).map_or(0.0, |edge| edge.2);
    let set =
        set(name, 1, &BTreeSet::from([c_fc_layer(), down_layer()]), |entry| alive.contains(&entry), |_| false, value);
    let given = |edge: &&(Entry, Entry, f32)| {
        set.pairs.iter().any(|pair| (pair.pair.source, pair.pair.target) == (edge.0.layer, edge.1.layer))
            && (edge.0.layer.is_embedding() || alive.contains(&edge.0))
            && alive.contains(&edge.1)
    };
    assert_eq!(edges.iter().filter(given).count(), edges.len(), "an edge that the nodes do not allow");
    Case { set, metadata: None }
}

/// A prediction that differs from set to set.
fn prediction(set: &SetAttributions<f32>, index: usize) -> Prediction<f32> {
    let (positions, outputs) = (positions(set), set.nodes[&Layer::output()].alive.len());
    let target = (0..positions).map(|s| vec![TokenProb { token: (s % VOCAB) as u32, prob: 0.5 }]);
    Prediction {
        target_prob: (0..outputs).map(|row| row as f32 / 64.0).collect(),
        kl: (0..positions).map(|s| (s + index) as f32 / 2.0).collect(),
        likeliest: (0..positions).map(|s| ((s * index) % VOCAB) as u32).collect(),
        target_likeliest: Arc::new(target.collect()),
    }
}

/// Names that are any text.
const NAMES: [&str; 6] = ["", "</script>\"'", "a/b\\c", "\u{202e}\u{0}\n\u{1b}[31m", "日本 é", "coeff_x"];

/// How many entries are alive, what decides which, values of edges, a coefficient.
type Sampled = (f64, Vec<f64>, Vec<f32>, Option<u8>);

/// Two to five sets of one model and prompt, some with a coefficient, with values of all kinds, also none that is finite.
pub(crate) fn cases() -> impl Strategy<Value = Vec<Case>> {
    let value = prop_oneof![
        8 => -4.0_f32..4.0,
        2 => prop::sample::select(vec![0.0_f32, 1.5, -1.5]),
        1 => prop::sample::select(vec![f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -0.0, f32::MAX, f32::MIN_POSITIVE / 4.0]),
    ];
    let one_set = (
        prop_oneof![Just(0.0), 0.2..0.9],
        prop::collection::vec(0.0_f64..1.0, 60),
        prop::collection::vec(value, 300),
        prop::option::weighted(0.8, 0_u8..4),
    );
    (1_usize..4, prop::collection::vec(one_set, 2..6)).prop_map(|(positions, sets)| {
        let decomposed: BTreeSet<Layer> = published_blocks(1).into_iter().collect();
        let case = |(index, sampled): (usize, Sampled)| {
            let (density, flags, values, coefficient) = sampled;
            let mut flags = flags.into_iter().cycle();
            let mut alive = || flags.next().unwrap() < density;
            let originals: Vec<bool> = (0..500).map(|_| alive()).collect();
            let (mut originals, mut values) = (originals.into_iter(), values.into_iter().cycle());
            let name = format!("{}{index}", NAMES[index % NAMES.len()]);
            let set = set(
                &name,
                positions,
                &decomposed,
                |_| alive(),
                |_| originals.next().unwrap(),
                |_, _| values.next().unwrap(),
            );
            let mut set = set;
            if index % 3 < 2 {
                set.prediction = Some(prediction(&set, index));
            }
            let metadata =
                coefficient.map(|coefficient| serde_json::json!({ "imp_min_coeff": f64::from(coefficient) }));
            Case { set, metadata }
        };
        sets.into_iter().enumerate().map(case).collect()
    })
}
