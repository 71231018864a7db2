//! Everything in the page that is not a column of numbers.

use std::collections::BTreeMap;

use serde::Serialize;
use tributary_graph::layer_rows;
use tributary_model::{Faithfulness, Layer};
use tributary_results::{Forward, Manifest, SetEvaluation, TokenEntry};

use crate::collect::{PromptGraphs, SetGraph, entry_columns};
use crate::columns::{Block, Column};
use crate::curve::Curve;
use crate::evaluation::{Evaluation, RegimeEntry};
use crate::{Options, curve};

/// Metadata of a set that take more bytes as JSON are left out: they are for reading, and some runs put whole matrices
/// there.
const LONGEST_METADATA: usize = 4096;

#[derive(Debug, Serialize)]
pub(crate) struct Metadata {
    tool_version: &'static str,
    model: Model,
    computation: Computation,
    attributions: Attributions,
    max_edges_per_set: usize,
    far: Far,
    /// In the order data flows. Everything else names layers by their index here.
    layers: Vec<LayerEntry>,
    /// What the model computes in each regime of an evaluation, in their order.
    regimes: Vec<RegimeEntry>,
    /// The rows of the layout from bottom to top.
    rows: Vec<Vec<usize>>,
    output_tokens: BTreeMap<u32, String>,
    prompts: Vec<PromptEntry>,
    /// The columns, each under the id of its element in the page.
    #[serde(skip)]
    pub(crate) blocks: Vec<(String, Block)>,
}

/// From where on a masked model is far from the target model, and what that means.
#[derive(Debug, Serialize)]
struct Far {
    kl: f32,
    means: &'static str,
}

#[derive(Debug, Serialize)]
struct Model {
    class: String,
    fingerprint: String,
}

#[derive(Debug, Serialize)]
struct Computation {
    backend: String,
    device: String,
    dtype: String,
    method: String,
    ci_threshold: f64,
    output_prob_threshold: f64,
    /// Whether what is alive is above the thresholds, and not just at them.
    is_strict: bool,
}

/// What is to be said of all attributions; `None` where nothing is.
#[derive(Debug, Serialize)]
struct Attributions {
    /// Where they were evaluated.
    evaluated: Option<String>,
    /// How they are looked at.
    view: Option<String>,
}

#[derive(Debug, Serialize)]
struct LayerEntry {
    name: String,
    kind: &'static str,
    block: Option<usize>,
}

#[derive(Debug, Serialize)]
struct PromptEntry {
    text: String,
    /// What the tokens are decoded to.
    token_strings: Vec<String>,
    /// What the target model says comes next at each position: tokens and probabilities, the likeliest first. Empty where that
    /// is not known.
    target_likeliest: Vec<Vec<(u32, f32)>>,
    columns: Vec<Column>,
    sets: Vec<SetEntry>,
}

#[derive(Debug, Serialize)]
struct SetEntry {
    name: String,
    /// Without what the page shows of them otherwise.
    metadata: Option<serde_json::Value>,
    /// Bytes of the metadata where they were left out.
    metadata_left_out: Option<usize>,
    evaluation: Option<Evaluation>,
    /// Why the evaluation in the metadata is not understood.
    evaluation_problem: Option<String>,
    curve: Option<Curve>,
    nodes: usize,
    ghosts: usize,
    edges: usize,
    written: usize,
    left_out: usize,
    largest_left_out: f32,
    zero: usize,
    not_finite: usize,
    magnitude: f64,
    magnitude_left_out: f64,
    prediction: Option<SetPrediction>,
    columns: Vec<Column>,
}

/// How faithful a set's masked model is to the target model.
#[derive(Debug, Serialize)]
struct SetPrediction {
    mean_kl: f32,
    positions: usize,
    agreeing: usize,
    far_outputs: usize,
    is_far: bool,
}

impl From<Faithfulness> for SetPrediction {
    fn from(found: Faithfulness) -> Self {
        let Faithfulness { mean_kl, positions, agreeing, far_outputs, .. } = found;
        Self { mean_kl, positions, agreeing, far_outputs, is_far: found.is_far() }
    }
}

