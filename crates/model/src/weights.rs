//! A decomposed model's numbers, on the host and independent of any backend.

use std::collections::BTreeMap;

use crate::{Architecture, Array, CiFunction, Layer};

/// A normalisation's parameters.
#[derive(Clone, Debug, PartialEq)]
pub struct NormWeights {
    /// `[d_model]`
    pub weight: Array,
    /// `[d_model]`; LayerNorm only.
    pub bias: Option<Array>,
}

/// A linear layer of the target model: `x weight^T + bias`.
#[derive(Clone, Debug, PartialEq)]
pub struct LinearWeights {
    /// `[d_out, d_in]`, as PyTorch keeps it.
    pub weight: Array,
    /// `[d_out]`
    pub bias: Option<Array>,
}

/// The rank-one subcomponents of a linear layer: `((x v) * mask) u + bias`, the bias being the linear layer's.
#[derive(Clone, Debug, PartialEq)]
pub struct Components {
    /// `[d_in, C]`
    pub v: Array,
    /// `[C, d_out]`
    pub u: Array,
}

impl Components {
    /// Number of components, `C`.
    pub fn count(&self) -> usize {
        self.u.shape[0]
    }
}

/// The normalisations of one block.
#[derive(Clone, Debug, PartialEq)]
pub struct BlockNorms {
    /// Before attention (`ln_1`, `rms_1`).
    pub attention: NormWeights,
    /// Before the MLP (`ln_2`, `rms_2`).
    pub mlp: NormWeights,
}

/// All numbers of a trained run.
#[derive(Clone, Debug, PartialEq)]
pub struct Weights {
    /// The shape they belong to.
    pub architecture: Architecture,
    /// Token embedding, `[vocab, d_model]`.
    pub wte: Array,
    /// Position embedding, `[max_positions, d_model]`; with [`Learned`](crate::PositionEncoding::Learned) positions only.
    pub wpe: Option<Array>,
    /// Sines and cosines of the angles of rotary positions, where the checkpoint keeps them.
    pub rotary: Option<RotaryTables>,
    /// Norms of each block.
    pub norms: Vec<BlockNorms>,
    /// Norm before the unembedding.
    pub ln_f: NormWeights,
    /// Unembedding, `[vocab, d_model]`; `None` when it is tied to `wte`.
    pub lm_head: Option<Array>,
    /// Every linear layer of the target model.
    pub linear: BTreeMap<Layer, LinearWeights>,
    /// The layers that were decomposed; keys are linear layers.
    pub decomposed: BTreeMap<Layer, Components>,
    /// Gives the model's own causal importances.
    pub ci_function: CiFunction,
}

/// Sines and cosines that queries and keys are rotated by, as a checkpoint keeps them: those that the model was computed with to the
/// last bit, which libraries round differently.
#[derive(Clone, Debug, PartialEq)]
pub struct RotaryTables {
    /// `[max_positions, d_head]`
    pub sin: Array,
    /// `[max_positions, d_head]`
    pub cos: Array,
}

impl Weights {
    /// Number of components of every decomposed layer, in the order data flows.
    pub fn component_counts(&self) -> BTreeMap<Layer, usize> {
        self.decomposed.iter().map(|(&layer, components)| (layer, components.count())).collect()
    }
}
