//! `manifest.json`: what a result folder holds and how it was made.

use std::collections::{BTreeMap, HashSet};
use std::io::{self, Write};

use serde::{Deserialize, Serialize};
use tributary_model::{Borderline, Faithfulness, Layer, Pair, Prompt, TokenProb, token_label};

use crate::{ModelInfo, OutputTargets, SetEvaluation, SpeltToken, faithfulness, file_name, layer_names};

/// Name of the manifest in a result folder.
pub const MANIFEST_FILE: &str = "manifest.json";
/// Name of the format, in manifests and in the metadata of set files.
pub const FORMAT: &str = "tributary-results";
/// Version of the format that is written. All versions up to it are read; fields may be added without a new version.
pub const FORMAT_VERSION: u64 = 2;

/// Everything about a run but the graphs themselves.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Manifest {
    /// [`FORMAT`].
    pub format: String,
    /// [`FORMAT_VERSION`], or an earlier one that was read.
    pub format_version: u64,
    /// Version of tributary that wrote the folder.
    pub tool_version: String,
    /// What was asked for.
    pub settings: Settings,
    /// The model, what it ran on and how long that took.
    #[serde(flatten)]
    pub run: RunInfo,
    /// The prompts of the sets, each once, in the order of the sets.
    pub prompts: Vec<PromptEntry>,
    /// Token strings of the output nodes and ghosts of all sets and of the likeliest tokens, by token id; empty when they are
    /// not known.
    pub output_tokens: BTreeMap<u32, String>,
    /// What the same tokens are decoded to in the middle of a text, by token id, of those that the vocabulary spells otherwise.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub output_token_texts: BTreeMap<u32, String>,
    /// The pair table. Every set has every pair, also where it has no edges.
    pub pairs: Vec<PairEntry>,
    /// The sets in the order of their input.
    pub sets: Vec<SetEntry>,
}

/// What a run was asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "each stands for a flag")]
pub struct Settings {
    /// Smallest causal importance of an alive component; what it has to be above where `forward` is `target`.
    pub ci_threshold: f64,
    /// Smallest probability of an alive output token; what it has to be above where `forward` is `target`.
    pub output_prob_threshold: f64,
    /// How many output tokens of a position may be alive, the most probable; `None` for any number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_top: Option<usize>,
    /// What of the output was asked for whatever its probability.
    #[serde(default, skip_serializing_if = "OutputTargets::is_empty")]
    pub output_targets: OutputTargets,
    /// The activations at which attributions were evaluated.
    #[serde(default, skip_serializing_if = "Forward::is_masked")]
    pub forward: Forward,
    /// What gradients did at what no component holds of the weights, where `forward` is `target`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delta: Option<Delta>,
    /// How attributions were to be computed: `auto`, `autograd`, ...
    pub method: String,
    /// Whether the set files hold `output_probs`.
    pub output_probs: bool,
    /// Number of threads; `None` when it was left to the backend.
    pub threads: Option<usize>,
    /// Whether the set files leave out the index of edges, which follows from the nodes.
    #[serde(default)]
    pub implied_index: bool,
    /// Whether f32 products could be taken in TF32.
    #[serde(default)]
    pub allow_tf32: bool,
    /// Whether what the model's own causal importances keep alive was computed beside the sets of a file.
    #[serde(default = "asked_for", skip_serializing_if = "is_asked_for")]
    pub ghosts: bool,
}

impl Settings {
    /// What to say of a set whose masked model is far from the target model.
    pub fn far(&self) -> &'static str {
        match self.forward {
            Forward::Masked => Faithfulness::FAR,
            Forward::Target => Faithfulness::FAR_AT_TARGET,
        }
    }

    /// What `value` is of: where attributions were evaluated, and what gradients did.
    pub fn definition(&self) -> (Forward, Option<Delta>) {
        let delta = self.delta.map(|delta| if delta == Delta::Both { Delta::Through } else { delta });
        (self.forward, delta)
    }

    /// Where attributions were evaluated, in words; `None` where that is at the masked model's activations.
    pub fn evaluated(&self) -> Option<String> {
        let does = self.delta?.does();
        Some(format!("at the target model's activations, gradients {does} what no component holds of the weights"))
    }
}

