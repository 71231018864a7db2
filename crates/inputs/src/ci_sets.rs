//! CI-set files, checked against the run they are for.

use std::collections::BTreeMap;
use std::io::{self, BufRead as _, Read as _};
use std::path::Path;

use serde_json::Value;
use tributary_model::{CiSet, Prompt};

use crate::ci_json::{self, Clamped, Document, Expected, Failure, Layers, NodeValues, OPTIMIZED, Remarks, Text};
use crate::ci_range::CiRange;
use crate::ci_text::CiText;
use crate::error::{abridged, listed, shortened};
use crate::lenient::{Lenient, Replaced};
use crate::{InputError, TrainedRun};

/// The format a CI-set file was in. Beside each prompt may stand `"tokens": [int; S]`, which must be those that the run's
/// tokenizer makes of it, or they stand in its place; metadata may be missing everywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CiSetFormat {
    /// Several sets of one prompt: `{"prompt": str, "ci_sets": {name: {layer: [[float; C]; S]}}, "metadata": {name: ...}}`.
    Sets,
    /// Samples with a prompt each: `{"samples": {name: {"prompt": str, "ci_vals": {layer: ...}, "metadata": ...}}}`.
    Samples,
    /// One set, which gets the name `optimized`: `{"prompt": str, "optimized_ci": {layer: ...}, "metadata": ...}`.
    Optimized,
    /// The values of single nodes, those that are not there being 0: one set, which gets the name `optimized`,
    /// `{"prompt": str, "node_ci_vals": {"LAYER:POSITION:COMPONENT": float}, "metadata": ...}`, or several,
    /// `{"prompt": str, "node_ci_vals": {name: {"LAYER:POSITION:COMPONENT": float}}, "metadata": {name: ...}}`.
    NodeValues,
}

/// The CI sets of a file. They fit the run they were read for: every decomposed layer, one row per token, one column per
/// component, values that the run's CI functions can give.
#[derive(Clone, Debug, PartialEq)]
pub struct CiSetFile {
    /// The file's format.
    pub format: CiSetFormat,
    /// The sets, in the file's order. Names are unique.
    pub sets: Vec<CiSet>,
    /// The metadata of sets that have any, by name.
    pub metadata: BTreeMap<String, Value>,
    /// What was taken but is worth knowing, each a sentence for a user that names its file and place; of the prompts, too.
    pub notes: Vec<String>,
    /// SHA-256 of the file, in hexadecimal.
    pub sha256: String,
}

impl TrainedRun {
    /// Reads a CI-set file in any of the four formats, compressed with gzip or zstd or not, and checks it against this run.
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
        let mut notes = Vec::new();
        let text = CiText::open(file)?;
        let (document, sha256) = text.hashed_beside(|| read_document(file, &text, run, &mut notes));
        let document = document?;

        let mut metadata = BTreeMap::new();
        let (format, entries) =
            entries(document, &mut metadata).map_err(|problem| fail("metadata: ".to_owned(), problem))?;
        let mut tokenised = BTreeMap::<Text, Prompt>::new();
        let mut texts = Vec::new();
        let mut sets = Vec::with_capacity(entries.len());
        for Entry { name, text, values } in entries {
            let place = || format!("set {}", shortened(&name));
            if !tokenised.contains_key(&text) {
                let prompt = match (&text.prompt, &text.tokens) {
                    (Some(text), _) => run.prompt(text).map_err(|error| fail(String::new(), error.to_string()))?,
                    (None, tokens) => run
                        .prompt_of_tokens(tokens.as_deref().unwrap_or_default())
                        .map_err(|error| fail(format!("{}: ", place()), error.to_string()))?,
                };
                if let Some(problem) = text.tokens.as_ref().and_then(|given| difference(given, &prompt)) {
                    return Err(fail(format!("{}: ", place()), problem));
                }
                for note in run.prompt_notes(&prompt) {
                    let note = format!("{}: {note}", file.display());
                    if !notes.contains(&note) {
                        notes.push(note);
                    }
                }
                texts.push(prompt.text.clone());
                tokenised.insert(text.clone(), prompt);
            }
            let prompt = tokenised[&text].clone();
            let layers = match values {
                Values::Dense(layers) => layers,
                Values::OfNodes(nodes) => nodes
                    .layers(&run.weights.component_counts(), prompt.tokens.len())
                    .map_err(|problem| fail(format!("{}: ", place()), problem))?,
            };
            let mut counts = layers.iter().map(|(layer, importances)| (layer, importances.positions()));
            if let Some((layer, found)) = counts.find(|&(_, positions)| positions != prompt.tokens.len()) {
                let problem = format!(
                    "there are {found} rows, but the prompt {} has {} tokens: {}",
                    shortened(&prompt.text),
                    prompt.tokens.len(),
                    listed(&prompt.token_strings)
                );
                return Err(fail(format!("{}, layer {layer}: ", place()), problem));
            }
            sets.push(CiSet { name, prompt, layers });
        }
        let texts = distinct(texts.iter());
        if !prompts.is_empty() && distinct(prompts.iter()) != texts {
            let problem = format!(
                "the prompts given are {}, those of the file {}; they must be equal, in the same order",
                listed(prompts),
                listed(texts)
            );
            return Err(fail(String::new(), problem));
        }
        abridge(file, &mut notes);
        Ok(Self { format, sets, metadata, notes, sha256: sha256.map_or_else(|| text.sha256(), Ok)? })
    }
}

