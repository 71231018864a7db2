//! Why a session failed.

use std::path::PathBuf;

use tributary_backend::BackendError;
use tributary_engine::EngineError;
use tributary_inputs::InputError;
use tributary_model::Remedy;
use tributary_results::ResultError;

/// Why a backend cannot compute what is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unusable {
    /// In words, and what to do.
    pub reason: String,
    /// What to ask for otherwise.
    pub remedy: Option<Remedy>,
}

impl Unusable {
    /// For a reason that nothing can be asked for against.
    pub fn because(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), remedy: None }
    }
}

/// Why a session failed. Its text is meant for the person who asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The run, the CI sets or a prompt.
    #[error(transparent)]
    Input(#[from] InputError),
    /// The result folder.
    #[error(transparent)]
    Result(#[from] ResultError),
    /// The computation.
    #[error(transparent)]
    Engine(EngineError),
    /// The backend, outside the computation.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// There is no backend of that name.
    #[error("unknown backend {name:?}; there are {}", known.join(", "))]
    UnknownBackend {
        /// What was asked for.
        name: String,
        /// The names there are.
        known: Vec<String>,
    },
    /// The backend cannot compute what is asked for.
    #[error("the backend {name} cannot be used: {}", unusable.reason)]
    Unusable {
        /// Its name.
        name: String,
        /// Why.
        unusable: Unusable,
    },
    /// No backend can compute what is asked for.
    #[error("no backend can be used:\n  {}", reasons(passed_over))]
    NoBackend {
        /// Each by name, and why not.
        passed_over: Vec<(String, Unusable)>,
    },
    /// A set that is asked for is not in the file.
    #[error("{} has no set {name:?}; choose among its sets: {}", file.display(), quoted(known))]
    UnknownSet {
        /// The file or folder.
        file: PathBuf,
        /// What was asked for.
        name: String,
        /// The names there are.
        known: Vec<String>,
    },
    /// A consensus is to be verified.
    #[error(
        "{}: it is the consensus of other results, computed from no model; verify those, which the metadata of its sets name",
        result.display()
    )]
    Consensus {
        /// The folder.
        result: PathBuf,
    },
    /// A result without sets.
    #[error("{}: it holds no sets, so there is nothing to be compared or shown; run again", result.display())]
    NoSets {
        /// The folder.
        result: PathBuf,
    },
    /// The result says nothing of where its inputs are.
    #[error("{}: it does not say which {what} it was computed from; say where", result.display())]
    UnknownInput {
        /// The result's folder.
        result: PathBuf,
        /// What is missing.
        what: &'static str,
        /// What says where it is.
        remedy: Remedy,
    },
    /// An input of a result is not where the result says.
    #[error("{source}; {} says that it was computed from there: if it has moved, say where it is", result.display())]
    Moved {
        /// What is wrong with the input.
        source: Box<Error>,
        /// The result's folder.
        result: PathBuf,
        /// What says where it is now.
        remedy: Remedy,
    },
    /// The run or the sets are not those that a result was computed from.
    #[error("{} was not computed from {}: {difference}", result.display(), input.display())]
    OtherInput {
        /// The result's folder.
        result: PathBuf,
        /// What was read.
        input: PathBuf,
        /// How it differs, and what to do.
        difference: String,
        /// What says where the right one is.
        remedy: Option<Remedy>,
    },
    /// A set cannot end where it is to.
    #[error("set {set:?}: {problem}")]
    Until {
        /// The set.
        set: String,
        /// What is wrong, and what there is.
        problem: String,
    },
    /// An output that is asked for is none.
    #[error("{}{problem}", set.as_ref().map_or_else(String::new, |set| format!("set {set:?}: ")))]
    OutputTarget {
        /// The set, where it is one's prompt that has none.
        set: Option<String>,
        /// What is wrong, and what there is.
        problem: String,
    },
    /// Sets cannot be made as asked for.
    #[error("{problem}")]
    Optimization {
        /// What is wrong, and what there is.
        problem: String,
        /// What to ask for otherwise.
        remedy: Option<Remedy>,
    },
    /// Where what a run goes on from would be written, an interrupted run has left that.
    #[error("{}: an interrupted run left it, to be gone on from; go on, have it thrown away, or choose another file to write to", file.display())]
    Unfinished {
        /// The file.
        file: PathBuf,
    },
    /// Where what a run goes on from would be written, there is something else.
    #[error(
        "{}: what a run goes on from after an interruption is written there, but something else is there, which is left alone; \
         move it, or choose another file to write to",
        file.display()
    )]
    NotResumable {
        /// The file.
        file: PathBuf,
    },
    /// A file that is to appear with CI sets cannot.
    #[error(
        "{}: it is to appear together with the CI sets, so it has to be in their folder, {}, or in one within it, and be another \
         file than theirs",
        file.display(), folder.display()
    )]
    Beside {
        /// The file.
        file: PathBuf,
        /// The folder of the CI sets.
        folder: PathBuf,
    },
    /// A run cannot go on from what is there.
    #[error(
        "{}: a run cannot go on from it: {problem}; ask for the same as when it began, or do not go on and have it thrown away",
        file.display()
    )]
    Resume {
        /// The file.
        file: PathBuf,
        /// Why not.
        problem: String,
    },
    /// What is optimised became no number.
    #[error(
        "set {set:?}: what is optimised is no finite number at step {step} (from 0); {} holds the set as it was before, and all \
         others; a smaller learning rate or, with small exponents, a larger one of importance minimality may help",
        file.display()
    )]
    LossNotFinite {
        /// The set.
        set: String,
        /// The step, from 0.
        step: usize,
        /// Where what was reached is.
        file: PathBuf,
    },
    /// Sets cannot be evaluated as asked for.
    #[error("{}{problem}", set.as_ref().map_or_else(String::new, |set| format!("set {set:?}: ")))]
    Evaluation {
        /// The set, where it is one's.
        set: Option<String>,
        /// What is wrong, and what there is.
        problem: String,
    },
    /// A token that is looked at is none.
    #[error("{}{problem}", set.as_ref().map_or_else(String::new, |set| format!("set {set:?}: ")))]
    Label {
        /// The set, where it is one's.
        set: Option<String>,
        /// What is wrong, and what there is.
        problem: String,
    },
    /// A position that is looked at is none.
    #[error("set {set:?}: {problem}")]
    LookedAtPosition {
        /// The set.
        set: String,
        /// What is wrong, and what there is.
        problem: String,
    },
    /// Influence is asked for of sets without graphs.
    #[error(
        "influence is that of an attribution graph, and CI sets have none: compute it, and give the result in their place"
    )]
    NoInfluence,
    /// A file of nodes says what there is not.
    #[error("{}: line {line}: {problem}", file.display())]
    Nodes {
        /// The file.
        file: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong, and what was expected.
        problem: String,
    },
    /// The threads could not be set up.
    #[error("{threads} threads cannot be set up: {reason}")]
    Threads {
        /// How many were asked for.
        threads: usize,
        /// Why not.
        reason: String,
    },
}

