//! What can be wrong with the files of a trained run, a CI-set file or a prompt.

use std::io;
use std::path::{Path, PathBuf};

use tributary_model::Remedy;

/// Why files could not be turned into a run, CI sets or a prompt. Its text is meant for the person who named the files.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InputError {
    /// The operating system could not read a file.
    #[error("{}: cannot be read: {source}", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// Its reason.
        source: io::Error,
    },
    /// A file or folder of a trained run is not there.
    #[error("{}: {problem}", file.display())]
    Missing {
        /// The file or folder.
        file: PathBuf,
        /// What is missing and how to supply it.
        problem: String,
        /// What says where it is.
        remedy: Option<Remedy>,
    },
    /// A YAML file is not well formed, or one of its values has the wrong type.
    #[error("{}: {message}", file.display())]
    Yaml {
        /// The file.
        file: PathBuf,
        /// The parser's words, with line and column.
        message: String,
    },
    /// A key of a config file is missing or has a value that cannot be used.
    #[error("{}: {key}: {problem}", file.display())]
    Config {
        /// The file.
        file: PathBuf,
        /// The key.
        key: String,
        /// What was found and what was expected.
        problem: String,
    },
    /// A checkpoint cannot be read as a state dict.
    #[error("{}: not a usable checkpoint: {problem}; if it was copied or downloaded, it may be cut short or damaged: fetch it again", file.display())]
    Checkpoint {
        /// The file.
        file: PathBuf,
        /// The reader's words.
        problem: String,
    },
    /// A tensor of a checkpoint is missing, unexpected or wrong.
    #[error("{}: tensor {tensor}: {problem}", file.display())]
    Tensor {
        /// The checkpoint.
        file: PathBuf,
        /// Name of the tensor in the state dict.
        tensor: String,
        /// What was found and what was expected.
        problem: String,
    },
    /// A CI-set file is not in one of the three formats, or does not fit the run.
    #[error("{}: {place}{problem}", file.display())]
    CiSets {
        /// The file.
        file: PathBuf,
        /// Where in it: empty, or set, layer, position and component, followed by `: `.
        place: String,
        /// What was found and what was expected.
        problem: String,
    },
    /// A tokenizer file cannot be used.
    #[error("{}: not a usable tokenizer: {problem}", file.display())]
    Tokenizer {
        /// The file.
        file: PathBuf,
        /// The reason.
        problem: String,
    },
    /// A prompt cannot be run through the model.
    #[error("prompt {}: {problem}", shortened(text))]
    Prompt {
        /// The prompt.
        text: String,
        /// What was found and what was expected.
        problem: String,
    },
}

impl InputError {
    /// What to ask for otherwise.
    pub fn remedy(&self) -> Option<Remedy> {
        match self {
            Self::Missing { remedy, .. } => *remedy,
            _ => None,
        }
    }

    pub(crate) fn config(file: &Path, key: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Config { file: file.to_owned(), key: key.into(), problem: problem.into() }
    }

    pub(crate) fn missing(file: impl Into<PathBuf>, problem: impl Into<String>) -> Self {
        Self::Missing { file: file.into(), problem: problem.into(), remedy: None }
    }

    /// The same of a file that may be elsewhere, which `remedy` says.
    pub(crate) fn elsewhere(file: impl Into<PathBuf>, problem: impl Into<String>, remedy: Remedy) -> Self {
        Self::Missing { file: file.into(), problem: problem.into(), remedy: Some(remedy) }
    }

    pub(crate) fn read(file: &Path) -> impl FnOnce(io::Error) -> Self + use<'_> {
        move |source| Self::Read { file: file.to_owned(), source }
    }

    pub(crate) fn tensor(file: &Path, tensor: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Tensor { file: file.to_owned(), tensor: tensor.into(), problem: problem.into() }
    }
}

/// A prompt as messages quote it: whole, or the beginning of a long one.
fn shortened(text: &str) -> String {
    const LONGEST: usize = 200;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{:?}... ({} characters)", &text[..end], text.chars().count()),
        None => format!("{text:?}"),
    }
}
