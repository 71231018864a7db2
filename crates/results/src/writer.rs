//! Writing result folders.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::BufWriter;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;
use tributary_backend::Element;
use tributary_engine::{LayerNodes, PairAttribution, Prompt, SetAttributions};

use crate::file_name::FileNames;
use crate::manifest::{
    FORMAT, FORMAT_VERSION, LayerCounts, MANIFEST_FILE, Manifest, PairCounts, PairEntry, PromptEntry, RunInfo,
    SetEntry, Settings,
};
use crate::sha256::HashingWriter;
use crate::staging::{PARTIAL, Staging};
use crate::{ResultError, tensors};

/// Bytes gathered before they are hashed and handed to the operating system.
const BUFFER: usize = 1 << 18;

/// Writes a result folder, which appears when [`finish`](Self::finish) succeeds and not before.
///
/// Dropping the writer without that leaves the folder as it was found: results that were there are still there, and
/// folders that were made for it are gone. When the process is killed, the next writer for the folder does the same.
#[derive(Debug)]
pub struct ResultWriter {
    staging: Staging,
    settings: Settings,
    /// Set files of the results that are replaced, if there are such results.
    old: Option<Vec<String>>,
    files: FileNames,
    sets: Vec<WrittenSet>,
    pairs: Option<Vec<PairEntry>>,
    writing: Duration,
}

#[derive(Debug)]
struct WrittenSet {
    place: usize,
    prompt: PromptEntry,
    entry: SetEntry,
}

impl ResultWriter {
    /// Prepares to write to the folder `out`, which is made if it does not exist. To be called before any long
    /// computation, as it fails for an output that is occupied or cannot be written to.
    ///
    /// A folder that already holds results is refused unless `force`; then [`finish`](Self::finish) replaces them.
    /// Files that no manifest of ours names are never touched, and set files are named around them.
    pub fn create(out: &Path, force: bool, settings: Settings) -> Result<Self, ResultError> {
        let staging = Staging::create(out)?;
        let manifest = out.join(MANIFEST_FILE);
        let mut old = None;
        if manifest.symlink_metadata().is_ok() {
            if !force {
                return Err(ResultError::Occupied { path: out.to_owned() });
            }
            let replaced = Manifest::read(&manifest)
                .map_err(|source| ResultError::Irreplaceable { path: out.to_owned(), source: Box::new(source) })?;
            let is_file = |file: &String| out.join(file).symlink_metadata().is_ok_and(|found| !found.is_dir());
            old = Some(replaced.sets.into_iter().map(|set| set.file).filter(is_file).collect::<Vec<_>>());
        }
        let owned: BTreeSet<&str> = old.iter().flatten().map(String::as_str).chain([MANIFEST_FILE, PARTIAL]).collect();
        let mut files = FileNames::default();
        for entry in fs::read_dir(out).map_err(ResultError::io("list", out))? {
            let name = entry.map_err(ResultError::io("list", out))?.file_name();
            let name = name.to_string_lossy();
            if !owned.contains(&*name) {
                files.reserve(&name);
            }
        }
        Ok(Self { staging, settings, old, files, sets: Vec::new(), pairs: None, writing: Duration::ZERO })
    }

