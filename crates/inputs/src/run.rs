//! A trained run: everything that attributions need, read from its folder.

use std::path::{Path, PathBuf};

use tributary_model::{CiNetwork, Prompt, Remedy, Weights};

use crate::checkpoint::StateDict;
use crate::config::Config;
use crate::error::{abridged, listed, shortened};
use crate::fingerprint::Hasher;
use crate::reference::{Kind, Reference, run_folder};
use crate::target;
use crate::{Fingerprint, InputError, Tokenizer, assemble, checkpoint, classes, neutral, target_weights, text};

/// The config of a run: as it was called up to the middle of 2026, and since.
const CONFIGS: [&str; 2] = ["final_config.yaml", "experiment_config.yaml"];
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
    /// Whether a folder looks like that of a run: it holds a config.
    pub fn is_in(folder: &Path) -> bool {
        CONFIGS.iter().chain([&neutral::CONFIG]).any(|config| folder.join(config).exists())
    }

    /// Reads a run's folder, which may be named by a reference to Weights & Biases where the published code has put it.
    ///
    /// The folder holds `final_config.yaml`, or `experiment_config.yaml`, and `model_STEP.pth`, `.pt` or `.safetensors` (of several, the one with the largest
    /// step). The target
    /// model's `model_config.yaml`, of a class of `transformers` its `config.json`, is sought in `options.target`, else in
    /// `target/` of the run, else where `pretrained_model_name` or `pretrained_model_path` of the config point to; its
    /// `tokenizer.json` is `options.tokenizer`, else lies beside that file.
    ///
    /// Where there is no such config, a `run.yaml` makes it a neutral run, which `docs/runs.md` describes.
    pub fn load(folder: &Path, options: &RunOptions<'_>) -> Result<Self, InputError> {
        let named = folder;
        let folder = &*run_folder(named);
        if !folder.is_dir() {
            if let Some(reference) = named.to_str().and_then(Reference::parse).filter(|_| !named.exists()) {
                let problem = format!("is a run at Weights & Biases, {}", reference.advice(Kind::Decomposition));
                return Err(InputError::elsewhere(named, problem, Remedy::Run));
            }
            let problem = if folder.exists() { "is not a folder" } else { "there is no such folder" };
            return Err(InputError::missing(folder, format!("{problem}; expected the folder of a trained run")));
        }
        let [config_file, later] = CONFIGS.map(|name| folder.join(name));
        let config_file = match (config_file.exists(), later.exists()) {
            (true, false) => config_file,
            (false, true) => later,
            (false, false) if folder.join(neutral::CONFIG).exists() => return neutral::load(folder, options),
            (false, false) => {
                let problem =
                    "not found, and no experiment_config.yaml either; the folder of a trained run holds one of them";
                return Err(InputError::missing(config_file, problem));
            }
            (true, true) => {
                let problem = "there is an experiment_config.yaml beside it; keep the one that belongs to the run";
                return Err(InputError::missing(config_file, problem));
            }
        };
        let config_bytes = text::read(&config_file, "a config", text::CONFIG)?;
        let config = Config::parse(&config_file, &config_bytes)?;

        let target_folder = target::find_folder(folder, &config, options.target)?;
        let model_config = target_folder.join(config.class.config);
        let model_bytes = text::read(&model_config, "a config", text::CONFIG)?;
        let mut architecture = config.class.read(&model_config, &model_bytes)?;
        let counts = config.components(&config_file, &mut architecture)?;

        let tokenizer_file = options.tokenizer.map_or_else(|| target_folder.join(TOKENIZER), Path::to_owned);
        let (tokenizer, tokenizer_bytes) = read_tokenizer(&tokenizer_file)?;

        let checkpoint = match options.checkpoint {
            Some(given) => checkpoint::given(folder, given)?,
            None => checkpoint::find(folder)?,
        };
        let mut hasher = Hasher::new();
        hasher.add(CONFIGS[0], &config_bytes);
        hasher.add(classes::MODEL_CONFIG, &model_bytes);
        hasher.add(TOKENIZER, &tokenizer_bytes);
        let mut of_target = Vec::new();
        // Both read all of the file, and neither waits for the disk when the other has just been there.
        let (read, hashed) = hasher.add_file_beside("checkpoint", &checkpoint, || {
            let mut tensors = StateDict::open(&checkpoint)?;
            if config.class.config == classes::CONFIG_JSON && !tensors.has_any("target_model.") {
                of_target = target_weights::files(&target_folder)?;
                for file in &of_target {
                    tensors.add_target(file, config.class.base())?;
                }
            }
            let notes = std::mem::take(&mut tensors.notes);
            Ok((assemble::weights(tensors, architecture, &config, &counts)?, notes))
        });
        let (weights, mut notes) = read?;
        let mut hasher = hashed?;
        for file in &of_target {
            hasher.add_file("target", file)?;
        }
        let fingerprint = hasher.finish();
        notes.extend(note_on_ci(&weights));
        let files = RunFiles { config: config_file, checkpoint, model_config, tokenizer: tokenizer_file };
        Ok(Self { weights, tokenizer, fingerprint, files, notes })
    }

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
