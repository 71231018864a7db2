//! Writing result folders.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs;
use std::io;
use std::mem;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;
use tributary_backend::Element;
use tributary_files::{PARTIAL, Replace, Transaction};
use tributary_model::{Layer, PairAttribution, Prediction, Prompt, SetAttributions};

use crate::counts::{count_layer, count_pairs};
use crate::delta_distance::{self, DeltaDistance};
use crate::file_name::FileNames;
use crate::manifest::{
    Delta, FORMAT, FORMAT_VERSION, LayerCounts, MANIFEST_FILE, Manifest, PairCounts, PairEntry, PromptEntry, RunInfo,
    SetEntry, Settings,
};
use crate::set_file::{Gathered, LARGEST_BUFFER, SET_FILE_BUFFERS, SetFile};
use crate::tensors::Contents;
use crate::{OutputTargets, PendingResults, ResultError, ResultFolder, SetEvaluation, manifest_file, tensors};

/// Writes a result folder, which appears when [`finish`](Self::finish) succeeds and not before.
///
/// Dropping the writer before leaves the folder as it was found: results that were there are still there, and
/// folders that were made for it are gone. When the process is killed, the next writer for the folder does the same.
#[derive(Debug)]
pub struct ResultWriter {
    transaction: Transaction,
    settings: Settings,
    /// The results that are replaced, and those of their set files that are there.
    replaced: Option<(Manifest, BTreeSet<String>)>,
    files: FileNames,
    names: HashSet<String>,
    sets: Vec<WrittenSet>,
    /// Each once; `prompt` of the entries of sets says which.
    prompts: Vec<PromptEntry>,
    /// By index.
    open: BTreeMap<usize, OpenSet>,
    gathered: Gathered,
    pairs: Option<Vec<PairEntry>>,
    output_tokens: BTreeMap<u32, String>,
    output_token_texts: BTreeMap<u32, String>,
    writing: Duration,
}

#[derive(Debug)]
struct WrittenSet {
    index: usize,
    path: PathBuf,
    entry: SetEntry,
}

/// A set whose values are still coming.
#[derive(Debug)]
struct OpenSet {
    out: SetFile,
    path: PathBuf,
    /// With the counts of what has come.
    entry: SetEntry,
    /// Number of edges of each pair.
    expected: Vec<usize>,
    /// How many values have come of each of which gradients stop at deltas; `None` unless those are to come.
    stopped: Option<Vec<usize>>,
}

impl ResultWriter {
    /// Prepares to write to the folder `out`, which is made if it does not exist. To be called before any long
    /// computation, as it fails for an output that is occupied or cannot be written to.
    ///
    /// A folder that already holds results is refused unless `force`; then [`finish`](Self::finish) replaces them.
    /// Files that no manifest of ours names are never touched, and set files are named around them.
    pub fn create(out: &Path, force: bool, settings: Settings) -> Result<Self, ResultError> {
        let transaction = Transaction::begin_exclusive(out)?;
        let manifest = out.join(MANIFEST_FILE);
        let mut replaced = None;
        if manifest.symlink_metadata().is_ok() {
            if !force {
                return Err(ResultError::Occupied { path: out.to_owned() });
            }
            let old = manifest_file::read(&manifest)
                .map_err(|source| ResultError::Irreplaceable { path: out.to_owned(), source: Box::new(source) })?;
            let is_file = |file: &&String| out.join(file).symlink_metadata().is_ok_and(|found| !found.is_dir());
            let files: BTreeSet<String> = old.sets.iter().map(|set| &set.file).filter(is_file).cloned().collect();
            replaced = Some((old, files));
        }
        let is_ours = |name: &str| {
            let is_replaced = replaced.as_ref().is_some_and(|(_, files)| files.contains(name));
            is_replaced || [MANIFEST_FILE, PARTIAL].contains(&name)
        };
        let mut files = FileNames::default();
        for entry in fs::read_dir(out).map_err(ResultError::io("list", out))? {
            let name = entry.map_err(ResultError::io("list", out))?.file_name();
            let name = name.to_string_lossy();
            if !is_ours(&name) {
                files.reserve(&name);
            }
        }
        Ok(Self {
            transaction,
            settings,
            replaced,
            files,
            names: HashSet::new(),
            sets: Vec::new(),
            prompts: Vec::new(),
            open: BTreeMap::new(),
            gathered: Gathered::default(),
            pairs: None,
            output_tokens: BTreeMap::new(),
            output_token_texts: BTreeMap::new(),
            writing: Duration::ZERO,
        })
    }

