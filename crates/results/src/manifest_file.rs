//! Reading manifests, of any version. Layers are names there, and what they are the manifest's own list says.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use serde::Deserialize;
use tributary_files::input;
use tributary_model::Layer;

use crate::faithfulness::StoredFaithfulness;
use crate::{
    BorderlineEntry, FORMAT, FORMAT_VERSION, Kind, LayerCounts, Manifest, PairCounts, PairEntry, PromptEntry,
    ResultError, RunInfo, SetEntry, Settings,
};

/// What version 1 names as the method of a consensus, which has no kind there.
const CONSENSUS_METHOD: &str = "consensus";

/// Bytes of the largest manifest that is read: some hundred thousand sets.
const LARGEST: u64 = 1 << 30;

/// Reads a manifest and checks that its parts fit together.
pub(crate) fn read(path: &Path) -> Result<Manifest, ResultError> {
    let broken = |reason: String| ResultError::Manifest { path: path.to_owned(), reason };
    if !begins_as_one(path)? {
        return Err(broken("not a manifest of tributary results: it does not begin with {".to_owned()));
    }
    let bytes = input::read(path, "a manifest", LARGEST)?;
    let version: Version = serde_json::from_slice(&bytes)
        .map_err(|error| broken(format!("not a manifest of tributary results: {error}")))?;
    if version.format != FORMAT {
        return Err(broken(format!("format is {:?}, expected {FORMAT:?}", version.format)));
    }
    if !(1..=FORMAT_VERSION).contains(&version.format_version) {
        let (path, found) = (path.to_owned(), version.format_version);
        return Err(ResultError::FormatVersion { path, found, newest: FORMAT_VERSION });
    }
    let stored: StoredManifest = serde_json::from_slice(&bytes).map_err(|error| broken(error.to_string()))?;
    let manifest = stored.resolve().map_err(broken)?;
    manifest.check().map_err(broken)?;
    Ok(manifest)
}

/// Whether a file begins as a manifest, or as nothing: before a gigabyte of something else is read.
fn begins_as_one(path: &Path) -> Result<bool, ResultError> {
    let mut head = Vec::new();
    input::open(path)?.take(512).read_to_end(&mut head).map_err(ResultError::io("read", path))?;
    Ok(head.trim_ascii_start().first().is_none_or(|&first| first == b'{'))
}

/// What every version of the manifest holds.
#[derive(Deserialize)]
struct Version {
    format: String,
    format_version: u64,
}

#[derive(Deserialize)]
struct StoredManifest {
    format: String,
    format_version: u64,
    tool_version: String,
    settings: Settings,
    #[serde(flatten)]
    run: RunInfo,
    prompts: Vec<PromptEntry>,
    #[serde(default)]
    output_tokens: BTreeMap<u32, String>,
    #[serde(default)]
    output_token_texts: BTreeMap<u32, String>,
    pairs: Vec<StoredPair>,
    sets: Vec<StoredSet>,
}

#[derive(Deserialize)]
struct StoredPair {
    source: String,
    target: String,
    is_kv_to_o_pair: bool,
    crosses_positions: bool,
}

#[derive(Deserialize)]
struct StoredSet {
    name: String,
    file: String,
    sha256: String,
    prompt: usize,
    metadata: Option<serde_json::Value>,
    #[serde(default)]
    until: Option<usize>,
    #[serde(default)]
    delta_distance: Option<f32>,
    nodes: usize,
    edges: usize,
    prediction: Option<StoredFaithfulness>,
    layers: BTreeMap<String, LayerCounts>,
    pairs: Vec<PairCounts>,
    #[serde(default)]
    borderline: Vec<StoredBorderline>,
}

#[derive(Deserialize)]
struct StoredBorderline {
    layer: String,
    position: usize,
    component: usize,
    importance: f64,
}

/// The layers of the model by their names.
struct Layers(BTreeMap<String, Layer>);

impl Layers {
    /// The layer called `name`, for which the manifest asks at `place`.
    fn named(&self, name: &str, place: impl FnOnce() -> String) -> Result<Layer, String> {
        let known = || self.0.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
        self.0.get(name).copied().ok_or_else(|| {
            format!("{} is {name:?}, which is not a layer of its model; those with nodes are {}", place(), known())
        })
    }
}

impl StoredManifest {
    /// With the layers that its names stand for; `Err` says which stands for none.
    fn resolve(self) -> Result<Manifest, String> {
        let Self {
            format,
            format_version,
            tool_version,
            settings,
            mut run,
            prompts,
            output_tokens,
            output_token_texts,
            pairs,
            sets,
        } = self;
        if format_version == 1 && run.method == CONSENSUS_METHOD {
            run.kind = Kind::Consensus;
        }
        let layers = Layers(run.model.node_layers().map(|(layer, _)| (layer.path().to_owned(), layer)).collect());
        let pairs = pairs.iter().enumerate().map(|(i, pair)| pair.resolve(i, &layers)).collect::<Result<_, _>>()?;
        let sets = sets.into_iter().enumerate().map(|(i, set)| set.resolve(i, &layers)).collect::<Result<_, _>>()?;
        Ok(Manifest {
            format,
            format_version,
            tool_version,
            settings,
            run,
            prompts,
            output_tokens,
            output_token_texts,
            pairs,
            sets,
        })
    }
}

impl StoredPair {
    fn resolve(&self, i: usize, layers: &Layers) -> Result<PairEntry, String> {
        let &Self { ref source, ref target, is_kv_to_o_pair, crosses_positions } = self;
        Ok(PairEntry {
            source: layers.named(source, || format!("pairs[{i}].source"))?,
            target: layers.named(target, || format!("pairs[{i}].target"))?,
            is_kv_to_o_pair,
            crosses_positions,
        })
    }
}

impl StoredSet {
    fn resolve(self, i: usize, layers: &Layers) -> Result<SetEntry, String> {
        let Self {
            name, file, sha256, prompt, metadata, until, delta_distance, nodes, edges, prediction, pairs, ..
        } = self;
        let counts = self.layers.iter().map(|(name, &counts)| {
            let layer = layers.named(name, || format!("a key of sets[{i}].layers"))?;
            Ok((layer, counts))
        });
        let counts = counts.collect::<Result<BTreeMap<_, _>, String>>()?;
        let borderline = self.borderline.into_iter().enumerate().map(|(at, entry)| {
            let StoredBorderline { layer, position, component, importance } = entry;
            let layer = layers.named(&layer, || format!("sets[{i}].borderline[{at}].layer"))?;
            Ok(BorderlineEntry { layer, position, component, importance })
        });
        let borderline = borderline.collect::<Result<Vec<_>, String>>()?;
        let prediction = prediction.map(Into::into);
        Ok(SetEntry {
            name,
            file,
            sha256,
            prompt,
            metadata,
            until,
            nodes,
            edges,
            delta_distance,
            prediction,
            layers: counts,
            pairs,
            borderline,
        })
    }
}
