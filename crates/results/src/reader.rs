//! Reading result folders.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use safetensors::{Dtype, SafeTensors};
use tributary_files::{input, memory, recover, sha256};
use tributary_model::{AliveEntries, Layer, LayerNodes, Pair, PairAttribution, Prediction, SetAttributions, TokenProb};

use crate::counts::{count_layer, count_pair};
use crate::delta_distance::{self, DeltaDistance};
use crate::manifest::{Delta, MANIFEST_FILE, Manifest, SetEntry};
use crate::tensors::{
    KL, LIKELIEST, OUTPUT_PROBS, TARGET_PROB, VALUE_STOPPED, edge_tensor, importance_name, node_tensor,
};
use crate::{PromptEntry, ResultError, manifest_file};

/// Bytes of memory that an edge takes besides the file: its value, and the two nodes and value of who makes a graph of it.
const OF_EDGE: u64 = 4 + 12;

/// A folder of results. Nothing in it is trusted: whatever is read is checked first.
#[derive(Clone, Debug)]
pub struct ResultFolder {
    path: PathBuf,
    manifest: Manifest,
    /// Where set files are that are not in the folder yet, by name.
    staged: BTreeMap<String, PathBuf>,
}

impl ResultFolder {
    /// Reads the manifest of a result folder. What a killed run left there is undone first.
    pub fn open(path: &Path) -> Result<Self, ResultError> {
        let manifest = path.join(MANIFEST_FILE);
        if !path.exists() {
            return Err(ResultError::NoFolder { path: path.to_owned() });
        }
        recover(path)?;
        if path.is_dir() && manifest.symlink_metadata().is_err() {
            return Err(ResultError::NoManifest { path: path.to_owned() });
        }
        Ok(Self { path: path.to_owned(), manifest: manifest_file::read(&manifest)?, staged: BTreeMap::new() })
    }

    /// Results whose set files are `staged`, by the names that they will have.
    pub(crate) fn pending(path: &Path, manifest: Manifest, staged: BTreeMap<String, PathBuf>) -> Self {
        Self { path: path.to_owned(), manifest, staged }
    }

    pub(crate) fn set_manifest(&mut self, manifest: Manifest) {
        self.manifest = manifest;
    }

    pub(crate) fn into_manifest(self) -> Manifest {
        self.manifest
    }

    /// Where it is, as it was given.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Path of a set's file.
    pub fn set_path(&self, set: &SetEntry) -> PathBuf {
        self.staged.get(&set.file).cloned().unwrap_or_else(|| self.path.join(&set.file))
    }

    /// Number of edges of a set, as its manifest says, but no more than its file can hold.
    pub fn edges(&self, set: &SetEntry) -> u64 {
        edges(set, length(&self.set_path(set)))
    }

    /// Fails where so many bytes of memory, which is what somebody makes of its sets, cannot be had.
    pub fn check_memory(&self, bytes: u64) -> Result<(), ResultError> {
        Ok(memory::check(&self.path, bytes)?)
    }

    /// More bytes than the file of a set has, as its manifest counts what is in it.
    fn longest(&self, set: &SetEntry) -> u64 {
        /// Indices, importances and activations of a node, and what the target model has for it.
        const OF_NODE: usize = 8 + 4 + 4 + 4;
        /// Index and both values of an edge.
        const OF_EDGE: usize = 8 + 4 + 4;
        /// The name of a tensor, its shape and where it is.
        const OF_TENSOR: usize = 1 << 10;
        let ghosts = set.layers.values().map(|counts| counts.ghosts).fold(0, usize::saturating_add);
        // Alive entries of the set itself are nodes, or ghosts.
        let nodes = set.nodes.saturating_add(ghosts).saturating_mul(2 * OF_NODE);
        let prompt = &self.manifest.prompts[set.prompt];
        let positions = prompt.tokens.len();
        let probs = self.manifest.run.model.vocab.saturating_mul(positions).saturating_mul(size_of::<f32>());
        // A character of a text is up to six in JSON, each of which is up to two in the text that the header holds.
        let text = prompt.text.len()
            + prompt.token_strings.iter().map(|token| token.len() + 4).sum::<usize>()
            + set.name.len();
        let header = OF_TENSOR * (16 + 5 * set.layers.len() + 2 * set.pairs.len()) + 12 * text + 64 * positions;
        let edges = set.edges.saturating_mul(OF_EDGE);
        nodes.saturating_add(probs).saturating_add(edges).saturating_add(header) as u64
    }