impl Error {
    /// What to ask for otherwise.
    pub fn remedy(&self) -> Option<Remedy> {
        match self {
            Self::Input(error) => error.remedy(),
            Self::Result(error) => error.remedy(),
            Self::Engine(error) => error.remedy(),
            Self::Unusable { unusable, .. } => unusable.remedy,
            Self::NoBackend { passed_over } => passed_over.iter().find_map(|(_, unusable)| unusable.remedy),
            Self::UnknownSet { .. } => Some(Remedy::Sets),
            Self::Threads { .. } => Some(Remedy::Threads),
            Self::Until { .. } => Some(Remedy::Until),
            Self::OutputTarget { .. } => Some(Remedy::OutputTarget),
            Self::UnknownInput { remedy, .. } | Self::Moved { remedy, .. } => Some(*remedy),
            Self::OtherInput { remedy, .. } | Self::Optimization { remedy, .. } => *remedy,
            Self::Unfinished { .. } => Some(Remedy::GoOn),
            Self::Resume { .. } => Some(Remedy::Replace),
            Self::Beside { .. } => Some(Remedy::Figure),
            Self::Label { .. } => Some(Remedy::Label),
            Self::LookedAtPosition { .. } => Some(Remedy::Position),
            Self::NotResumable { .. }
            | Self::NoInfluence
            | Self::Evaluation { .. }
            | Self::Nodes { .. }
            | Self::LossNotFinite { .. }
            | Self::Consensus { .. }
            | Self::NoSets { .. }
            | Self::Backend(_)
            | Self::UnknownBackend { .. } => None,
        }
    }
}

impl From<EngineError> for Error {
    fn from(error: EngineError) -> Self {
        // What a session hands its graphs to is a writer of results, or the caller's.
        match error {
            EngineError::Sink(error) => match error.downcast::<ResultError>() {
                Ok(error) => Self::Result(*error),
                Err(error) => Self::Engine(EngineError::Sink(error)),
            },
            error => Self::Engine(error),
        }
    }
}

fn reasons(passed_over: &[(String, Unusable)]) -> String {
    let reasons = passed_over.iter().map(|(name, unusable)| format!("{name}: {}", unusable.reason));
    reasons.collect::<Vec<_>>().join("\n  ")
}

fn quoted(names: &[String]) -> String {
    names.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ")
}
