//! A trained run: everything that attributions need, read from its folder.

use std::path::{Path, PathBuf};

use tributary_model::{CiNetwork, Prompt, Remedy, Weights};

use crate::error::{abridged, listed, shortened};
use crate::{Fingerprint, InputError, Tokenizer, text};

pub(crate) const TOKENIZER: &str = "tokenizer.json";

/// More bytes of text than a position has, in any prompt that is longer than a megabyte.
const BYTES_PER_POSITION: usize = 64;

/// Where to look for what is not in the run's folder.
#[derive(Clone, Copy, Debug, Default)]
pub struct RunOptions<'a> {
    /// The target model's folder.
    pub target: Option<&'a Path>,
    /// The tokenizer file.
    pub tokenizer: Option<&'a Path>,
    /// The checkpoint: a file, or the name of one in the run's folder. `None` for that with the largest step.
    pub checkpoint: Option<&'a Path>,
}

/// The files a run was read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunFiles {
    /// `final_config.yaml` or `experiment_config.yaml`, of a neutral run `run.yaml`.
    pub config: PathBuf,
    /// `model_STEP.pth`, or `.pt`, or `.safetensors`.
    pub checkpoint: PathBuf,
    /// `model_config.yaml` of the target model, or `config.json`, or what describes it in a neutral run, `run.yaml`.
    pub model_config: PathBuf,
    /// `tokenizer.json`
    pub tokenizer: PathBuf,
}

/// A trained SPD run: a target model, its components and their CI functions, and its tokenizer.
#[derive(Clone, Debug)]
pub struct TrainedRun {
    /// The numbers.
    pub weights: Weights,
    /// Splits prompts into tokens of the model's vocabulary.
    pub tokenizer: Tokenizer,
    /// Identity of the run.
    pub fingerprint: Fingerprint,
    /// Where it came from.
    pub files: RunFiles,
    /// What was taken but is worth knowing, each a sentence for a user that names its file.
    pub notes: Vec<String>,
}

impl TrainedRun {
    /// Splits a text into tokens, without special tokens around it.
    ///
    /// It is an error when the text has no tokens, more than the model has positions, or one outside its vocabulary.
    pub fn prompt(&self, text: &str) -> Result<Prompt, InputError> {
        let fail = |problem: String| Err(InputError::Prompt { text: text.to_owned(), problem });
        let architecture = &self.weights.architecture;
        // Tokens take a hundred times the memory of their text.
        let longest = architecture.max_positions.saturating_mul(BYTES_PER_POSITION).max(1 << 20);
        if text.len() > longest {
            let (length, positions) = (text.len(), architecture.max_positions);
            return fail(format!(
                "it has {length} bytes, more than the {longest} that a prompt of a model of {positions} positions may have"
            ));
        }
        let (tokens, token_strings) = self.tokenizer.encode(text)?;
        if tokens.is_empty() {
            return fail("it has no tokens; a prompt needs at least one".to_owned());
        }
        if tokens.len() > architecture.max_positions {
            let problem = format!(
                "it has {} tokens, more than the {} positions of the model",
                tokens.len(),
                architecture.max_positions
            );
            return fail(problem);
        }
        if let Some(index) = tokens.iter().position(|&token| token as usize >= architecture.vocab) {
            let problem = format!(
                "its token {} has the id {}, outside the model's vocabulary of {}; is {} this model's tokenizer?",
                shortened(&token_strings[index]),
                tokens[index],
                architecture.vocab,
                self.files.tokenizer.display()
            );
            return fail(problem);
        }
        Ok(Prompt { text: text.to_owned(), tokens, token_strings })
    }

    /// The prompt of these tokens. Its text is what they are decoded to, of which the tokenizer may make others.
    ///
    /// It is an error when there are none, more than the model has positions, or one outside its vocabulary.
    pub fn prompt_of_tokens(&self, ids: &[u64]) -> Result<Prompt, InputError> {
        let fail = |problem: String| {
            let tokens = abridged(ids.iter().map(ToString::to_string));
            Err(InputError::Tokens { tokens: format!("[{tokens}]"), problem })
        };
        let architecture = &self.weights.architecture;
        if ids.is_empty() {
            return fail("there are none; a prompt needs at least one".to_owned());
        }
        let (count, most) = (ids.len(), architecture.max_positions);
        if count > most {
            return fail(format!("there are {count} of them, more than the {most} positions of the model"));
        }
        let in_vocab = |&id: &u64| u32::try_from(id).ok().filter(|&id| (id as usize) < architecture.vocab);
        if let Some(position) = ids.iter().position(|id| in_vocab(id).is_none()) {
            return fail(format!(
                "{} at position {position} is outside the model's vocabulary of {}; expected ids from 0 to {}",
                ids[position],
                architecture.vocab,
                architecture.vocab.saturating_sub(1)
            ));
        }
        let tokens: Vec<u32> = ids.iter().filter_map(in_vocab).collect();
        let token_strings = tokens.iter().map(|&id| self.tokenizer.token_string(id)).collect();
        Ok(Prompt { text: self.tokenizer.decode(&tokens), tokens, token_strings })
    }

    /// What a user should know of a prompt that was taken, each in a sentence: which part of its text the tokens do not hold.
    /// The notes of a [`CiSetFile`](crate::CiSetFile) have those of its prompts.
    pub fn prompt_notes(&self, prompt: &Prompt) -> Vec<String> {
        let of_text = |remark: String| format!("prompt {}: {remark}", shortened(&prompt.text));
        let is_spelt_so = |tokens: &[u32]| prompt.tokens.is_empty() || *tokens == *prompt.tokens;
        match self.tokenizer.encode(&prompt.text) {
            Ok((tokens, strings)) if !is_spelt_so(&tokens) => {
                let strings = listed(strings);
                let unknown = self.tokenizer.unknown_tokens(&prompt.tokens);
                let other = format!(
                    "it is what the given tokens are decoded to; the tokenizer makes others of it, {strings}: those that are \
                     given are computed with"
                );
                unknown.into_iter().chain([other]).map(of_text).collect()
            }
            _ => self.tokenizer.losses(&prompt.text).into_iter().map(of_text).collect(),
        }
    }
}

/// A tokenizer, and the bytes of its file.
pub(crate) fn read_tokenizer(file: &Path) -> Result<(Tokenizer, Vec<u8>), InputError> {
    if !file.exists() {
        let problem = "not found; fetch the target model's tokenizer.json and say where it is";
        return Err(InputError::elsewhere(file, problem, Remedy::Tokenizer));
    }
    let bytes = text::read(file, "a tokenizer", text::TOKENIZER)?;
    Ok((Tokenizer::parse(file, &bytes)?, bytes))
}

/// What a run lacks without its CI function.
pub(crate) fn note_on_ci(weights: &Weights) -> Option<String> {
    let CiNetwork::Unknown { reason } = &weights.ci_function.network else { return None };
    Some(format!("{reason}; so the model's own causal importances, and ghosts, are not known"))
}
