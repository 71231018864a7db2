//! Why a command failed.

use tributary_backend::BackendError;
use tributary_engine::EngineError;
use tributary_inputs::InputError;
use tributary_results::ResultError;

/// A failure other than wrong usage. Its text is what the user sees.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CliError {
    /// The run, the CI sets or a prompt.
    #[error(transparent)]
    Input(#[from] InputError),
    /// The result folder.
    #[error(transparent)]
    Result(#[from] ResultError),
    /// The computation.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The backend, outside the computation.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// `--backend` names none.
    #[error("unknown backend {name:?}; the backends are {known} (see `tributary backends`)")]
    UnknownBackend {
        /// What was asked for.
        name: String,
        /// The names there are.
        known: String,
    },
    /// `--backend` names one that this executable was built without, or that cannot run here.
    #[error("the backend {name} cannot be used: {reason}")]
    Unusable {
        /// Its name.
        name: &'static str,
        /// Why.
        reason: String,
    },
    /// `--device` names none of the backend's.
    #[error("the backend {backend} has no device {device:?}; its devices are {known}")]
    UnknownDevice {
        /// The backend's name.
        backend: &'static str,
        /// What was asked for.
        device: String,
        /// The devices there are.
        known: String,
    },
    /// `--sets` names none of the file's.
    #[error("--sets: {file} has no set {name:?}; its sets are {known}")]
    UnknownSet {
        /// The CI-set file.
        file: String,
        /// What was asked for.
        name: String,
        /// The names there are.
        known: String,
    },
    /// The folder is neither a trained run nor a result.
    #[error("{folder}: neither a trained run (it would hold final_config.yaml) nor a result (manifest.json)")]
    NothingToInspect {
        /// The folder.
        folder: String,
    },
    /// The threads could not be set up.
    #[error("--threads {threads}: {reason}")]
    Threads {
        /// How many were asked for.
        threads: usize,
        /// Why not.
        reason: String,
    },
    /// Stdout could not be written to.
    #[error("cannot write to standard output: {0}")]
    Stdout(std::io::Error),
}