/// The activations at which attributions were evaluated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Forward {
    /// Those of the model that the causal importances mask.
    #[default]
    Masked,
    /// Those of the target model.
    Target,
}

impl Forward {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
    fn is_masked(&self) -> bool {
        *self == Self::Masked
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Masked => "masked",
            Self::Target => "target",
        }
    }
}

/// What gradients did at what no component holds of the weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Delta {
    /// They passed through it.
    Through,
    /// They stopped there.
    Stopped,
    /// Both: `value` holds the former, `value_stopped` the latter.
    Both,
}

impl Delta {
    /// What gradients do, before what it is that they do it at.
    pub fn does(self) -> &'static str {
        match self {
            Self::Through => "pass through",
            Self::Stopped => "stop at",
            Self::Both => "pass through, and in a second computation stop at",
        }
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Through => "through",
            Self::Stopped => "stopped",
            Self::Both => "both",
        }
    }
}

fn asked_for() -> bool {
    true
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_asked_for(asked: &bool) -> bool {
    *asked
}

/// Where the inputs of a run were, as absolute paths; what `tributary verify` goes back to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inputs {
    /// The trained run.
    pub model: String,
    /// The target model's folder, where it was given.
    pub target: Option<String>,
    /// The tokenizer, where it was given.
    pub tokenizer: Option<String>,
    /// The checkpoint, where it was given: a path, or the name of a file in the folder of the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<String>,
    /// The file of CI sets; `None` for the model's own causal importances.
    pub ci_sets: Option<String>,
    /// SHA-256 of that file, in hexadecimal; `None` where it was not noted. The files of the run have the model's
    /// [fingerprint](ModelInfo::fingerprint).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ci_sets_sha256: Option<String>,
}

/// What the values of a result are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Attributions that were computed from a model.
    #[default]
    Attributions,
    /// Statistics of the attributions of other results.
    Consensus,
}

/// The model, what it ran on and how long that took.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunInfo {
    /// What the values are. Version 1 does not say.
    #[serde(default)]
    pub kind: Kind,
    /// The model.
    pub model: ModelInfo,
    /// Where the inputs were.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inputs: Option<Inputs>,
    /// Name of the backend.
    pub backend: String,
    /// Its device.
    pub device: String,
    /// Floating-point type of the computation: `f32` or `f64`. Files hold f32 either way.
    pub dtype: String,
    /// How attributions were computed: the settings' method, with `auto` resolved.
    pub method: String,
    /// By layer the Frobenius norm of what no component holds of its weight, by that of the weight, where attributions were
    /// evaluated at the target model's activations; empty otherwise.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub deltas: BTreeMap<String, f32>,
    /// Durations of the steps.
    pub timings: Timings,
}

impl RunInfo {
    /// Whether the result holds statistics of other results.
    pub fn is_consensus(&self) -> bool {
        self.kind == Kind::Consensus
    }
}

/// Durations in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Timings {
    /// Reading the model and the sets.
    pub load: f64,
    /// The model's own causal importances, which give the ghosts.
    pub model_ci: f64,
    /// The masked forward pass.
    pub forward: f64,
    /// From inputs ready to trimmed values on the host: `forward` and `stages` included, `model_ci` not.
    pub attribution: f64,
    /// Writing the set files, until the last is written. [`ResultWriter::finish`](crate::ResultWriter::finish) fills it in.
    pub write: f64,
    /// Parts of `attribution`. Version 1 has none.
    #[serde(default)]
    pub stages: Stages,
}

/// Parts of the computation, in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Stages {
    /// From the logits to probabilities and alive tokens.
    pub output: f64,
    /// The target model's predictions, and how far the masked model's are from them.
    pub target_output: f64,
    /// Attributions on what reads the residual stream: `q_proj`, `k_proj`, `v_proj`, `c_fc` and `output`.
    pub residual: f64,
    /// Attributions on `o_proj`.
    pub attention: f64,
    /// Attributions on `down_proj`.
    pub elementwise: f64,
    /// Attributions on targets that no closed form covers.
    pub autograd: f64,
}