    /// Writes the file of one set. `place` is its place among the sets of the run, which may be written in any order;
    /// `metadata` is what came with it in its input.
    ///
    /// After an error, drop the writer.
    ///
    /// # Panics
    ///
    /// When the pairs of the set are not those of the sets before it, or the numbers of values do not fit the nodes.
    pub fn write_set<E: Element>(
        &mut self,
        place: usize,
        set: &SetAttributions<E>,
        prompt: &Prompt,
        metadata: Option<Value>,
    ) -> Result<(), ResultError> {
        let started = Instant::now();
        if self.sets.iter().any(|written| written.entry.name == set.name) {
            return Err(ResultError::DuplicateSet { name: set.name.clone() });
        }
        let pairs: Vec<PairEntry> = set.pairs.iter().map(|pair| PairEntry::from(&pair.pair)).collect();
        let table = self.pairs.get_or_insert_with(|| pairs.clone());
        assert_eq!(*table, pairs, "set {:?} has other pairs than the sets before it", set.name);
        assert_fits(set);

        let file = self.files.assign(&set.name);
        let path = self.staging.path(&file);
        let write = || {
            let mut out = BufWriter::with_capacity(BUFFER, HashingWriter::new(File::create_new(&path)?));
            tensors::write_set(set, prompt, self.settings.output_probs, &mut out)?;
            let hashing = out.into_inner().map_err(std::io::IntoInnerError::into_error)?;
            Ok(hashing.finish())
        };
        let sha256 = write().map_err(ResultError::io("write", &path))?;
        let entry = SetEntry {
            name: set.name.clone(),
            file,
            sha256,
            // Known once all sets are.
            prompt: usize::MAX,
            metadata,
            nodes: set.node_count(),
            edges: set.edge_count(),
            layers: set.nodes.iter().map(|(&layer, nodes)| (layer, count_layer(nodes))).collect(),
            pairs: set.pairs.iter().map(count_pair).collect(),
            borderline: set.borderline.iter().copied().map(Into::into).collect(),
        };
        self.sets.push(WrittenSet { place, prompt: PromptEntry::from(prompt), entry });
        self.writing += started.elapsed();
        Ok(())
    }

    /// Moves everything into place, the manifest last, and gives that manifest.
    pub fn finish(self, run: RunInfo) -> Result<Manifest, ResultError> {
        let started = Instant::now();
        let Self { staging, settings, old, mut sets, pairs, writing, .. } = self;
        sets.sort_by_key(|set| set.place);
        let mut manifest = Manifest {
            format: FORMAT.to_owned(),
            format_version: FORMAT_VERSION,
            tool_version: env!("CARGO_PKG_VERSION").to_owned(),
            settings,
            run,
            prompts: Vec::new(),
            pairs: pairs.unwrap_or_default(),
            sets: Vec::with_capacity(sets.len()),
        };
        for WrittenSet { prompt, mut entry, .. } in sets {
            let known = manifest.prompts.iter().position(|known| *known == prompt);
            entry.prompt = known.unwrap_or(manifest.prompts.len());
            if known.is_none() {
                manifest.prompts.push(prompt);
            }
            manifest.sets.push(entry);
        }
        let new: Vec<String> = manifest.sets.iter().map(|set| set.file.clone()).collect();
        staging.commit(old.as_deref(), &new, || {
            manifest.run.timings.write = (writing + started.elapsed()).as_secs_f64();
            manifest.to_json()
        })?;
        Ok(manifest)
    }
}

/// # Panics
///
/// When the numbers of values do not fit the nodes.
fn assert_fits<E: Element>(set: &SetAttributions<E>) {
    for (&layer, nodes) in &set.nodes {
        let expected = if tensors::importance_name(layer).is_some() { nodes.alive.len() } else { 0 };
        let found = (nodes.importance.len(), nodes.activation.len());
        assert_eq!(found, (expected, expected), "importances and activations of {layer} in set {:?}", set.name);
    }
    for pair in &set.pairs {
        let expected = tributary_engine::edge_count(&pair.pair, &pair.source, &pair.target);
        assert_eq!(pair.values.len(), expected, "values of {:?} in set {:?}", pair.pair, set.name);
    }
}

pub(crate) fn count_layer<E>(nodes: &LayerNodes<E>) -> LayerCounts {
    let is_ghost = |&(position, component): &(usize, usize)| nodes.alive.row_of(position, component).is_none();
    LayerCounts { nodes: nodes.alive.len(), ghosts: nodes.original.iter().filter(is_ghost).count() }
}

pub(crate) fn count_pair<E: Element>(pair: &PairAttribution<E>) -> PairCounts {
    let values = || pair.values.iter().map(|value| value.to_f32());
    // In the total order a NaN is the largest.
    let largest = values().map(f32::abs).max_by(f32::total_cmp);
    PairCounts {
        n_c_in: pair.trimmed_c_in_idxs().len(),
        n_c_out: pair.trimmed_c_out_idxs().len(),
        edges: pair.values.len(),
        nonzero: values().filter(|&value| value != 0.0).count(),
        largest: largest.filter(|largest| largest.is_finite()),
    }
}
