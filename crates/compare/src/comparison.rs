//! The comparison as a whole, and as JSON.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;
use tributary_graph::View;
use tributary_model::Faithfulness;
use tributary_results::Manifest;

use crate::alignment::{Alignment, is_edge};
use crate::{CompareError, ComparedSet, Consensus, ConsensusSummary, EdgeOverlap, NodeOverlap, Sweep, json};

/// Name of the JSON form.
pub const FORMAT: &str = "tributary-comparison";
/// Version of the JSON form. Fields may be added without a new version.
pub const FORMAT_VERSION: u64 = 1;
/// JSON Schema (2020-12) of the JSON form.
pub const SCHEMA: &str = include_str!("../schema/comparison.schema.json");

/// How sets are compared.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ComparisonOptions {
    /// Only edges of at least this magnitude count.
    pub min_edge: Option<f32>,
    /// How many sets have to have what is in the consensus, at least; the majority without it.
    pub k: Option<usize>,
    /// At most how many nodes or edges every list has; `None` lists all.
    pub top: Option<usize>,
}

impl Default for ComparisonOptions {
    fn default() -> Self {
        Self { min_edge: None, k: None, top: Some(10) }
    }
}

/// What sets have in common and where they differ. Its JSON form is what serde makes of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// [`FORMAT`].
    pub format: &'static str,
    /// [`FORMAT_VERSION`].
    pub format_version: u64,
    /// Version of tributary that made it.
    pub tool_version: &'static str,
    /// SHA-256 of the model of all sets.
    pub model_fingerprint: String,
    /// The prompt of all sets.
    pub prompt: ComparedPrompt,
    /// How they were compared, with the defaults filled in.
    pub options: ComparisonOptions,
    /// How the attributions of all sets are looked at.
    #[serde(serialize_with = "json::view")]
    pub view: View,
    /// The sets, in the order of everything that has an element for each set.
    pub sets: Vec<SetSummary>,
    /// What a reader should know: of edges that are left out, of settings that differ. Sentences.
    pub notes: Vec<String>,
    /// The nodes.
    pub nodes: NodeOverlap,
    /// The edges.
    pub edges: EdgeOverlap,
    /// What at least `k` sets have.
    pub consensus: ConsensusSummary,
    /// What dies as sets get sparser; `None` unless sets have different sparsity coefficients.
    pub sweep: Option<Sweep>,
}

/// The prompt of all sets.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ComparedPrompt {
    /// The text.
    pub text: String,
    /// Token ids, one per position.
    pub tokens: Vec<u32>,
    /// Token strings, one per position.
    pub token_strings: Vec<String>,
    /// What each token is decoded to; as `token_strings` where that is not known.
    pub token_texts: Vec<String>,
    /// Token strings of output nodes, and of the labels of evaluations, by token id, of those that the results know.
    pub output_tokens: BTreeMap<u32, String>,
    /// What the same tokens are decoded to, of those that the vocabulary spells otherwise.
    pub output_token_texts: BTreeMap<u32, String>,
}

/// One of the sets.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SetSummary {
    /// What it is called beside the others: its name, or `RESULT/SET` where several results are compared.
    pub label: String,
    /// The folder of its result, as it was given.
    pub result: String,
    /// Its name.
    pub name: String,
    /// The metadata that came with it.
    pub metadata: Option<Value>,
    /// Smallest causal importance of an alive component.
    pub ci_threshold: f64,
    /// Smallest probability of an alive output token.
    pub output_prob_threshold: f64,
    /// How faithful its masked model is to the target model; `None` where that is not known.
    pub prediction: Option<PredictionSummary>,
    /// Number of nodes.
    pub nodes: usize,
    /// Number of edges that count.
    pub edges: usize,
    /// Sum of the absolute attributions of those.
    pub magnitude: f64,
    /// Edges left out because they are zero.
    pub zero: usize,
    /// Edges left out because they are NaN or infinite.
    pub not_finite: usize,
    /// Edges left out because they are weaker than `min_edge`.
    pub weak: usize,
}

/// How faithful a set's masked model is to the target model.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct PredictionSummary {
    /// Mean over positions of the divergence of the masked model from the target model, in nats.
    pub mean_kl: f32,
    /// The share of positions at which both models have the same likeliest token.
    pub agreement: f64,
    /// Number of output nodes whose probability is more than ten times off the target model's.
    pub far_outputs: usize,
    /// Whether the masked model predicts something else than the target model.
    pub is_far: bool,
}

impl From<Faithfulness> for PredictionSummary {
    fn from(found: Faithfulness) -> Self {
        let Faithfulness { mean_kl, far_outputs, .. } = found;
        Self { mean_kl, agreement: found.agreement(), far_outputs, is_far: found.is_far() }
    }
}

impl Comparison {
    /// Compares aligned sets, whose consensus is given; `top` is at most how many nodes or edges every list has, and `None`
    /// lists all.
    pub fn new(alignment: &Alignment<'_>, consensus: &Consensus, top: Option<usize>) -> Self {
        let sets = alignment.sets;
        let first = &sets[0];
        let summaries: Vec<SetSummary> = sets.iter().map(|set| summary(set, alignment.min_edge)).collect();
        let prompt = first.prompt();
        Self {
            format: FORMAT,
            format_version: FORMAT_VERSION,
            tool_version: env!("CARGO_PKG_VERSION"),
            model_fingerprint: first.manifest().run.model.fingerprint.clone(),
            prompt: ComparedPrompt {
                text: prompt.text.clone(),
                tokens: prompt.tokens.clone(),
                token_strings: prompt.token_strings.clone(),
                token_texts: prompt.texts().to_vec(),
                output_tokens: output_tokens(alignment),
                output_token_texts: output_token_texts(alignment),
            },
            options: ComparisonOptions { min_edge: alignment.min_edge, k: Some(consensus.k), top },
            view: first.view(),
            notes: notes(&summaries, sets),
            sets: summaries,
            nodes: NodeOverlap::new(alignment, top),
            edges: EdgeOverlap::new(alignment, top),
            consensus: ConsensusSummary::new(consensus, top),
            sweep: Sweep::new(alignment, top),
        }
    }