/// What to do where no JSON was found but a number that Python writes and JSON has not, at the end of `problem`.
fn advice_on_numbers(text: &CiText, problem: &str) -> Option<&'static str> {
    let (line, column) = problem.rsplit_once(" at line ")?.1.split_once(" column ")?;
    let (line, column): (usize, usize) = (line.parse().ok()?, column.parse().ok()?);
    let mut reader = text.reader().ok()?;
    for _ in 1..line {
        reader.skip_until(b'\n').ok()?;
    }
    io::copy(&mut reader.by_ref().take(column.checked_sub(1)? as u64), &mut io::sink()).ok()?;
    let mut found = [0; 3];
    reader.read_exact(&mut found).ok()?;
    matches!(&found, b"NaN" | b"Inf").then_some(
        "; there is NaN or Infinity, which are no JSON and are taken in metadata alone: write null in their place",
    )
}

/// The document of a file, and what is to be said of it.
fn read_document(
    file: &Path,
    text: &CiText,
    run: &TrainedRun,
    notes: &mut Vec<String>,
) -> Result<Document, InputError> {
    let components = run.weights.component_counts();
    let expected = Expected {
        components: &components,
        max_positions: run.weights.architecture.max_positions,
        range: CiRange::of(run.weights.ci_function.sigmoid),
    };
    let mut document = match text.held() {
        Some(bytes) => ci_json::read_slice(bytes, expected),
        None => ci_json::read(text.reader()?, expected),
    };
    if matches!(document, Err(Failure::Document { is_in_metadata: true, .. })) {
        let mut lenient = Lenient::new(text.reader()?);
        let again = ci_json::read(&mut lenient, expected);
        let Replaced { numbers, surrogates, first } = lenient.replaced();
        if let Some((line, column)) = first {
            notes.push(format!(
                "{}: metadata: NaN and Infinity, which JSON lacks, are kept as null ({numbers} of them), and halves of \
                 surrogate pairs as U+FFFD ({surrogates}); the first is at line {line}, column {column}",
                file.display()
            ));
            document = again;
        }
    }
    let (document, Remarks { clamped: Clamped { count, first }, unknown }) =
        document.map_err(|failure| match failure {
            Failure::Io(error) => text.unreadable(error),
            Failure::Document { place, problem, .. } => {
                let advice = advice_on_numbers(text, &problem).unwrap_or_default();
                InputError::CiSets { file: file.to_owned(), place, problem: problem + advice }
            }
        })?;
    notes.extend(unknown.map(|remark| format!("{}: {remark}", file.display())));
    if let Document::NodeValues { sets, .. } = &document {
        let ignored = sets.iter().map(|(_, nodes)| nodes.ignored).sum::<usize>();
        if ignored > 0 {
            let path = file.display();
            notes.push(format!("{path}: {ignored} values of embed and output are left out: these are no components"));
        }
    }
    if let Some((value, place)) = first {
        notes.push(format!(
            "{}: {place}{value} is beyond the range of this run's causal importances, {}, by rounding, and was set to its \
             end; {count} such values in all",
            file.display(),
            expected.range
        ));
    }
    Ok(document)
}