impl Metadata {
    pub(crate) fn new(manifest: &Manifest, prompts: &[PromptGraphs], options: &Options) -> Self {
        let run = &manifest.run;
        let layers: Vec<Layer> = run.model.node_layers().map(|(layer, _)| layer).collect();
        let index_of = |layer: &Layer| layers.iter().position(|known| known == layer).unwrap_or(0);
        let rows = layer_rows(layers.iter().copied());
        let mut blocks = Vec::new();
        let mut output_tokens = BTreeMap::new();
        let prompts = prompts.iter().enumerate().map(|(number, graphs)| {
            let entries = graphs.entries();
            let output = entries.iter().filter(|entry| entry.layer.is_output());
            output_tokens.extend(output.map(|entry| (entry.component, manifest.output_text(entry.component))));
            let block = entry_columns(&entries, &layers);
            let columns = block.columns().to_vec();
            let id = format!("prompt-{number}");
            blocks.push((id.clone(), block));
            let sets = graphs.sets.iter().enumerate().map(|(index, set)| {
                let block = set.columns(&entries);
                let columns = block.columns().to_vec();
                blocks.push((format!("{id}-set-{index}"), block));
                set_entry(set, manifest, columns)
            });
            let sets = sets.collect();
            let prompt = &manifest.prompts[graphs.prompt];
            let likeliest = |tokens: &Vec<TokenEntry>| tokens.iter().map(|entry| (entry.token, entry.prob)).collect();
            let target_likeliest: Vec<Vec<(u32, f32)>> = prompt.target_likeliest.iter().map(likeliest).collect();
            let masked = graphs.sets.iter().flat_map(|set| &set.prediction).flat_map(|(_, found)| &found.likeliest);
            let predicted = target_likeliest.iter().flatten().map(|(token, _)| token).chain(masked);
            output_tokens.extend(predicted.map(|&token| (token, manifest.output_text(token))));
            PromptEntry {
                text: prompt.text.clone(),
                token_strings: prompt.texts().to_vec(),
                target_likeliest,
                columns,
                sets,
            }
        });
        let prompts = prompts.collect();
        Self {
            tool_version: env!("CARGO_PKG_VERSION"),
            model: Model { class: run.model.class.clone(), fingerprint: run.model.fingerprint.clone() },
            computation: Computation {
                backend: run.backend.clone(),
                device: run.device.clone(),
                dtype: run.dtype.clone(),
                method: run.method.clone(),
                ci_threshold: manifest.settings.ci_threshold,
                output_prob_threshold: manifest.settings.output_prob_threshold,
                is_strict: manifest.settings.forward == Forward::Target,
            },
            attributions: Attributions { evaluated: manifest.settings.evaluated(), view: options.view.described() },
            max_edges_per_set: options.max_edges_per_set,
            far: Far { kl: Faithfulness::FAR_KL, means: manifest.settings.far() },
            regimes: RegimeEntry::all(),
            rows: rows.iter().map(|row| row.iter().map(index_of).collect()).collect(),
            layers: layers.into_iter().map(layer_entry).collect(),
            output_tokens,
            prompts,
            blocks,
        }
    }
}

fn layer_entry(layer: Layer) -> LayerEntry {
    LayerEntry { name: layer.to_string(), kind: layer.role().name(), block: layer.block() }
}

fn set_entry(set: &SetGraph, manifest: &Manifest, columns: Vec<Column>) -> SetEntry {
    let (evaluation, evaluation_problem) = match set.metadata.as_ref().and_then(SetEvaluation::of) {
        None => (None, None),
        Some(Ok(found)) => (Some(Evaluation::new(&found, manifest)), None),
        Some(Err(problem)) => (None, Some(problem)),
    };
    let curve = set.metadata.as_ref().and_then(Curve::of);
    let mut metadata = set.metadata.clone();
    if let Some(fields) = metadata.as_mut().and_then(serde_json::Value::as_object_mut) {
        let shown = [(SetEvaluation::KEY, evaluation.is_some()), (curve::KEY, curve.is_some())];
        shown.iter().filter(|(_, is_shown)| *is_shown).for_each(|(key, _)| drop(fields.shift_remove(*key)));
    }
    let size = metadata.as_ref().map_or(0, |metadata| metadata.to_string().len());
    let fits = size <= LONGEST_METADATA;
    let summary = &set.summary;
    SetEntry {
        name: summary.name.clone(),
        metadata: metadata.filter(|_| fits),
        metadata_left_out: (!fits).then_some(size),
        evaluation,
        evaluation_problem,
        curve,
        nodes: summary.nodes,
        ghosts: set.ghosts.len(),
        edges: summary.edges,
        written: summary.written,
        left_out: summary.left_out,
        largest_left_out: summary.largest_left_out,
        zero: summary.zero,
        not_finite: summary.not_finite,
        magnitude: set.magnitude,
        magnitude_left_out: set.magnitude_left_out,
        prediction: set.prediction.as_ref().map(|&(found, _)| found.into()),
        columns,
    }
}