    /// Says what of the output was asked for whatever its probability, in place of what the settings say.
    pub fn ask_for(&mut self, output_targets: OutputTargets) {
        self.settings.output_targets = output_targets;
    }

    /// Bytes of memory that a writer of `sets` sets takes at most, with so many layers that have nodes and so many pairs:
    /// buffers of files, and what the manifest says of each set, for which there is text besides the numbers.
    pub fn memory(sets: usize, layers: usize, pairs: usize) -> u64 {
        /// Names, digests and paths of a set, and an allocation for each.
        const TEXT: usize = 1 << 10;
        // The nodes of a map are up to half empty.
        let of_layers = 2 * layers * (size_of::<Layer>() + size_of::<LayerCounts>());
        let of_pairs = pairs * (size_of::<PairCounts>() + size_of::<usize>());
        let of_set = size_of::<WrittenSet>() + size_of::<OpenSet>() + of_layers + of_pairs + TEXT;
        SET_FILE_BUFFERS.min((sets * LARGEST_BUFFER) as u64) + (sets * of_set) as u64
    }

    /// Writes the file of one set. `index` is its index among the sets of the run, which may be written in any order;
    /// `metadata` is what came with it in its input.
    ///
    /// After an error, drop the writer.
    ///
    /// # Panics
    ///
    /// When the pairs of the set are not those of the sets before it, or the numbers of values do not fit the nodes and the
    /// prompt.
    pub fn write_set<E: Element>(
        &mut self,
        index: usize,
        set: &SetAttributions<E>,
        prompt: &Prompt,
        metadata: Option<Value>,
    ) -> Result<(), ResultError> {
        self.begin_set(index, set, prompt, metadata)?;
        for (pair, attribution) in set.pairs.iter().enumerate() {
            self.write_values(index, pair, &attribution.values)?;
        }
        if contents(&self.settings).stopped {
            for (pair, attribution) in set.pairs.iter().enumerate() {
                self.write_stopped_values(index, pair, &attribution.stopped)?;
            }
        }
        self.end_set(index)
    }

    /// Begins the file of one set with everything but the values of its pairs, which are not looked at; several files may
    /// be begun at a time. As [`write_set`](Self::write_set) otherwise.
    ///
    /// # Panics
    ///
    /// As [`write_set`](Self::write_set).
    pub fn begin_set<E: Element>(
        &mut self,
        index: usize,
        set: &SetAttributions<E>,
        prompt: &Prompt,
        metadata: Option<Value>,
    ) -> Result<(), ResultError> {
        let started = Instant::now();
        if !self.names.insert(set.name.clone()) {
            return Err(ResultError::DuplicateSet { name: set.name.clone() });
        }
        let pairs: Vec<PairEntry> = set.pairs.iter().map(|pair| PairEntry::from(&pair.pair)).collect();
        let table = self.pairs.get_or_insert_with(|| pairs.clone());
        assert_eq!(*table, pairs, "set {:?} has other pairs than the sets before it", set.name);
        assert_fits(set, prompt);
        let prediction = match &set.prediction {
            None => None,
            Some(prediction) => {
                check_finite(&set.name, prediction)?;
                set.faithfulness(|value| value.to_f32())
            }
        };
        self.output_tokens.extend(named_tokens(set).map(|token| (token, String::new())));
        let evaluation = metadata.as_ref().and_then(SetEvaluation::of).and_then(Result::ok);
        let evaluated = evaluation.iter().flat_map(SetEvaluation::tokens);
        self.output_tokens.extend(evaluated.map(|token| (token.id, String::new())));
        let likeliest = set.prediction.iter().flat_map(|prediction| prediction.target_likeliest.iter());
        let target_likeliest = likeliest.map(|tokens| tokens.iter().map(|&token| token.into()).collect()).collect();
        let of_manifest = self.add_prompt(PromptEntry { target_likeliest, ..PromptEntry::from(prompt) });
        let file = self.files.assign(&set.name);
        let is_old = self.replaced.as_ref().is_some_and(|(_, files)| files.contains(&file));
        let path = self.transaction.stage(&file, if is_old { Replace::File } else { Replace::Nothing })?;
        let entry = SetEntry {
            name: set.name.clone(),
            file,
            sha256: String::new(),
            prompt: of_manifest,
            metadata,
            until: set.until,
            nodes: set.node_count(),
            edges: set.pairs.iter().map(PairAttribution::edge_count).sum(),
            delta_distance: None,
            prediction,
            layers: set.nodes.iter().map(|(&layer, nodes)| (layer, count_layer(nodes))).collect(),
            pairs: count_pairs(&set.pairs),
            borderline: set.borderline.iter().copied().map(Into::into).collect(),
        };
        let contents = contents(&self.settings);
        let mut begin = || {
            let mut out = SetFile::create(path.clone())?;
            tensors::begin_set(set, prompt, contents, &mut out.gathering(&mut self.gathered))?;
            Ok(out)
        };
        let to = self.transaction.folder().join(&entry.file);
        let out = begin().map_err(ResultError::io("write", &to))?;
        let expected: Vec<usize> = set.pairs.iter().map(PairAttribution::edge_count).collect();
        let stopped = contents.stopped.then(|| vec![0; expected.len()]);
        self.open.insert(index, OpenSet { out, path, entry, expected, stopped });
        self.flush_if_full()?;
        self.writing += started.elapsed();
        Ok(())
    }

