//! Why sets cannot be compared.

use std::path::PathBuf;

use tributary_model::Remedy;
use tributary_results::ResultError;

/// Why sets cannot be compared, or their consensus not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CompareError {
    /// A result folder cannot be read, or the consensus not be written.
    #[error(transparent)]
    Result(#[from] ResultError),
    /// There is nothing to compare.
    #[error("{found} to compare; give results or choose sets so that there are at least two on one prompt")]
    TooFewSets {
        /// The sets there are, for showing.
        found: String,
    },
    /// A result has sets of several prompts, and none was chosen.
    #[error("{path:?} has sets of several prompts,\n{prompts}\nchoose one by its number")]
    SeveralPrompts {
        /// The folder.
        path: PathBuf,
        /// A line for each prompt.
        prompts: String,
    },
    /// One folder is given twice.
    #[error("{path:?} is given twice; give each result once")]
    Twice {
        /// The folder.
        path: PathBuf,
    },
    /// There is no prompt of this number.
    #[error("{path:?} has no prompt {number}; its prompts are\n{prompts}")]
    UnknownPrompt {
        /// The folder.
        path: PathBuf,
        /// What was asked for.
        number: usize,
        /// A line for each prompt.
        prompts: String,
    },
    /// A result has no set on the prompt that is compared.
    #[error(
        "{path:?} has no set on the tokens of the prompt {prompt:?} of {first:?}; give results on one prompt. Its prompts \
         are\n{prompts}"
    )]
    OtherPrompt {
        /// The folder.
        path: PathBuf,
        /// Text of the prompt.
        prompt: String,
        /// The folder that has it.
        first: PathBuf,
        /// A line for each prompt.
        prompts: String,
    },
    /// A chosen set is not there.
    #[error("no set {name:?} on the prompt {prompt:?}; the sets on it are {known}")]
    UnknownSet {
        /// What was asked for.
        name: String,
        /// Text of the prompt.
        prompt: String,
        /// The labels there are, for showing.
        known: String,
    },
    /// Two sets that are no graphs of the same model on the same tokens.
    #[error("{first:?} and {second:?} cannot be compared: {difference}")]
    Differ {
        /// Label of a set.
        first: String,
        /// Label of the other.
        second: String,
        /// What differs, and what to do.
        difference: String,
    },
    /// The least magnitude of an edge is none.
    #[error("the least magnitude of an edge is {found}, expected a number that is not negative")]
    MinEdge {
        /// What was asked for.
        found: f32,
    },
    /// Nothing can be in so many sets.
    #[error("the consensus is to be of what at least {k} sets have, but {sets} sets are compared; give 1 to {sets}")]
    AtLeast {
        /// What was asked for.
        k: usize,
        /// How many sets there are.
        sets: usize,
    },
    /// A result cannot hold the consensus of attributions that are looked at otherwise than as they were computed.
    #[error(
        "a result holds attributions as they were computed, and the consensus would be of others ({view}); compare them in this \
         view without writing it, or write the consensus of what was computed"
    )]
    Viewed {
        /// What the view does to them, in words.
        view: String,
    },
    /// A consensus of attributions that are evaluated in two ways.
    #[error(
        "attributions of {first:?} and {second:?} are evaluated at other activations, or with other gradients at what no component \
         holds of the weights: their consensus would be of neither; compare them without writing it, or choose sets of one kind"
    )]
    TwoDefinitions {
        /// A set.
        first: String,
        /// One that is evaluated otherwise.
        second: String,
    },
    /// More edges than can be numbered.
    #[error("the sets have {edges} edges together, more than 2^32; choose fewer sets or a larger least magnitude")]
    TooManyEdges {
        /// How many.
        edges: usize,
    },
}

impl CompareError {
    /// What to ask for otherwise.
    pub fn remedy(&self) -> Option<Remedy> {
        match self {
            Self::Result(error) => error.remedy(),
            Self::SeveralPrompts { .. } | Self::UnknownPrompt { .. } => Some(Remedy::Prompt),
            Self::UnknownSet { .. } => Some(Remedy::Sets),
            Self::Viewed { .. } => Some(Remedy::AsComputed),
            _ => None,
        }
    }
}
