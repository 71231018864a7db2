//! `manifest.json`: what a result folder holds and how it was made.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use serde::{Deserialize, Serialize};
use tributary_model::{Borderline, Layer, Pair, Prompt};

use crate::{ResultError, file_name, layer_names};

/// Name of the manifest in a result folder.
pub const MANIFEST_FILE: &str = "manifest.json";
/// Name of the format, in manifests and in the metadata of set files.
pub const FORMAT: &str = "tributary-results";
/// Version of the format. A reader of one version takes no other; fields may be added without a new version.
pub const FORMAT_VERSION: u64 = 1;

/// Everything about a run but the graphs themselves.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`FORMAT`].
    pub format: String,
    /// [`FORMAT_VERSION`].
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
    /// Token strings of the output nodes and ghosts of all sets, by token id; empty when they are not known.
    #[serde(default)]
    pub output_tokens: BTreeMap<u32, String>,
    /// The pair table. Every set has every pair, also where it has no edges.
    pub pairs: Vec<PairEntry>,
    /// The sets in the order of their input.
    pub sets: Vec<SetEntry>,
}

/// What a run was asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// Smallest causal importance of an alive component.
    pub ci_threshold: f64,
    /// Smallest probability of an alive output token.
    pub output_prob_threshold: f64,
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
    /// The file of CI sets; `None` for the model's own causal importances.
    pub ci_sets: Option<String>,
}

/// The model, what it ran on and how long that took.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunInfo {
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
    /// Durations of the steps.
    pub timings: Timings,
}

impl RunInfo {
    /// What the method of a result says that was not computed from a model: statistics of other results.
    pub const CONSENSUS: &str = "consensus";

    /// Whether the result holds statistics of other results.
    pub fn is_consensus(&self) -> bool {
        self.method == Self::CONSENSUS
    }
}

/// The model a result belongs to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelInfo {
    /// The published class: `GPT2Simple` or `LlamaSimpleMLP`.
    pub class: String,
    /// SHA-256 that identifies the weights, in hexadecimal.
    pub fingerprint: String,
    /// Number of blocks.
    pub n_blocks: usize,
    /// Number of tokens in the vocabulary.
    pub vocab: usize,
    /// Number of components of every decomposed layer.
    #[serde(with = "layer_names::keys")]
    pub components: BTreeMap<Layer, usize>,
}

impl ModelInfo {
    /// Every layer that has nodes, with its number of components: `wte` with 1, the decomposed layers, `output` with
    /// the vocabulary.
    pub fn node_layers(&self) -> impl Iterator<Item = (Layer, usize)> + '_ {
        let decomposed = self.components.iter().map(|(&layer, &count)| (layer, count));
        [(Layer::wte(), 1)].into_iter().chain(decomposed).chain([(Layer::output(), self.vocab)])
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
    /// From inputs ready to trimmed values on the host: `forward` included, `model_ci` not.
    pub attribution: f64,
    /// Writing the set files, until the last is in place. [`ResultWriter::finish`](crate::ResultWriter::finish) fills
    /// it in.
    pub write: f64,
}

/// A prompt as text and as tokens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PromptEntry {
    /// The text.
    pub text: String,
    /// Token ids, one per position.
    pub tokens: Vec<u32>,
    /// Token strings, one per position.
    pub token_strings: Vec<String>,
}

impl From<&Prompt> for PromptEntry {
    fn from(prompt: &Prompt) -> Self {
        let Prompt { text, tokens, token_strings } = prompt.clone();
        Self { text, tokens, token_strings }
    }
}

