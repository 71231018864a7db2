//! What can go wrong with a result folder.

use std::path::{Path, PathBuf};

use tributary_files::FilesError;
use tributary_files::visible::on_one_line;
use tributary_model::Remedy;

/// Why a result folder could not be written or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResultError {
    /// Files could not be written or read.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// The output already holds results, and replacing them was not asked for.
    #[error("{path:?} already holds results; choose another folder, or have them replaced")]
    Occupied {
        /// The output.
        path: PathBuf,
    },
    /// The output holds a manifest that is not one of ours, or a broken one, so what may be replaced is unknown.
    #[error(
        "{path:?} holds a manifest.json whose results cannot be replaced: {source}; choose another folder, or remove it yourself"
    )]
    Irreplaceable {
        /// The output.
        path: PathBuf,
        /// What is wrong with the manifest.
        source: Box<ResultError>,
    },
    /// Two sets of one run have the same name.
    #[error("two sets are named {name:?}; each set of a run needs its own name")]
    DuplicateSet {
        /// The name.
        name: String,
    },
    /// A comparison with the target model that is no number, of which neither JSON nor a reader could make anything.
    #[error(
        "what the target model predicts for set {name:?} cannot be written: {what} is not a finite number, so a computation \
         before has overflowed; compute in f64"
    )]
    NotFinite {
        /// The set.
        name: String,
        /// What is not finite.
        what: String,
    },
    /// The operating system refused something.
    #[error("cannot {action} {path:?}: {source}")]
    Io {
        /// What was attempted.
        action: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
    /// There is no such folder.
    #[error("{path:?}: there is no such folder; give a folder of results")]
    NoFolder {
        /// The folder.
        path: PathBuf,
    },
    /// A folder without a manifest.
    #[error("{path:?} holds no results: there is no manifest.json in it, which a finished run writes last")]
    NoManifest {
        /// The folder.
        path: PathBuf,
    },
    /// The manifest says something it cannot.
    #[error("{path:?}: {}", visible(reason))]
    Manifest {
        /// The manifest.
        path: PathBuf,
        /// The place in it, what was found and what was expected.
        reason: String,
    },
    /// The results were written in a format this version does not know.
    #[error("{path:?} has format version {found}; this version of tributary reads versions 1 to {newest}")]
    FormatVersion {
        /// The manifest.
        path: PathBuf,
        /// The version it names.
        found: u64,
        /// The newest version that is read here.
        newest: u64,
    },
    /// There is no such set.
    #[error("{path:?} has no set {name:?}; its sets are {known}")]
    UnknownSet {
        /// The manifest.
        path: PathBuf,
        /// What was asked for.
        name: String,
        /// The names there are, for showing.
        known: String,
    },
    /// The manifest counts what the file does not hold.
    #[error(
        "{path:?}: what manifest.json says of {} is not what the file holds: one of them was changed; run again",
        visible(what)
    )]
    Counts {
        /// The set's file.
        path: PathBuf,
        /// What is counted.
        what: String,
    },
    /// A set's file is not the one that was written.
    #[error(
        "{path:?} has SHA-256 {found}, but the manifest says {}: it is damaged or was changed; run again",
        visible(expected)
    )]
    Changed {
        /// The file.
        path: PathBuf,
        /// Its SHA-256.
        found: String,
        /// The SHA-256 of what was written.
        expected: String,
    },
    /// Other results came into the folder while these were read.
    #[error("{path:?} holds other results than when it was opened: they were replaced in the meantime; run again")]
    Replaced {
        /// The folder.
        path: PathBuf,
    },
    /// A set's file is not a safetensors file.
    #[error("{path:?} is not a safetensors file: {}", visible(source))]
    Safetensors {
        /// The file.
        path: PathBuf,
        /// What its parser says.
        source: safetensors::SafeTensorError,
    },
    /// A tensor is missing or not what it must be.
    #[error("{path:?}, tensor {tensor:?}: {}", visible(reason))]
    Tensor {
        /// The file.
        path: PathBuf,
        /// Name of the tensor.
        tensor: String,
        /// What was found and what was expected.
        reason: String,
    },
}

impl ResultError {
    /// What to ask for otherwise.
    pub fn remedy(&self) -> Option<Remedy> {
        match self {
            Self::Occupied { .. } | Self::Files(FilesError::FileExists { .. }) => Some(Remedy::Replace),
            Self::NotFinite { .. } => Some(Remedy::F64),
            _ => None,
        }
    }

    /// For `map_err`: the error of doing `action` to `path`.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }
}

/// Words that may quote a file.
fn visible(words: impl std::fmt::Display) -> String {
    on_one_line(&words.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_shown() {
        let (path, reason) = (PathBuf::from("a"), "unknown variant `\u{1b}[2Jé`\n".to_owned());
        assert_eq!(ResultError::Manifest { path, reason }.to_string(), "\"a\": unknown variant `\\u{1b}[2Jé`\\n");
    }
}
