//! CI-set files, checked against the run they are for.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::BufReader;
use std::path::Path;

use serde_json::Value;
use tributary_model::{CiSet, Prompt};

use crate::ci_json::{self, Document, Failure, Layers};
use crate::{InputError, TrainedRun};

/// Name of the one set of [`CiSetFormat::Optimized`].
const OPTIMIZED: &str = "optimized";

/// A file of at most so many bytes is read into memory as it is.
const AT_ONCE: u64 = 1 << 26;

/// Bytes of a larger file that are read at once.
const BUFFER: usize = 1 << 20;

/// The format a CI-set file was in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CiSetFormat {
    /// Several sets of one prompt: `{"prompt": str, "ci_sets": {name: {layer: [[float; C]; S]}}}`.
    Sets,
    /// Samples with a prompt each: `{"samples": {name: {"prompt": str, "ci_vals": {layer: ...}, "metadata": ...}}}`.
    Samples,
    /// One set, which gets the name `optimized`: `{"prompt": str, "optimized_ci": {layer: ...}}`.
    Optimized,
}

/// The CI sets of a file. They fit the run they were read for: every decomposed layer, one row per token, one column per
/// component, finite values.
#[derive(Clone, Debug, PartialEq)]
pub struct CiSetFile {
    /// The file's format.
    pub format: CiSetFormat,
    /// The sets, in the file's order. Names are unique.
    pub sets: Vec<CiSet>,
    /// The `metadata` of samples that have any, by the name of their set.
    pub metadata: BTreeMap<String, Value>,
}

impl TrainedRun {
    /// Reads a CI-set file in any of the three formats and checks it against this run.
    ///
    /// If `prompts` is not empty, they must be the prompts of the file, each once, in the order in which the file first
    /// names them: one for a file of several sets of one prompt.
    pub fn ci_sets(&self, file: &Path, prompts: &[String]) -> Result<CiSetFile, InputError> {
        CiSetFile::read(file, self, prompts)
    }
}

impl CiSetFile {
    fn read(file: &Path, run: &TrainedRun, prompts: &[String]) -> Result<Self, InputError> {
        let fail = |place: String, problem: String| InputError::CiSets { file: file.to_owned(), place, problem };
        let facts = fs::metadata(file).map_err(InputError::read(file))?;
        if facts.is_dir() {
            return Err(fail(String::new(), "is a folder; expected a JSON file of CI sets".to_owned()));
        }
        let (components, max_positions) = (run.weights.component_counts(), run.weights.architecture.max_positions);
        let document = if facts.len() <= AT_ONCE {
            ci_json::read_slice(&fs::read(file).map_err(InputError::read(file))?, &components, max_positions)
        } else {
            let file = File::open(file).map_err(InputError::read(file))?;
            ci_json::read(BufReader::with_capacity(BUFFER, file), &components, max_positions)
        };
        let document = document.map_err(|failure| match failure {
            Failure::Io(source) => InputError::read(file)(source),
            Failure::Document { place, problem } => fail(place, problem),
        })?;

        let mut metadata = BTreeMap::new();
        let (format, entries) = entries(document, &mut metadata);
        let texts = distinct(entries.iter().map(|(_, text, _)| text));
        if !prompts.is_empty() && distinct(prompts.iter()) != texts {
            let problem = format!(
                "the prompts given are {}, those of the file {}; they must be equal, in the same order",
                quoted(prompts.iter()),
                quoted(texts.into_iter())
            );
            return Err(fail(String::new(), problem));
        }

        let mut tokenised = BTreeMap::<String, Prompt>::new();
        let mut sets = Vec::with_capacity(entries.len());
        for (name, text, layers) in entries {
            if !tokenised.contains_key(&text) {
                let prompt = run.prompt(&text).map_err(|error| fail(String::new(), error.to_string()))?;
                tokenised.insert(text.clone(), prompt);
            }
            let prompt = tokenised[&text].clone();
            let mut counts = layers.iter().map(|(layer, importances)| (layer, importances.positions()));
            if let Some((layer, found)) = counts.find(|&(_, positions)| positions != prompt.tokens.len()) {
                let problem = format!(
                    "there are {found} rows, but the prompt {text:?} has {} tokens: {}",
                    prompt.tokens.len(),
                    quoted(prompt.token_strings.iter())
                );
                return Err(fail(format!("set {name:?}, layer {layer}: "), problem));
            }
            sets.push(CiSet { name, prompt, layers });
        }
        Ok(Self { format, sets, metadata })
    }
}

/// Name, prompt and causal importances of each set; metadata goes to where it is kept.
fn entries(document: Document, metadata: &mut BTreeMap<String, Value>) -> (CiSetFormat, Vec<(String, String, Layers)>) {
    match document {
        Document::Sets { prompt, sets } => {
            let entries = sets.into_iter().map(|(name, layers)| (name, prompt.clone(), layers));
            (CiSetFormat::Sets, entries.collect())
        }
        Document::Optimized { prompt, layers } => {
            (CiSetFormat::Optimized, vec![(OPTIMIZED.to_owned(), prompt, layers)])
        }
        Document::Samples(samples) => {
            let mut entries = Vec::with_capacity(samples.len());
            for (name, sample) in samples {
                if let Some(value) = sample.metadata {
                    metadata.insert(name.clone(), value);
                }
                entries.push((name, sample.prompt, sample.layers));
            }
            (CiSetFormat::Samples, entries)
        }
    }
}

/// Each text once, in the order of first appearance.
fn distinct<'a>(texts: impl Iterator<Item = &'a String>) -> Vec<&'a String> {
    let mut seen = std::collections::HashSet::new();
    texts.filter(|text| seen.insert(*text)).collect()
}

fn quoted<'a>(texts: impl Iterator<Item = &'a String>) -> String {
    texts.map(|text| format!("{text:?}")).collect::<Vec<_>>().join(", ")
}
