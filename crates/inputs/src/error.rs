//! What can be wrong with the files of a trained run, a CI-set file or a prompt.

use std::io;
use std::path::{Path, PathBuf};

use tributary_files::FilesError;
use tributary_files::visible::on_one_line;
use tributary_model::Remedy;

/// Why files could not be turned into a run, CI sets or a prompt. Its text is meant for the person who named the files.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InputError {
    /// The operating system could not read a file.
    #[error("{}: cannot be read: {source}", shown(file))]
    Read {
        /// The file.
        file: PathBuf,
        /// Its reason.
        source: io::Error,
    },
    /// A file that is no regular one, or larger than any of its kind.
    #[error(transparent)]
    Unsuitable(FilesError),
    /// A file is plainly something else than what it is to be.
    #[error("{}: {problem}", shown(file))]
    Foreign {
        /// The file.
        file: PathBuf,
        /// What it is, and what to do.
        problem: String,
    },
    /// A file or folder of a trained run is not there.
    #[error("{}: {problem}", shown(file))]
    Missing {
        /// The file or folder.
        file: PathBuf,
        /// What is missing and how to supply it.
        problem: String,
        /// What says where it is.
        remedy: Option<Remedy>,
    },
    /// A YAML file is not well formed, or one of its values has the wrong type.
    #[error("{}: {message}", shown(file))]
    Yaml {
        /// The file.
        file: PathBuf,
        /// The parser's words, with line and column.
        message: String,
    },
    /// A key of a config file is missing or has a value that cannot be used.
    #[error("{}: {key}: {problem}", shown(file))]
    Config {
        /// The file.
        file: PathBuf,
        /// The key.
        key: String,
        /// What was found and what was expected.
        problem: String,
    },
    /// A checkpoint cannot be read as a state dict.
    #[error(
        "{}: not a usable checkpoint: {problem}; if it was copied or downloaded, it may be cut short or damaged: fetch it again",
        shown(file)
    )]
    Checkpoint {
        /// The file.
        file: PathBuf,
        /// The reader's words.
        problem: String,
    },
    /// A tensor of a checkpoint is missing, unexpected or wrong.
    #[error("{}: tensor {tensor}: {problem}", shown(file))]
    Tensor {
        /// The checkpoint.
        file: PathBuf,
        /// Name of the tensor in the state dict.
        tensor: String,
        /// What was found and what was expected.
        problem: String,
    },
    /// A CI-set file is not in one of the four formats, or does not fit the run.
    #[error("{}: {place}{problem}", shown(file))]
    CiSets {
        /// The file.
        file: PathBuf,
        /// Where in it: empty, or set, layer, position and component, followed by `: `.
        place: String,
        /// What was found and what was expected.
        problem: String,
    },
    /// A tokenizer file cannot be used.
    #[error("{}: not a usable tokenizer: {problem}", shown(file))]
    Tokenizer {
        /// The file.
        file: PathBuf,
        /// The reason.
        problem: String,
    },
    /// Tokens that are given by their ids cannot be run through the model.
    #[error("tokens {tokens}: {problem}")]
    Tokens {
        /// The first of them.
        tokens: String,
        /// What was found and what was expected.
        problem: String,
    },
    /// A file of token ids does not say what it must, or does not fit the model.
    #[error("{}: {place}{problem}", shown(file))]
    TokenFile {
        /// The file.
        file: PathBuf,
        /// Where in it: empty, or the line or the prompt, followed by `: `.
        place: String,
        /// What was found and what was expected.
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
        Self::Config { file: file.to_owned(), key: clipped(&key.into()), problem: clipped(&problem.into()) }
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
        Self::Tensor { file: file.to_owned(), tensor: clipped(&tensor.into()), problem: clipped(&problem.into()) }
    }
}

impl From<FilesError> for InputError {
    fn from(error: FilesError) -> Self {
        match error {
            FilesError::Io { path, source, .. } => Self::Read { file: path, source },
            error => Self::Unsuitable(error),
        }
    }
}

/// A path as messages begin with it, on one line: a file's name may look like another message.
fn shown(path: &Path) -> String {
    on_one_line(&path.display().to_string())
}

/// A text from a file as messages quote it: whole, or the beginning of a long one.
pub(crate) fn shortened(text: &str) -> String {
    const LONGEST: usize = 200;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{:?}... ({} characters)", &text[..end], text.chars().count()),
        None => format!("{text:?}"),
    }
}

/// Texts from a file as messages list them: quoted, and no more of them than somebody reads.
pub(crate) fn listed<T: AsRef<str>>(texts: impl IntoIterator<Item = T>) -> String {
    abridged(texts.into_iter().map(|text| shortened(text.as_ref())))
}

/// The first of many things that a message names, and how many more there are.
pub(crate) fn abridged(things: impl IntoIterator<Item = String>) -> String {
    const MOST: usize = 24;
    const LONGEST: usize = 400;
    let (mut text, mut more) = (String::new(), 0);
    for (index, thing) in things.into_iter().enumerate() {
        if index > 0 && (more > 0 || index >= MOST || text.len() + thing.len() > LONGEST) {
            more += 1;
            continue;
        }
        text.push_str(if index > 0 { ", " } else { "" });
        text.push_str(&thing);
    }
    if more > 0 { format!("{text} and {more} more") } else { text }
}

/// The message of a parser, which may quote all of what it did not understand, on one line; the place is at its end.
pub(crate) fn clipped(message: &str) -> String {
    const ENDS: (usize, usize) = (400, 100);
    let count = message.chars().count();
    if count <= ENDS.0 + ENDS.1 {
        return on_one_line(message);
    }
    let [head, tail]: [String; 2] =
        [message.chars().take(ENDS.0).collect(), message.chars().skip(count - ENDS.1).collect()];
    on_one_line(&format!("{head} ... {tail}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_cut() {
        assert_eq!(shortened("a\u{202e}b"), "\"a\\u{202e}b\"");
        assert_eq!(shortened(&"é".repeat(1000)), format!("\"{}\"... (1000 characters)", "é".repeat(200)));
        assert_eq!(clipped("short"), "short");
        assert_eq!(clipped("\u{1b}[2J\tline\n"), "\\u{1b}[2J\\tline\\n");
        let long = clipped(&format!("invalid type: {} at line 1 column 9", "x".repeat(5000)));
        assert!(long.len() < 520 && long.starts_with("invalid type: x") && long.ends_with(" at line 1 column 9"));
    }

    #[test]
    fn long_lists_are_cut() {
        assert_eq!(listed(["a", "b"]), "\"a\", \"b\"");
        assert_eq!(listed(Vec::<String>::new()), "");
        let names: Vec<String> = (0..100).map(|number| format!("n{number}")).collect();
        assert!(listed(&names).ends_with("\"n23\" and 76 more"), "{}", listed(&names));
        let long = listed(["a".repeat(900), "b".to_owned(), "c".repeat(900)]);
        assert!(long.len() < 700 && long.ends_with("(900 characters), \"b\" and 1 more"), "{long}");
    }
}
