//! What can go wrong with an export.

use std::path::{Path, PathBuf};

use tributary_files::FilesError;
use tributary_model::Remedy;
use tributary_results::ResultError;

/// Why results could not be exported.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// A set could not be read, or a file not written.
    #[error(transparent)]
    Result(#[from] ResultError),
    /// There is nothing to export.
    #[error("there are no sets of {path:?} to export; name at least one set of the results")]
    NoSets {
        /// The results.
        path: PathBuf,
    },
    /// A threshold of pruning is not a share.
    #[error("{threshold} is {found}, expected a number from 0 to 1: the share of the influence that is kept")]
    Threshold {
        /// Which threshold.
        threshold: &'static str,
        /// Its value.
        found: f64,
    },
    /// The output is asked for at a position that a prompt does not have.
    #[error("set {set:?} has no output position {position}: its prompt has {positions} tokens, numbered from 0")]
    Position {
        /// Name of the set.
        set: String,
        /// What was asked for.
        position: u32,
        /// Number of tokens.
        positions: usize,
    },
    /// A sign is chosen where both are written.
    #[error(
        "files for param-decomp hold attributions with both signs, as edges and edgesAbs; leave the choice of a sign out"
    )]
    BothSigns,
    /// The list of graphs that is to be extended is not one.
    #[error("{path:?} is not circuit-tracer's list of graphs: {reason}; remove it, or choose another folder")]
    Metadata {
        /// The list.
        path: PathBuf,
        /// What was found and what was expected.
        reason: String,
    },
    /// A Parquet file could not be written.
    #[error("cannot write {path:?}: {source}")]
    Parquet {
        /// The file.
        path: PathBuf,
        /// Why it failed.
        source: parquet::errors::ParquetError,
    },
}

impl From<FilesError> for ExportError {
    fn from(error: FilesError) -> Self {
        Self::Result(error.into())
    }
}

impl ExportError {
    /// What to ask for otherwise.
    pub fn remedy(&self) -> Option<Remedy> {
        match self {
            Self::Result(error) => error.remedy(),
            Self::BothSigns => Some(Remedy::Sign),
            _ => None,
        }
    }

    /// For `map_err`: the error of doing `action` to `path`.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Result(ResultError::Io { action, path, source })
    }
}
