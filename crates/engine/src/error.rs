//! What can go wrong in the engine.

use tributary_backend::{BackendError, Dtype};
use tributary_model::{Layer, Remedy, Role, StoredError};

/// Why a sink takes no more.
pub type SinkError = Box<dyn std::error::Error + Send + Sync>;

/// Why attributions could not be computed.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The backend failed.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// A causal-importance function could not be read from its file.
    #[error(transparent)]
    Stored(StoredError),
    /// The model's own causal importances are asked for, and its function cannot be evaluated.
    #[error("the model's own causal importances cannot be computed: {reason}; give a file of CI sets")]
    UnknownCi {
        /// Why.
        reason: String,
    },
    /// A set cannot be run through the model.
    #[error("CI set {set:?}: {problem}")]
    Set {
        /// Name of the set.
        set: String,
        /// What was found and what was expected.
        problem: String,
    },
    /// The method cannot be used for the model.
    #[error(
        "the method closed-form covers models whose every linear layer is decomposed{}; use autograd",
        if layer.role() == Role::QueryKeyValue {
            format!(", and has one each for queries, keys and values; {layer} gives all three")
        } else {
            format!(", and {layer} is not")
        }
    )]
    NotCovered {
        /// A layer that is not decomposed, or that of queries, keys and values in one.
        layer: Layer,
    },
    /// One set or one prompt alone takes more memory than is allowed.
    #[error(
        "{what} takes about {} MB of memory beside the model, {} MB of them whatever it is, more than the {} MB that are allowed, \
         which are half of what is free unless another number was given; allow more",
        needed.div_ceil(1_000_000), crate::overhead::OVERHEAD.div_ceil(1_000_000), allowed / 1_000_000
    )]
    Memory {
        /// What takes it.
        what: String,
        /// Estimated bytes it takes.
        needed: u64,
        /// Bytes that may be taken.
        allowed: u64,
    },
    /// What takes the graphs has failed.
    #[error(transparent)]
    Sink(SinkError),
    /// A number came out that is none, or too large for f32, which results hold.
    #[error(
        "CI set {set:?}: {what}, computed in {dtype}, is no number or too large for f32, the type of results; look for causal importances far from 0 to 1{}",
        if *dtype == Dtype::F32 { ", or compute in f64" } else { "" }
    )]
    NotFinite {
        /// Name of the set.
        set: String,
        /// What is not finite.
        what: String,
        /// What was computed in.
        dtype: Dtype,
    },
}

impl EngineError {
    /// What to ask for otherwise.
    pub fn remedy(&self) -> Option<Remedy> {
        match self {
            Self::NotCovered { .. } => Some(Remedy::Autograd),
            Self::Memory { .. } => Some(Remedy::MaxMemory),
            Self::NotFinite { dtype: Dtype::F32, .. } => Some(Remedy::F64),
            Self::UnknownCi { .. } => Some(Remedy::CiSets),
            Self::Backend(_) | Self::Stored(_) | Self::Set { .. } | Self::Sink(_) | Self::NotFinite { .. } => None,
        }
    }
}