    /// Number of a prompt, which may be known already.
    fn add_prompt(&mut self, prompt: PromptEntry) -> usize {
        match self.prompts.iter().position(|known| is_same_prompt(known, &prompt)) {
            None => {
                self.prompts.push(prompt);
                self.prompts.len() - 1
            }
            Some(known) => {
                // Of some sets it may not be known what the target model predicts.
                if self.prompts[known].target_likeliest.is_empty() {
                    self.prompts[known] = prompt;
                }
                known
            }
        }
    }

    fn flush_if_full(&mut self) -> Result<(), ResultError> {
        if self.gathered.is_full() {
            for OpenSet { out, entry, .. } in self.open.values_mut() {
                out.flush(&mut self.gathered).map_err(not_written(&self.transaction, entry))?;
            }
        }
        Ok(())
    }

    /// Writes the next values of pair number `pair` of a set that was [begun](Self::begin_set). Pairs come in their order;
    /// values of one pair may come in several pieces.
    ///
    /// # Panics
    ///
    /// When the set was not begun, or values are missing of a pair before or too many.
    pub fn write_values<E: Element>(&mut self, index: usize, pair: usize, values: &[E]) -> Result<(), ResultError> {
        let started = Instant::now();
        let set = self.open.get_mut(&index).expect("a set begins before its values come");
        let (entry, expected) = (&mut set.entry, &set.expected);
        let before = entry.pairs[..pair].iter().zip(expected).all(|(counts, &expected)| counts.edges == expected);
        assert!(before, "values of pair {pair} of set {:?} before all of the pairs before it", entry.name);
        entry.pairs[pair].count(values);
        assert!(entry.pairs[pair].edges <= expected[pair], "too many values of pair {pair} of set {:?}", entry.name);
        self.append(index, values, started)
    }

    /// Writes the next values of pair number `pair`, of which gradients stop at what no component holds of the weights, where the
    /// settings ask for both. They come after all others, as those do.
    ///
    /// # Panics
    ///
    /// As [`write_values`](Self::write_values), and where they were not asked for.
    pub fn write_stopped_values<E: Element>(
        &mut self,
        index: usize,
        pair: usize,
        values: &[E],
    ) -> Result<(), ResultError> {
        let started = Instant::now();
        let set = self.open.get_mut(&index).expect("a set begins before its values come");
        let (entry, expected) = (&set.entry, &set.expected);
        let come = set.stopped.as_mut().expect("a second value of each edge is not asked for");
        let before = entry.pairs.iter().map(|counts| counts.edges).eq(expected.iter().copied())
            && come[..pair] == expected[..pair];
        assert!(before, "values of pair {pair} of set {:?} before all of those before it", entry.name);
        come[pair] += values.len();
        assert!(come[pair] <= expected[pair], "too many values of pair {pair} of set {:?}", entry.name);
        self.append(index, values, started)
    }

    /// Writes numbers behind what was written of a set; `started` is when that began.
    fn append<E: Element>(&mut self, index: usize, values: &[E], started: Instant) -> Result<(), ResultError> {
        let set = self.open.get_mut(&index).expect("a set begins before its values come");
        let mut out = set.out.gathering(&mut self.gathered);
        let written = tensors::write_numbers(values, &mut out);
        drop(out);
        written.map_err(not_written(&self.transaction, &set.entry))?;
        self.flush_if_full()?;
        self.writing += started.elapsed();
        Ok(())
    }

