//! What can go wrong with a report.

use std::path::PathBuf;

use tributary_model::Remedy;
use tributary_results::ResultError;

/// Why a report could not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReportError {
    /// The results could not be read, or have no such set.
    #[error(transparent)]
    Result(#[from] ResultError),
    /// There is nothing to show.
    #[error("{path:?} holds no sets, so there is nothing to report; compute some first")]
    NoSets {
        /// The results.
        path: PathBuf,
    },
    /// A set has more edges than can be numbered.
    #[error("set {set:?} has {edges} edges; a report takes sets of fewer than 2^32")]
    TooManyEdges {
        /// Name of the set.
        set: String,
        /// Its edges.
        edges: usize,
    },
    /// The page could not be written.
    #[error("cannot write the report: {0}")]
    Write(#[from] std::io::Error),
}

impl ReportError {
    /// What to ask for otherwise.
    pub fn remedy(&self) -> Option<Remedy> {
        match self {
            Self::Result(error) => error.remedy(),
            _ => None,
        }
    }
}
