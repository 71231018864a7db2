//! Shape of a transformer.

use crate::{Layer, Role};

/// How the residual stream is normalised before it is read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Norm {
    /// `(x - mean) / sqrt(variance + eps) * weight + bias`, the variance over `d_model`, uncorrected.
    LayerNorm {
        /// Added to the variance.
        eps: f64,
    },
    /// `x / sqrt(mean(x^2) + eps) * weight`.
    RmsNorm {
        /// Added to the mean square.
        eps: f64,
    },
}

/// How positions enter the model.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum PositionEncoding {
    /// A learned vector per position (`wpe`), added to the token embedding.
    Learned,
    /// Queries and keys are rotated over the whole head. Pair `i` of position `s` turns by
    /// `s / base^(2 i / d_head)`.
    Rotary {
        /// Base of the angles' geometric series.
        base: f64,
        /// Whether pair `i` is elements `2i, 2i + 1` of a head, or else `i, i + d_head / 2`.
        adjacent_pairs: bool,
    },
}

/// A linear layer of the target model: `[.., d_in] -> [.., d_out]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinearLayer {
    /// Which layer.
    pub layer: Layer,
    /// Width of its input.
    pub d_in: usize,
    /// Width of its output.
    pub d_out: usize,
    /// Whether a bias is added to its output.
    pub has_bias: bool,
}

/// Shape of a model: everything about it but its numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct Architecture {
    /// The published class this is: `GPT2Simple` or `LlamaSimpleMLP`.
    pub model_class: String,
    /// Number of blocks.
    pub n_blocks: usize,
    /// Width of the residual stream.
    pub d_model: usize,
    /// Number of query heads.
    pub n_heads: usize,
    /// Number of key and value heads; divides `n_heads`, and query head `h` reads kv head `h / (n_heads / n_kv_heads)`.
    pub n_kv_heads: usize,
    /// Width of one attention head.
    pub d_head: usize,
    /// Width of the hidden layer of the MLPs.
    pub d_mlp: usize,
    /// Number of tokens in the vocabulary.
    pub vocab: usize,
    /// Largest number of positions the model takes.
    pub max_positions: usize,
    /// Normalisation before attention, MLP and unembedding.
    pub norm: Norm,
    /// How positions enter.
    pub position_encoding: PositionEncoding,
    /// The linear layers in the order data flows, by the names of the model's class.
    pub linear: Vec<LinearLayer>,
}

impl Architecture {
    /// All linear layers in the order data flows.
    pub fn linear_layers(&self) -> impl Iterator<Item = Layer> + '_ {
        self.linear.iter().map(|linear| linear.layer)
    }

    /// A linear layer's widths and bias; `None` when the model has no such layer.
    pub fn linear(&self, layer: Layer) -> Option<&LinearLayer> {
        self.linear.iter().find(|linear| linear.layer == layer)
    }

    /// The layer of block `block` that has this role.
    ///
    /// # Panics
    ///
    /// When the block has none.
    pub fn layer(&self, block: usize, role: Role) -> Layer {
        let layer = self.linear_layers().find(|layer| layer.block() == Some(block) && layer.role() == role);
        layer.unwrap_or_else(|| panic!("block {block} has no layer {role:?}"))
    }
}