    /// Ends the file of a set.
    ///
    /// # Panics
    ///
    /// When the set was not begun, or values are missing.
    pub fn end_set(&mut self, index: usize) -> Result<(), ResultError> {
        let started = Instant::now();
        let OpenSet { out, path, mut entry, expected, stopped } =
            self.open.remove(&index).expect("a set begins before it ends");
        let all = entry.pairs.iter().zip(&expected).all(|(counts, &expected)| counts.edges == expected);
        let all = all && stopped.as_ref().is_none_or(|come| *come == expected);
        assert!(all, "values of set {:?} are missing", entry.name);
        let finished = out.finish(&mut self.gathered);
        entry.sha256 = finished.map_err(not_written(&self.transaction, &entry))?;
        if stopped.is_some() {
            let read = delta_distance::of_file(&path, &expected);
            let distances = read.map_err(ResultError::io("read", &self.transaction.folder().join(&entry.file)))?;
            entry.delta_distance =
                distances.iter().copied().fold(DeltaDistance::default(), DeltaDistance::and).relative();
            for (counts, distance) in entry.pairs.iter_mut().zip(distances) {
                counts.delta_distance = distance.relative();
            }
        }
        self.sets.push(WrittenSet { index, path, entry });
        self.writing += started.elapsed();
        Ok(())
    }

    /// Gives the output nodes, ghosts and likeliest tokens of the sets written so far, and the tokens that their evaluations name,
    /// their token strings, for the manifest. Without it the manifest knows only ids.
    pub fn name_output_tokens(&mut self, token_string: impl Fn(u32) -> String) {
        for (&id, string) in &mut self.output_tokens {
            *string = token_string(id);
        }
    }

    /// Says what the tokens of the prompts written so far are decoded to, one text for each or none where it is not known, and
    /// what those that [`name_output_tokens`](Self::name_output_tokens) has named are in the middle of a text.
    ///
    /// # Panics
    ///
    /// When there are not as many texts as tokens.
    pub fn decode_tokens(&mut self, texts: impl Fn(&[u32]) -> Vec<String>, text: impl Fn(u32) -> String) {
        for prompt in &mut self.prompts {
            prompt.token_texts = texts(&prompt.tokens);
            let (found, expected) = (prompt.token_texts.len(), prompt.tokens.len());
            assert!(found == 0 || found == expected, "{found} texts of {expected} tokens");
        }
        let texts = self.output_tokens.iter().map(|(&id, spelling)| (id, text(id), spelling));
        let others = texts.filter(|(_, text, spelling)| text != *spelling).map(|(id, text, _)| (id, text));
        self.output_token_texts = others.collect();
    }

    /// Ends writing: everything is ready to be put into place.
    ///
    /// # Panics
    ///
    /// When a set was begun and not ended.
    pub fn prepare(self, run: RunInfo) -> PendingResults {
        let started = Instant::now();
        let Self {
            transaction,
            settings,
            replaced,
            mut sets,
            mut prompts,
            open,
            pairs,
            mut output_tokens,
            output_token_texts,
            writing,
            ..
        } = self;
        assert!(open.is_empty(), "sets were begun and not ended");
        sets.sort_by_key(|set| set.index);
        output_tokens.retain(|_, string| !string.is_empty());
        let mut manifest = Manifest {
            format: FORMAT.to_owned(),
            format_version: FORMAT_VERSION,
            tool_version: env!("CARGO_PKG_VERSION").to_owned(),
            settings,
            run,
            prompts: Vec::new(),
            output_tokens,
            output_token_texts,
            pairs: pairs.unwrap_or_default(),
            sets: Vec::with_capacity(sets.len()),
        };
        for likeliest in prompts.iter_mut().flat_map(|prompt| prompt.target_likeliest.iter_mut().flatten()) {
            likeliest.string = manifest.output_tokens.get(&likeliest.token).cloned().unwrap_or_default();
        }
        let (mut numbers, mut staged) = (BTreeMap::new(), BTreeMap::<String, PathBuf>::new());
        for WrittenSet { mut entry, path, .. } in sets {
            staged.insert(entry.file.clone(), path);
            // In the order of the sets, whatever order they were written in.
            let next = numbers.len();
            let prompt = &mut prompts[entry.prompt];
            entry.prompt = *numbers.entry(entry.prompt).or_insert_with(|| {
                manifest.prompts.push(mem::take(prompt));
                next
            });
            manifest.sets.push(entry);
        }
        let replace = Replace::if_asked(replaced.is_some());
        if let Some((_, files)) = &replaced {
            files.iter().filter(|file| !staged.contains_key(*file)).for_each(|file| transaction.remove(file));
        }
        manifest.run.timings.write = (writing + started.elapsed()).as_secs_f64();
        let folder = ResultFolder::pending(transaction.folder(), manifest, staged);
        PendingResults { transaction, folder, replaced: replaced.map(|(manifest, _)| manifest), replace }
    }