/// A prompt as text and as tokens.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PromptEntry {
    /// The text.
    pub text: String,
    /// Token ids, one per position.
    pub tokens: Vec<u32>,
    /// Token strings, one per position, as the tokenizer's vocabulary spells them.
    pub token_strings: Vec<String>,
    /// What each token adds to the text that all are decoded to; a byte that makes no character by itself is `⟨C3⟩`. Empty where
    /// that is not known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub token_texts: Vec<String>,
    /// What the target model says comes next at each position: its likeliest tokens, the likeliest first. Empty where that is
    /// not known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub target_likeliest: Vec<Vec<TokenEntry>>,
}

impl From<&Prompt> for PromptEntry {
    fn from(prompt: &Prompt) -> Self {
        let Prompt { text, tokens, token_strings } = prompt.clone();
        Self { text, tokens, token_strings, token_texts: Vec::new(), target_likeliest: Vec::new() }
    }
}

impl PromptEntry {
    /// What each token is decoded to; the vocabulary's spelling where that is not known.
    pub fn texts(&self) -> &[String] {
        if self.token_texts.is_empty() { &self.token_strings } else { &self.token_texts }
    }

    /// Each token for showing: what it is decoded to, with spaces and ends of lines [made visible](token_label).
    pub fn labels(&self) -> Vec<String> {
        self.texts().iter().zip(&self.token_strings).map(|(text, spelling)| label(text, spelling)).collect()
    }
}

/// What is shown of a token: its spelling where it adds nothing to the text.
fn label(text: &str, spelling: &str) -> String {
    token_label(if text.is_empty() { spelling } else { text })
}

/// A token and its probability.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TokenEntry {
    /// Token id.
    pub token: u32,
    /// Its string; empty when it is not known.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub string: String,
    /// Its probability.
    pub prob: f32,
}

impl From<TokenProb> for TokenEntry {
    fn from(TokenProb { token, prob }: TokenProb) -> Self {
        Self { token, string: String::new(), prob: prob as f32 }
    }
}

impl From<&TokenEntry> for TokenProb {
    fn from(entry: &TokenEntry) -> Self {
        Self { token: entry.token, prob: f64::from(entry.prob) }
    }
}

/// A row of the pair table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct PairEntry {
    /// Where the attributions start.
    #[serde(serialize_with = "layer_names::serialize")]
    pub source: Layer,
    /// Where they lead.
    #[serde(serialize_with = "layer_names::serialize")]
    pub target: Layer,
    /// Whether this is a key or value projection acting on the output projection of its own block.
    pub is_kv_to_o_pair: bool,
    /// Whether sources act on later positions too, or only on their own.
    pub crosses_positions: bool,
}

impl PairEntry {
    /// The pair as the engine knows it.
    pub fn pair(&self) -> Pair {
        Pair { source: self.source, target: self.target, crosses_positions: self.crosses_positions }
    }
}

impl From<&Pair> for PairEntry {
    fn from(pair: &Pair) -> Self {
        let Pair { source, target, crosses_positions } = *pair;
        Self { source, target, is_kv_to_o_pair: pair.is_kv_to_o_pair(), crosses_positions }
    }
}

/// A set and its file.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SetEntry {
    /// Name of the set: any text.
    pub name: String,
    /// Name of its file in the folder.
    pub file: String,
    /// SHA-256 of the file, in hexadecimal.
    pub sha256: String,
    /// Index of its prompt in [`Manifest::prompts`].
    pub prompt: usize,
    /// What came with the set, as it was; `None` when nothing did.
    pub metadata: Option<serde_json::Value>,
    /// The last position that takes part: nothing after it is a node; `None` where that is the prompt's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<usize>,
    /// Number of nodes.
    pub nodes: usize,
    /// Number of edges.
    pub edges: usize,
    /// How far its attributions whose gradients stop at what no component holds of the weights are from those whose gradients
    /// pass through: L2 norm of the difference by that of the latter. `None` unless both were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delta_distance: Option<f32>,
    /// How faithful its masked model is to the target model; `None` where that is not known.
    #[serde(serialize_with = "faithfulness::serialize", skip_serializing_if = "Option::is_none")]
    pub prediction: Option<Faithfulness>,
    /// Counts of every layer that has nodes.
    #[serde(serialize_with = "layer_names::keys")]
    pub layers: BTreeMap<Layer, LayerCounts>,
    /// Counts of every pair, in the order of [`Manifest::pairs`].
    pub pairs: Vec<PairCounts>,
    /// Entries, alive or not, so near a threshold that another backend may decide otherwise.
    pub borderline: Vec<BorderlineEntry>,
}