    /// Fails where the folder now holds other results than when it was opened: what was made of these would not be theirs.
    pub fn check_current(&self) -> Result<(), ResultError> {
        let files = |manifest: &Manifest| -> Vec<(String, String)> {
            manifest.sets.iter().map(|set| (set.file.clone(), set.sha256.clone())).collect()
        };
        let now = manifest_file::read(&self.path.join(MANIFEST_FILE))?;
        if files(&now) == files(&self.manifest) {
            Ok(())
        } else {
            Err(ResultError::Replaced { path: self.path.clone() })
        }
    }

    /// Reads the graph of one set. Its `output_probs` are empty when they were not written.
    pub fn read_set(&self, name: &str) -> Result<SetAttributions<f32>, ResultError> {
        let entry = self.manifest.set(name).ok_or_else(|| ResultError::UnknownSet {
            path: self.path.join(MANIFEST_FILE),
            name: name.to_owned(),
            known: self.manifest.sets.iter().map(|set| format!("{:?}", set.name)).collect::<Vec<_>>().join(", "),
        })?;
        let path = self.set_path(entry);
        let length = length(&path);
        memory::check(&path, length.saturating_add(OF_EDGE.saturating_mul(edges(entry, length))))?;
        let changed = |found| ResultError::Changed { path: path.clone(), found, expected: entry.sha256.clone() };
        if length > self.longest(entry) {
            // With tensors that are not ours, or not the file: what it is, is known before it is held.
            let found = sha256::of_file(&path)?;
            if found != entry.sha256 {
                return Err(changed(found));
            }
        }
        let bytes = input::read(&path, "a set's file", u64::MAX)?;
        let found = sha256::of(&bytes);
        if found != entry.sha256 {
            return Err(changed(found));
        }
        let tensors = SafeTensors::deserialize(&bytes)
            .map_err(|source| ResultError::Safetensors { path: path.clone(), source })?;
        let positions = self.manifest.prompts[entry.prompt].tokens.len();
        let implied_index = self.manifest.settings.implied_index;
        SetFile { path: &path, tensors, positions, implied_index }.read(&self.manifest, entry)
    }
}

/// Bytes of a file; 0 where it cannot be told, which reading it says.
fn length(path: &Path) -> u64 {
    path.metadata().map_or(0, |found| found.len())
}

/// Number of edges of a set whose file has so many bytes.
fn edges(set: &SetEntry, length: u64) -> u64 {
    (set.edges as u64).min(length / size_of::<f32>() as u64)
}

struct SetFile<'a> {
    path: &'a Path,
    tensors: SafeTensors<'a>,
    positions: usize,
    implied_index: bool,
}