    /// Puts everything into place, the manifest last, and gives that manifest.
    ///
    /// # Panics
    ///
    /// When a set was begun and not ended.
    pub fn finish(self, run: RunInfo) -> Result<Manifest, ResultError> {
        self.prepare(run).commit()
    }
}

/// The error of writing a set's file, which names it where it will be.
fn not_written(transaction: &Transaction, entry: &SetEntry) -> impl FnOnce(io::Error) -> ResultError {
    move |source| ResultError::io("write", &transaction.folder().join(&entry.file))(source)
}

fn is_same_prompt(known: &PromptEntry, prompt: &PromptEntry) -> bool {
    let unknown = |prompt: &PromptEntry| prompt.target_likeliest.is_empty();
    (&known.text, &known.tokens, &known.token_strings) == (&prompt.text, &prompt.tokens, &prompt.token_strings)
        && (unknown(known) || unknown(prompt) || known.target_likeliest == prompt.target_likeliest)
}

/// Bytes that the file of a set takes, whose pairs need not have their values yet.
pub fn set_file_size<E: Element>(set: &SetAttributions<E>, prompt: &Prompt, settings: &Settings) -> u64 {
    tensors::file_size(set, prompt, contents(settings))
}

fn contents(settings: &Settings) -> Contents {
    let Settings { output_probs, implied_index, delta, .. } = *settings;
    Contents { output_probs, implied_index, stopped: delta == Some(Delta::Both) }
}

/// Tokens whose strings the manifest is to have.
fn named_tokens<E>(set: &SetAttributions<E>) -> impl Iterator<Item = u32> + '_ {
    let output = set.nodes.get(&Layer::output()).into_iter();
    let nodes = output.flat_map(|nodes| nodes.alive.iter().chain(nodes.original.iter())).map(|(_, token)| token as u32);
    let of_prediction = |prediction: &'_ Prediction<E>| {
        let target = prediction.target_likeliest.iter().flatten().map(|likeliest| likeliest.token);
        target.chain(prediction.likeliest.iter().copied()).collect::<Vec<_>>()
    };
    nodes.chain(set.prediction.iter().flat_map(of_prediction))
}

/// Whether a comparison with the target model can be written as numbers. JSON would turn others into `null`.
fn check_finite<E: Element>(set: &str, prediction: &Prediction<E>) -> Result<(), ResultError> {
    let fail = |what: String| Err(ResultError::NotFinite { name: set.to_owned(), what });
    let is_finite = |value: f64| (value as f32).is_finite();
    if let Some(position) = prediction.kl.iter().position(|kl| !is_finite(kl.to_f64())) {
        return fail(format!("the divergence at position {position}"));
    }
    if prediction.target_prob.iter().any(|prob| !is_finite(prob.to_f64())) {
        return fail("the probability of an output node".to_owned());
    }
    let likeliest = prediction.target_likeliest.iter();
    if let Some(position) = likeliest.into_iter().position(|tokens| tokens.iter().any(|token| !is_finite(token.prob))) {
        return fail(format!("the probability of a likeliest token at position {position}"));
    }
    Ok(())
}

/// # Panics
///
/// When the numbers of values do not fit the nodes and the prompt.
fn assert_fits<E: Element>(set: &SetAttributions<E>, prompt: &Prompt) {
    for (&layer, nodes) in &set.nodes {
        let expected = if tensors::importance_name(layer).is_some() { nodes.alive.len() } else { 0 };
        let found = (nodes.importance.len(), nodes.activation.len());
        assert_eq!(found, (expected, expected), "importances and activations of {layer} in set {:?}", set.name);
    }
    if let Some(Prediction { kl, likeliest, target_likeliest, .. }) = &set.prediction {
        let found = [kl.len(), likeliest.len(), target_likeliest.len()];
        assert_eq!(found, [prompt.tokens.len(); 3], "positions of the prediction of set {:?}", set.name);
    }
}