    /// Compares sets, and gives their consensus too.
    ///
    /// # Errors
    ///
    /// As [`Alignment::new`] and [`Consensus::new`].
    pub fn of_sets(sets: &[ComparedSet], options: &ComparisonOptions) -> Result<(Self, Consensus), CompareError> {
        let alignment = Alignment::new(sets, options.min_edge)?;
        let consensus = Consensus::new(&alignment, options.k)?;
        Ok((Self::new(&alignment, &consensus, options.top), consensus))
    }
}

fn summary(set: &ComparedSet, min_edge: Option<f32>) -> SetSummary {
    let settings = &set.manifest().settings;
    let mut summary = SetSummary {
        label: set.label().to_owned(),
        result: set.result().to_string_lossy().into_owned(),
        name: set.entry().name.clone(),
        metadata: set.metadata().cloned(),
        ci_threshold: settings.ci_threshold,
        output_prob_threshold: settings.output_prob_threshold,
        prediction: set.entry().prediction.map(Into::into),
        nodes: set.graph().nodes.len(),
        edges: 0,
        magnitude: 0.0,
        zero: 0,
        not_finite: 0,
        weak: 0,
    };
    for edge in &set.graph().edges {
        if is_edge(edge, min_edge) {
            summary.edges += 1;
            summary.magnitude += f64::from(edge.value.abs());
        } else if edge.value == 0.0 {
            summary.zero += 1;
        } else if edge.value.is_finite() {
            summary.weak += 1;
        } else {
            summary.not_finite += 1;
        }
    }
    summary
}

fn output_tokens(alignment: &Alignment<'_>) -> BTreeMap<u32, String> {
    of_known_tokens(alignment, |manifest| &manifest.output_tokens)
}

fn output_token_texts(alignment: &Alignment<'_>) -> BTreeMap<u32, String> {
    of_known_tokens(alignment, |manifest| &manifest.output_token_texts)
}

/// What the first of the results that knows it has for the token of each output node, and for what the sets were put to the test
/// with.
fn of_known_tokens(
    alignment: &Alignment<'_>,
    known: impl Fn(&Manifest) -> &BTreeMap<u32, String>,
) -> BTreeMap<u32, String> {
    let outputs = alignment.entries.iter().filter(|entry| entry.layer.is_output()).map(|entry| entry.component);
    let evaluations = alignment.sets.iter().filter_map(|set| set.entry().evaluation()?.ok());
    let labels = evaluations.filter_map(|evaluation| Some(evaluation.label?.id));
    let text = |token: u32| alignment.sets.iter().find_map(|set| known(set.manifest()).get(&token));
    outputs.chain(labels).filter_map(|token| Some((token, text(token)?.clone()))).collect()
}

fn notes(sets: &[SetSummary], compared: &[ComparedSet]) -> Vec<String> {
    let mut notes = Vec::new();
    for set in compared {
        if let Some(prediction) = set.entry().prediction.filter(Faithfulness::is_far) {
            notes.push(format!("{:?}: {}: {prediction}", set.label(), set.manifest().settings.far()));
        }
    }
    for set in compared {
        if let Some(Err(problem)) = set.entry().evaluation() {
            notes.push(format!("the evaluation in the metadata of {:?} is not understood: {problem}", set.label()));
        }
    }
    for set in sets.iter().filter(|set| set.not_finite > 0) {
        let (label, count) = (&set.label, set.not_finite);
        notes.push(format!("{count} edges of {label:?} are not finite and count as absent"));
    }
    notes.extend(other_forward(compared));
    notes.extend(other_end(compared));
    notes.extend(other_threshold(sets, "CI threshold", |set| set.ci_threshold));
    notes.extend(other_threshold(sets, "output probability threshold", |set| set.output_prob_threshold));
    notes
}

fn other_forward(sets: &[ComparedSet]) -> Option<String> {
    let at = |set: &ComparedSet| set.manifest().settings.definition();
    let other = sets.iter().find(|set| at(set) != at(&sets[0]))?;
    let said = |set: &ComparedSet| {
        let evaluated = set.manifest().settings.evaluated();
        format!("{:?} {}", set.label(), evaluated.as_deref().unwrap_or("at the masked model's activations"))
    };
    Some(format!(
        "attributions are evaluated in {}, and in {}: their values are not those of one thing",
        said(&sets[0]),
        said(other)
    ))
}

fn other_end(sets: &[ComparedSet]) -> Option<String> {
    let until = |set: &ComparedSet| set.entry().until;
    let other = sets.iter().find(|set| until(set) != until(&sets[0]))?;
    let said = |set: &ComparedSet| match until(set) {
        Some(last) => format!("{:?} up to position {last}", set.label()),
        None => format!("{:?} to the end", set.label()),
    };
    Some(format!("of the prompt {} takes part and {}: after that a set has nothing", said(&sets[0]), said(other)))
}

fn other_threshold(sets: &[SetSummary], what: &str, threshold: impl Fn(&SetSummary) -> f64) -> Option<String> {
    let (first, own) = (&sets[0].label, threshold(&sets[0]));
    let other = sets.iter().find(|set| threshold(set).total_cmp(&own).is_ne())?;
    let (label, theirs) = (&other.label, threshold(other));
    Some(format!("the {what} is {own} in {first:?} and {theirs} in {label:?}: what differs may differ by that alone"))
}
