//! Causal-importance functions: how a decomposed model itself says what is alive.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Debug;
use std::sync::Arc;

use crate::{Array, Layer, Sigmoid};

/// The causal-importance function of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct CiFunction {
    /// What gives a number for every component.
    pub network: CiNetwork,
    /// What becomes of that number.
    pub sigmoid: Sigmoid,
}

/// The networks of a causal-importance function.
#[derive(Clone, Debug, PartialEq)]
pub enum CiNetwork {
    /// `layerwise`: each decomposed layer has its own. Linear layers with GELU (erf) between them.
    Layerwise {
        /// What they read.
        input: CiInput,
        /// Weight and bias of each linear layer, as [`CiInput`] says.
        layers: BTreeMap<Layer, CiArrays>,
    },
    /// `global_shared_mlp`: one for all layers. It reads their inputs, one after the other in the
    /// [order of their names](CiNetwork::global_order), as they are, and its outputs are the components in that order. Linear
    /// layers with GELU (erf) between them: weights `[in, out]`, biases `[out]`.
    SharedMlp(CiArrays),
    /// `global_shared_transformer`: one for all layers and positions.
    SharedTransformer(CiTransformer),
    /// One that cannot be evaluated.
    Unknown {
        /// Why.
        reason: String,
    },
}

/// What a causal-importance function of one layer reads.
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

/// A causal-importance function that is a transformer without causal mask, as `GlobalSharedTransformerCiFn` of
/// `spd/models/components.py` computes it:
///
/// the inputs of all decomposed layers, each divided by its root mean square, one after the other in the
/// [order of their names](CiNetwork::global_order); a linear layer to the width of the stream; blocks
/// `x += attention(rms(x)); x += mlp(rms(x))`; a linear layer to all components in that order.
///
/// The root mean square is that over the last axis, with [`EPSILON`](Self::EPSILON) added to the mean square. Attention goes both
/// ways, with rotary positions over the halves of a head, scaled by `1 / sqrt(d_head)`. The MLP has GELU (erf).
#[derive(Clone, Debug, PartialEq)]
pub struct CiTransformer {
    /// Weight `[all inputs, d]` and bias `[d]`.
    pub projector: CiArrays,
    /// Of each block: the weights of queries, keys, values and of what is written, `[d, d]` as `[out, in]`; then weight
    /// `[in, out]` and bias `[out]` of each layer of the MLP.
    pub blocks: Vec<CiArrays>,
    /// Weight `[d, all components]` and bias.
    pub head: CiArrays,
    /// Number of heads; divides `d`.
    pub n_heads: usize,
    /// Base of the angles of rotary positions: pair `i` of position `s` turns by `s / base^(2 i / d_head)`.
    pub rope_base: f64,
}

impl CiTransformer {
    /// That of float32, whatever is computed in: `torch.nn.functional.rms_norm` takes that of the type it is given where none is
    /// named, and these runs are float32.
    pub const EPSILON: f64 = f32::EPSILON as f64;
}

impl CiNetwork {
    /// The order of layers in functions of all layers: that of their names as text, `h.10` before `h.2`.
    pub fn global_order(layers: impl IntoIterator<Item = Layer>) -> Vec<Layer> {
        let mut layers: Vec<Layer> = layers.into_iter().collect();
        layers.sort_unstable_by(|one, other| one.path().cmp(other.path()));
        layers
    }

    /// How configs call it, `ci_fn_type` or `fn_type`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Layerwise { input: CiInput::SharedVector, .. } => "shared_mlp",
            Self::Layerwise { input: CiInput::Vector, .. } => "vector_mlp",
            Self::Layerwise { input: CiInput::Activation, .. } => "mlp",
            Self::SharedMlp(_) => "global_shared_mlp",
            Self::SharedTransformer(_) => "global_shared_transformer",
            Self::Unknown { .. } => "unknown",
        }
    }
}

/// Arrays of a causal-importance function that are used together.
///
/// In most runs such functions are most of the checkpoint, and each is needed once for a prompt. So they may stay in their file,
/// to be read part by part while they are used.
#[derive(Clone, Debug)]
pub enum CiArrays {
    /// The arrays.
    Read(Vec<Array>),
    /// The same in a file.
    Stored(Arc<dyn StoredCiArrays>),
}

/// Arrays of a causal-importance function in a file.
pub trait StoredCiArrays: Debug + Send + Sync {
    /// Their shapes.
    fn shapes(&self) -> Vec<Vec<usize>>;

    /// Reads them.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, or does not hold what it held when it was opened.
    fn read(&self) -> Result<Vec<Array>, StoredError>;
}

/// Why something could not be read from its file; names the file.
pub type StoredError = Box<dyn Error + Send + Sync>;

impl CiArrays {
    /// Their shapes.
    pub fn shapes(&self) -> Vec<Vec<usize>> {
        match self {
            Self::Read(arrays) => arrays.iter().map(|array| array.shape.clone()).collect(),
            Self::Stored(stored) => stored.shapes(),
        }
    }

    /// The arrays, read if they are not.
    ///
    /// # Errors
    ///
    /// As [`StoredCiArrays::read`].
    pub fn read(&self) -> Result<Cow<'_, [Array]>, StoredError> {
        match self {
            Self::Read(arrays) => Ok(Cow::Borrowed(arrays)),
            Self::Stored(stored) => stored.read().map(Cow::Owned),
        }
    }

    /// The same for who needs them to keep.
    ///
    /// # Errors
    ///
    /// As [`StoredCiArrays::read`].
    pub fn into_read(self) -> Result<Vec<Array>, StoredError> {
        match self {
            Self::Read(arrays) => Ok(arrays),
            Self::Stored(stored) => stored.read(),
        }
    }
}

/// By the numbers, wherever they are; what cannot be read is equal to nothing.
impl PartialEq for CiArrays {
    fn eq(&self, other: &Self) -> bool {
        matches!((self.read(), other.read()), (Ok(ours), Ok(theirs)) if ours == theirs)
    }
}