impl SetEntry {
    /// What names of files about it begin with: safe in paths and URLs, and different for each set of a result.
    pub fn stem(&self) -> &str {
        self.file.strip_suffix(file_name::EXTENSION).unwrap_or(&self.file)
    }

    /// What came of putting it to the test, where its metadata say so.
    ///
    /// # Errors
    ///
    /// As [`SetEvaluation::of`].
    pub fn evaluation(&self) -> Option<Result<SetEvaluation, String>> {
        SetEvaluation::of(self.metadata.as_ref()?)
    }
}

/// An entry within rounding of a threshold.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct BorderlineEntry {
    /// Its layer.
    #[serde(serialize_with = "layer_names::serialize")]
    pub layer: Layer,
    /// Its position.
    pub position: usize,
    /// Its component; the token for `output`.
    pub component: usize,
    /// Its causal importance or probability.
    pub importance: f64,
}

impl From<Borderline> for BorderlineEntry {
    fn from(Borderline { layer, position, component, importance }: Borderline) -> Self {
        Self { layer, position, component, importance }
    }
}

impl From<BorderlineEntry> for Borderline {
    fn from(BorderlineEntry { layer, position, component, importance }: BorderlineEntry) -> Self {
        Self { layer, position, component, importance }
    }
}

/// Counts of one layer in one set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerCounts {
    /// Number of nodes, the alive entries.
    pub nodes: usize,
    /// Number of ghosts: originally alive entries that are no nodes.
    pub ghosts: usize,
}

/// Counts of one pair in one set.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PairCounts {
    /// Number of components of the source alive at any position.
    pub n_c_in: usize,
    /// Number of components of the target alive at any position.
    pub n_c_out: usize,
    /// Number of edges.
    pub edges: usize,
    /// Number of edges that are not zero.
    pub nonzero: usize,
    /// Largest absolute value; `None` without edges, or when it is not finite.
    pub largest: Option<f32>,
    /// As [`SetEntry::delta_distance`], of this pair.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delta_distance: Option<f32>,
}