/// A row of the pair table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PairEntry {
    /// Where the attributions start.
    #[serde(with = "layer_names")]
    pub source: Layer,
    /// Where they lead.
    #[serde(with = "layer_names")]
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
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SetEntry {
    /// Name of the set: any text.
    pub name: String,
    /// Name of its file in the folder.
    pub file: String,
    /// SHA-256 of the file, in hexadecimal.
    pub sha256: String,
    /// Place of its prompt in [`Manifest::prompts`].
    pub prompt: usize,
    /// What came with the set, as it was; `None` when nothing did.
    pub metadata: Option<serde_json::Value>,
    /// Number of nodes.
    pub nodes: usize,
    /// Number of edges.
    pub edges: usize,
    /// Counts of every layer that has nodes.
    #[serde(with = "layer_names::keys")]
    pub layers: BTreeMap<Layer, LayerCounts>,
    /// Counts of every pair, in the order of [`Manifest::pairs`].
    pub pairs: Vec<PairCounts>,
    /// Entries, alive or not, so near a threshold that another backend may decide otherwise.
    #[serde(default)]
    pub borderline: Vec<BorderlineEntry>,
}

impl SetEntry {
    /// What names of files about it begin with: safe in paths and URLs, and different for each set of a result.
    pub fn stem(&self) -> &str {
        self.file.strip_suffix(file_name::EXTENSION).unwrap_or(&self.file)
    }
}

/// An entry within rounding of a threshold.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct BorderlineEntry {
    /// Its layer.
    #[serde(with = "layer_names")]
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
}

/// What every version of the manifest holds.
#[derive(Deserialize)]
struct Version {
    format: String,
    format_version: u64,
}

impl Manifest {
    /// Token string of an output node; its number where it is not known.
    pub fn output_token(&self, id: u32) -> String {
        self.output_tokens.get(&id).cloned().unwrap_or_else(|| format!("<{id}>"))
    }

    /// The entry of a set.
    pub fn set(&self, name: &str) -> Option<&SetEntry> {
        self.sets.iter().find(|set| set.name == name)
    }

    /// As it is written.
    pub(crate) fn to_json(&self) -> Vec<u8> {
        // Its keys are text and nothing in it refuses to be serialised.
        let mut json = serde_json::to_vec_pretty(self).unwrap_or_else(|error| unreachable!("{error}"));
        json.push(b'\n');
        json
    }

    /// Reads a manifest and checks that its parts fit together.
    pub(crate) fn read(path: &Path) -> Result<Self, ResultError> {
        let bytes = std::fs::read(path).map_err(ResultError::io("read", path))?;
        let broken = |reason: String| ResultError::Manifest { path: path.to_owned(), reason };
        let version: Version = serde_json::from_slice(&bytes)
            .map_err(|error| broken(format!("not a manifest of tributary results: {error}")))?;
        if version.format != FORMAT {
            return Err(broken(format!("format is {:?}, expected {FORMAT:?}", version.format)));
        }
        if version.format_version != FORMAT_VERSION {
            let (path, found) = (path.to_owned(), version.format_version);
            return Err(ResultError::FormatVersion { path, found, expected: FORMAT_VERSION });
        }
        let manifest: Self = serde_json::from_slice(&bytes).map_err(|error| broken(error.to_string()))?;
        manifest.check().map_err(broken)?;
        Ok(manifest)
    }

    /// Whether the parts fit together; `Err` says where they do not.
    fn check(&self) -> Result<(), String> {
        let layers: HashSet<Layer> = self.run.model.node_layers().map(|(layer, _)| layer).collect();
        for (i, pair) in self.pairs.iter().enumerate() {
            for layer in [pair.source, pair.target] {
                if !layers.contains(&layer) {
                    return Err(format!("pairs[{i}] names layer {layer}, which model.components does not"));
                }
            }
        }
        for (i, prompt) in self.prompts.iter().enumerate() {
            let (tokens, strings) = (prompt.tokens.len(), prompt.token_strings.len());
            if tokens != strings {
                return Err(format!("prompts[{i}] has {tokens} tokens but {strings} token_strings"));
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
            if set.pairs.len() != self.pairs.len() {
                let (found, expected) = (set.pairs.len(), self.pairs.len());
                return Err(format!("sets[{i}].pairs has {found} entries, expected one for each of {expected} pairs"));
            }
        }
        Ok(())
    }
}