/// Why ids are not those of a prompt's tokens.
fn difference(given: &[u64], prompt: &Prompt) -> Option<String> {
    let mut pairs = given.iter().zip(&prompt.tokens);
    let first = pairs.position(|(&given, &token)| given != u64::from(token));
    let first = first.or_else(|| {
        let (given, tokens) = (given.len(), prompt.tokens.len());
        (given != tokens).then_some(given.min(tokens))
    })?;
    let own = prompt.tokens.iter().zip(&prompt.token_strings);
    Some(format!(
        "its tokens are {}, but this run's tokenizer makes {} of the prompt {}; they differ first at position {first}: was the \
         file made with another tokenizer, or for another spelling of the prompt?",
        abridged(given.iter().map(ToString::to_string)),
        abridged(own.map(|(token, string)| format!("{token} ({})", shortened(string)))),
        shortened(&prompt.text)
    ))
}

/// Keeps notes from being as many as the prompts of a file.
fn abridge(file: &Path, notes: &mut Vec<String>) {
    const MOST: usize = 12;
    if notes.len() > MOST {
        let more = notes.len() - MOST;
        notes.truncate(MOST);
        notes.push(format!("{}: {more} more notes on prompts are left out", file.display()));
    }
}

/// A set before its prompt is tokenised.
struct Entry {
    name: String,
    text: Text,
    values: Values,
}

/// The causal importances of a set.
enum Values {
    /// Of every component at every position.
    Dense(Layers),
    /// Of some nodes; the others have 0.
    OfNodes(NodeValues),
}

/// The sets; metadata goes to where it is kept.
fn entries(document: Document, metadata: &mut BTreeMap<String, Value>) -> Result<(CiSetFormat, Vec<Entry>), String> {
    match document {
        Document::Sets { prompt, sets, metadata: given } => {
            by_name(given, sets.iter().map(|(name, _)| name), metadata)?;
            let sets = sets.into_iter().map(|(name, layers)| (name, Values::Dense(layers)));
            let entries = sets.map(|(name, values)| Entry { name, text: prompt.clone(), values });
            Ok((CiSetFormat::Sets, entries.collect()))
        }
        Document::Optimized { prompt, layers, metadata: given } => {
            metadata.extend(given.map(|value| (OPTIMIZED.to_owned(), value)));
            let values = Values::Dense(layers);
            Ok((CiSetFormat::Optimized, vec![Entry { name: OPTIMIZED.to_owned(), text: prompt, values }]))
        }
        Document::NodeValues { prompt, sets, is_named, metadata: given } => {
            if is_named {
                by_name(given, sets.iter().map(|(name, _)| name), metadata)?;
            } else {
                metadata.extend(given.map(|value| (OPTIMIZED.to_owned(), value)));
            }
            let sets = sets.into_iter().map(|(name, nodes)| (name, Values::OfNodes(nodes)));
            let entries = sets.map(|(name, values)| Entry { name, text: prompt.clone(), values });
            Ok((CiSetFormat::NodeValues, entries.collect()))
        }
        Document::Samples(samples) => {
            let mut entries = Vec::with_capacity(samples.len());
            for (name, sample) in samples {
                if let Some(value) = sample.metadata {
                    metadata.insert(name.clone(), value);
                }
                entries.push(Entry { name, text: sample.prompt, values: Values::Dense(sample.layers) });
            }
            Ok((CiSetFormat::Samples, entries))
        }
    }
}

/// Takes the metadata of several sets, which stand by their names.
fn by_name<'a>(
    given: Option<Value>,
    mut names: impl Iterator<Item = &'a String> + Clone,
    metadata: &mut BTreeMap<String, Value>,
) -> Result<(), String> {
    match given {
        None | Some(Value::Null) => {}
        Some(Value::Object(given)) => {
            for (name, value) in given {
                if !names.clone().any(|set| *set == name) {
                    return Err(format!(
                        "there is no set {}; expected the metadata of sets by their names, which are {}",
                        shortened(&name),
                        listed(names.by_ref())
                    ));
                }
                metadata.insert(name, value);
            }
        }
        Some(_) => return Err("expected an object from set names to the metadata of each".to_owned()),
    }
    Ok(())
}

/// Each text once, in the order of first appearance.
fn distinct<'a>(texts: impl Iterator<Item = &'a String>) -> Vec<&'a String> {
    let mut seen = std::collections::HashSet::new();
    texts.filter(|text| seen.insert(*text)).collect()
}