impl SetFile<'_> {
    fn read(&self, manifest: &Manifest, entry: &SetEntry) -> Result<SetAttributions<f32>, ResultError> {
        let model = &manifest.run.model;
        let nodes = manifest
            .node_layers()
            .map(|(layer, components)| Ok((layer, self.nodes(layer, components)?)))
            .collect::<Result<BTreeMap<_, _>, ResultError>>()?;
        let both = manifest.settings.delta == Some(Delta::Both);
        let pairs = manifest.pairs.iter().map(|pair| self.pair(pair.pair(), &nodes, both));
        let pairs = pairs.collect::<Result<Vec<_>, _>>()?;
        let output_probs = if manifest.settings.output_probs {
            self.numbers(OUTPUT_PROBS, &[self.positions, model.vocab])?
        } else {
            Vec::new()
        };
        self.check_counts(entry, &nodes, &pairs)?;
        let prediction = match entry.prediction {
            None => None,
            Some(_) => Some(self.prediction(&manifest.prompts[entry.prompt], &nodes, model.vocab)?),
        };
        let borderline = entry.borderline.iter().copied().map(Into::into).collect();
        let set = SetAttributions {
            name: entry.name.clone(),
            until: entry.until,
            nodes,
            pairs,
            output_probs,
            borderline,
            prediction,
        };
        if set.faithfulness(|&value| value) != entry.prediction {
            let what = "the prediction of the target model".to_owned();
            return Err(ResultError::Counts { path: self.path.to_owned(), what });
        }
        Ok(set)
    }

    /// Whether the manifest counts what is in the file.
    fn check_counts(
        &self,
        entry: &SetEntry,
        nodes: &BTreeMap<Layer, LayerNodes<f32>>,
        pairs: &[PairAttribution<f32>],
    ) -> Result<(), ResultError> {
        let differs = |what: String| ResultError::Counts { path: self.path.to_owned(), what };
        for (&layer, nodes) in nodes {
            if entry.layers.get(&layer) != Some(&count_layer(nodes)) {
                return Err(differs(format!("nodes and ghosts of {layer}")));
            }
        }
        for (counts, pair) in entry.pairs.iter().zip(pairs) {
            if *counts != count_pair(pair) {
                return Err(differs(format!("the edges {} -> {}", pair.pair.source, pair.pair.target)));
            }
        }
        let mut distance = DeltaDistance::default();
        for pair in pairs {
            distance = distance.and(delta_distance::of_pair(pair));
        }
        if entry.delta_distance != distance.relative() {
            return Err(differs("how far the two values of its edges are apart".to_owned()));
        }
        let beyond = |nodes: &LayerNodes<f32>| nodes.alive.iter().any(|(position, _)| Some(position) > entry.until);
        if entry.until.is_some() && nodes.values().any(beyond) {
            return Err(differs("up to which position it takes part".to_owned()));
        }
        let totals = (
            nodes.values().map(|nodes| nodes.alive.len()).sum::<usize>(),
            pairs.iter().map(|pair| pair.values.len()).sum::<usize>(),
        );
        if totals != (entry.nodes, entry.edges) {
            return Err(differs("all nodes and edges".to_owned()));
        }
        Ok(())
    }

    fn nodes(&self, layer: Layer, components: usize) -> Result<LayerNodes<f32>, ResultError> {
        let alive = Arc::new(self.entries(&node_tensor(layer, "index"), components)?);
        let original = Arc::new(self.entries(&node_tensor(layer, "original"), components)?);
        let numbers = |what| self.numbers(&node_tensor(layer, what), &[alive.len()]);
        let (importance, activation) = match importance_name(layer) {
            None => (Vec::new(), Vec::new()),
            Some(importance) => (numbers(importance)?, numbers("activation")?),
        };
        Ok(LayerNodes { alive, original, importance, activation })
    }

    fn prediction(
        &self,
        prompt: &PromptEntry,
        nodes: &BTreeMap<Layer, LayerNodes<f32>>,
        vocab: usize,
    ) -> Result<Prediction<f32>, ResultError> {
        let tensor = node_tensor(Layer::output(), TARGET_PROB);
        let target_prob = self.numbers(&tensor, &[nodes[&Layer::output()].alive.len()])?;
        self.check_each(&tensor, &target_prob, "a finite number", |prob| prob.is_finite())?;
        let kl = self.numbers(KL, &[self.positions])?;
        self.check_each(KL, &kl, "a finite number that is not negative", |&kl| kl.is_finite() && kl >= 0.0)?;
        let (shape, bytes) = self.tensor(LIKELIEST, Dtype::I32)?;
        if shape != [self.positions] {
            return Err(self.broken(LIKELIEST, format!("its shape is {shape:?}, expected {:?}", [self.positions])));
        }
        // An i32 below zero is a u32 above every bound.
        let likeliest: Vec<u32> = words(bytes).map(u32::from_le_bytes).collect();
        self.check_each(LIKELIEST, &likeliest, "a token of the vocabulary", |&token| (token as usize) < vocab)?;
        let target = prompt.target_likeliest.iter().map(|tokens| tokens.iter().map(TokenProb::from).collect());
        Ok(Prediction { target_prob, kl, likeliest, target_likeliest: Arc::new(target.collect()) })
    }

    fn check_each<T: std::fmt::Debug>(
        &self,
        tensor: &str,
        values: &[T],
        expected: &str,
        fits: impl Fn(&T) -> bool,
    ) -> Result<(), ResultError> {
        match values.iter().position(|value| !fits(value)) {
            None => Ok(()),
            Some(at) => Err(self.broken(tensor, format!("element {at} is {:?}, expected {expected}", values[at]))),
        }
    }

    fn entries(&self, tensor: &str, components: usize) -> Result<AliveEntries, ResultError> {
        let (shape, bytes) = self.tensor(tensor, Dtype::I32)?;
        let rows = rows(bytes);
        if shape != [rows.len(), 2] || u32::try_from(rows.len()).is_err() {
            return Err(self.broken(tensor, format!("its shape is {shape:?}, expected [n, 2] with n below 2^32")));
        }
        // An i32 below zero is a u32 above every bound.
        let outside =
            |&[position, component]: &[u32; 2]| position as usize >= self.positions || component as usize >= components;
        if let Some(row) = rows.iter().position(outside) {
            let (found, positions) = (rows[row].map(u32::cast_signed), self.positions);
            let reason = format!("row {row} is {found:?}, outside {positions} positions and {components} components");
            return Err(self.broken(tensor, reason));
        }
        AliveEntries::from_rows(self.positions, &rows)
            .ok_or_else(|| self.broken(tensor, "its rows do not ascend strictly".to_owned()))
    }

    fn pair(
        &self,
        pair: Pair,
        nodes: &BTreeMap<Layer, LayerNodes<f32>>,
        both: bool,
    ) -> Result<PairAttribution<f32>, ResultError> {
        // The manifest was checked to name only layers of its model.
        let empty = PairAttribution::between(pair, nodes);
        let edges = empty.edge_count();
        let values = self.numbers(&edge_tensor(&pair, "value"), &[edges])?;
        let stopped = if both { self.numbers(&edge_tensor(&pair, VALUE_STOPPED), &[edges])? } else { Vec::new() };
        let attribution = PairAttribution { values, stopped, ..empty };
        let tensor = edge_tensor(&pair, "index");
        // The index says nothing that the nodes do not; where it is there, it has to agree.
        if self.tensors.tensor(&tensor).is_err() && self.implied_index {
            return Ok(attribution);
        }
        let (shape, bytes) = self.tensor(&tensor, Dtype::U32)?;
        if shape != [edges, 2] {
            return Err(self.broken(&tensor, format!("its shape is {shape:?}, expected {:?}", [edges, 2])));
        }
        let as_rows = |(source, target)| [source as u32, target as u32];
        let differs = rows(bytes).into_iter().zip(attribution.edges().map(as_rows)).enumerate();
        if let Some((row, (found, expected))) = differs.into_iter().find(|(_, (found, expected))| found != expected) {
            let reason = format!("row {row} is {found:?}, where the nodes ask for {expected:?}");
            return Err(self.broken(&tensor, reason));
        }
        Ok(attribution)
    }

    fn numbers(&self, tensor: &str, expected: &[usize]) -> Result<Vec<f32>, ResultError> {
        let (shape, bytes) = self.tensor(tensor, Dtype::F32)?;
        if shape != expected {
            return Err(self.broken(tensor, format!("its shape is {shape:?}, expected {expected:?}")));
        }
        Ok(words(bytes).map(f32::from_le_bytes).collect())
    }

    /// Shape and bytes of a tensor, of which there are as many as dtype and shape ask for.
    fn tensor(&self, tensor: &str, expected: Dtype) -> Result<(Vec<usize>, &[u8]), ResultError> {
        let view = self.tensors.tensor(tensor).map_err(|_| self.broken(tensor, "it is missing".to_owned()))?;
        if view.dtype() != expected {
            return Err(self.broken(tensor, format!("its dtype is {:?}, expected {expected:?}", view.dtype())));
        }
        Ok((view.shape().to_vec(), view.data()))
    }

    fn broken(&self, tensor: &str, reason: String) -> ResultError {
        ResultError::Tensor { path: self.path.to_owned(), tensor: tensor.to_owned(), reason }
    }
}

fn words(bytes: &[u8]) -> impl Iterator<Item = [u8; 4]> + '_ {
    bytes.as_chunks().0.iter().copied()
}

fn rows(bytes: &[u8]) -> Vec<[u32; 2]> {
    let (rows, _) = bytes.as_chunks::<8>();
    rows.iter()
        .map(|row| [[row[0], row[1], row[2], row[3]], [row[4], row[5], row[6], row[7]]].map(u32::from_le_bytes))
        .collect()
}