impl Manifest {
    /// Every layer that has nodes, with its number of components, the differences of logits that were asked for among those of
    /// the output.
    pub fn node_layers(&self) -> impl Iterator<Item = (Layer, usize)> + '_ {
        let contrasts = self.settings.output_targets.contrasts().len();
        let of_layer =
            move |(layer, count): (Layer, usize)| (layer, if layer.is_output() { count + contrasts } else { count });
        self.run.model.node_layers().map(of_layer)
    }

    /// Token string of an output node, or those of a difference of logits; its number where it is not known.
    pub fn output_token(&self, id: u32) -> String {
        self.output_tokens.get(&id).cloned().unwrap_or_else(|| format!("<{id}>"))
    }

    /// What an output node's token is decoded to in the middle of a text; as [`output_token`](Self::output_token) where that is
    /// not known.
    pub fn output_text(&self, id: u32) -> String {
        self.output_token_texts.get(&id).cloned().unwrap_or_else(|| self.output_token(id))
    }

    /// The token of an output node for showing, as [`PromptEntry::labels`].
    pub fn output_label(&self, id: u32) -> String {
        label(&self.output_text(id), &self.output_token(id))
    }

    /// What a token is decoded to that an evaluation names: as [`output_text`](Self::output_text) where the output has it, as in a
    /// prompt where one has it, or else as the evaluation spells it.
    pub fn text_of(&self, token: &SpeltToken) -> String {
        let SpeltToken { id, spelling } = token;
        if self.output_tokens.contains_key(id) {
            return self.output_text(*id);
        }
        let in_prompt = |prompt: &PromptEntry| {
            let at = prompt.tokens.iter().position(|token| token == id)?;
            prompt.texts().get(at).filter(|text| !text.is_empty()).cloned()
        };
        self.prompts.iter().find_map(in_prompt).unwrap_or_else(|| match spelling.as_str() {
            "" => format!("<{id}>"),
            spelling => spelling.to_owned(),
        })
    }

    /// What came of putting a set to the test, in one line, as [`SetEvaluation::line`]; `None` where that is not known.
    ///
    /// # Errors
    ///
    /// As [`SetEvaluation::of`].
    pub fn evaluation_line(&self, set: &SetEntry) -> Option<Result<String, String>> {
        match set.evaluation()? {
            Ok(evaluation) => {
                let label = evaluation.label.as_ref().map(|label| token_label(&self.text_of(label)));
                evaluation.line(&label.unwrap_or_default()).map(Ok)
            }
            Err(problem) => Some(Err(problem)),
        }
    }

    /// The entry of a set.
    pub fn set(&self, name: &str) -> Option<&SetEntry> {
        self.sets.iter().find(|set| set.name == name)
    }

    /// Writes it as JSON.
    pub(crate) fn write(&self, mut out: impl Write) -> io::Result<()> {
        serde_json::to_writer_pretty(&mut out, self)?;
        out.write_all(b"\n")
    }

    /// Whether the parts fit together; `Err` says where they do not.
    pub(crate) fn check(&self) -> Result<(), String> {
        let Settings { ci_threshold, output_prob_threshold, .. } = self.settings;
        for (what, value) in [("ci_threshold", ci_threshold), ("output_prob_threshold", output_prob_threshold)] {
            if !(value.is_finite() && value >= 0.0) {
                return Err(format!("settings.{what} is {value}, expected a number that is not negative"));
            }
        }
        if (self.settings.forward == Forward::Target) != self.settings.delta.is_some() {
            return Err(
                "settings.delta is given where settings.forward is not target, or is not where it is".to_owned()
            );
        }
        self.settings.output_targets.check(self.run.model.vocab)?;
        for (i, prompt) in self.prompts.iter().enumerate() {
            let (tokens, strings) = (prompt.tokens.len(), prompt.token_strings.len());
            if tokens != strings {
                return Err(format!("prompts[{i}] has {tokens} tokens but {strings} token_strings"));
            }
            let texts = prompt.token_texts.len();
            if texts != 0 && texts != tokens {
                return Err(format!("prompts[{i}] has {tokens} tokens but {texts} token_texts"));
            }
            let likeliest = prompt.target_likeliest.len();
            if likeliest != 0 && likeliest != tokens {
                return Err(format!("prompts[{i}] has {tokens} tokens but {likeliest} lists of target_likeliest"));
            }
            let vocab = self.run.model.vocab;
            let is_broken = |entry: &&TokenEntry| entry.token as usize >= vocab || !entry.prob.is_finite();
            if let Some(entry) = prompt.target_likeliest.iter().flatten().find(is_broken) {
                return Err(format!(
                    "prompts[{i}].target_likeliest has token {} with probability {}, expected a token of the vocabulary of \
                     {vocab}",
                    entry.token, entry.prob
                ));
            }
        }
        let (mut names, mut files) = (HashSet::new(), HashSet::new());
        for (i, set) in self.sets.iter().enumerate() {
            if !names.insert(&set.name) {
                return Err(format!("sets[{i}] is named {:?}, as is an earlier set", set.name));
            }
            if !file_name::is_set_file(&set.file) || !files.insert(&set.file) {
                return Err(format!("sets[{i}].file is {:?}, expected a file name of its own in the folder", set.file));
            }
            if set.prompt >= self.prompts.len() {
                return Err(format!(
                    "sets[{i}].prompt is {}, but there are {} prompts",
                    set.prompt,
                    self.prompts.len()
                ));
            }
            let positions = self.prompts[set.prompt].tokens.len();
            if let Some(last) = set.until.filter(|&last| last >= positions) {
                return Err(format!(
                    "sets[{i}].until is {last}, but its prompt has {positions} tokens, numbered from 0"
                ));
            }
            if set.prediction.is_some() && self.prompts[set.prompt].target_likeliest.is_empty() {
                return Err(format!("sets[{i}] has a prediction, but prompts[{}] has no target_likeliest", set.prompt));
            }
            if set.pairs.len() != self.pairs.len() {
                let (found, expected) = (set.pairs.len(), self.pairs.len());
                return Err(format!("sets[{i}].pairs has {found} entries, expected one for each of {expected} pairs"));
            }
        }
        Ok(())
    }
}
