//! Causal-importance functions: how a decomposed model itself says what is alive.

use std::borrow::Cow;
use std::error::Error;
use std::fmt::Debug;
use std::sync::Arc;

use crate::{Array, Sigmoid};

/// What a causal-importance function reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CiInput {
    /// `shared_mlp`: one network for all components, over the layer's input vector.
    /// Linear weights `[in, out]`, biases `[out]`.
    SharedVector,
    /// `vector_mlp`: one network per component, over the layer's input vector. Weights `[C, in, out]`, biases `[C, out]`.
    Vector,
    /// `mlp`: one network per component, over the component's own activation. Weights `[C, in, out]` with `in` = 1 for
    /// the first, biases `[C, out]`.
    Activation,
}

/// A causal-importance function: linear layers with GELU (erf) between them, then a sigmoid.
#[derive(Clone, Debug, PartialEq)]
pub struct CiFunction {
    /// What it reads.
    pub input: CiInput,
    /// Its linear layers.
    pub layers: CiLayers,
    /// What becomes of its last layer.
    pub sigmoid: Sigmoid,
}

/// The linear layers of a causal-importance function.
///
/// In most runs these are most of the checkpoint, and each is needed once for a prompt. So they may stay in their file, to be
/// read layer by layer while they are used.
#[derive(Clone, Debug)]
pub enum CiLayers {
    /// Weight and bias of each; shapes as [`CiInput`] says. At least one.
    Read(Vec<(Array, Array)>),
    /// The same in a file.
    Stored(Arc<dyn StoredCiLayers>),
}

/// Linear layers of a causal-importance function in a file.
pub trait StoredCiLayers: Debug + Send + Sync {
    /// Shapes of their weights, as [`CiInput`] says.
    fn shapes(&self) -> Vec<Vec<usize>>;

    /// Reads weight and bias of each; shapes as [`CiInput`] says.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, or does not hold what it held when it was opened.
    fn read(&self) -> Result<Vec<(Array, Array)>, StoredError>;
}

/// Why something could not be read from its file; names the file.
pub type StoredError = Box<dyn Error + Send + Sync>;

impl CiLayers {
    /// Shapes of their weights, as [`CiInput`] says.
    pub fn shapes(&self) -> Vec<Vec<usize>> {
        match self {
            Self::Read(layers) => layers.iter().map(|(weight, _)| weight.shape.clone()).collect(),
            Self::Stored(stored) => stored.shapes(),
        }
    }

    /// Weight and bias of each, read if they are not.
    ///
    /// # Errors
    ///
    /// As [`StoredCiLayers::read`].
    pub fn read(&self) -> Result<Cow<'_, [(Array, Array)]>, StoredError> {
        match self {
            Self::Read(layers) => Ok(Cow::Borrowed(layers)),
            Self::Stored(stored) => stored.read().map(Cow::Owned),
        }
    }
}

/// By the numbers, wherever they are; what cannot be read is equal to nothing.
impl PartialEq for CiLayers {
    fn eq(&self, other: &Self) -> bool {
        matches!((self.read(), other.read()), (Ok(ours), Ok(theirs)) if ours == theirs)
    }
}
