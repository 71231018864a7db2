//! Shape of a transformer of the `GPT2Simple` / `LlamaSimpleMLP` family.

use crate::{Layer, Projection};

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
}

impl Architecture {
    /// Width of one attention head.
    pub fn d_head(&self) -> usize {
        self.d_model / self.n_heads
    }

    /// Input and output width of a linear layer.
    pub fn widths(&self, projection: Projection) -> (usize, usize) {
        let kv = self.n_kv_heads * self.d_head();
        match projection {
            Projection::Q | Projection::O => (self.d_model, self.d_model),
            Projection::K | Projection::V => (self.d_model, kv),
            Projection::CFc => (self.d_model, self.d_mlp),
            Projection::DownProj => (self.d_mlp, self.d_model),
        }
    }

    /// All linear layers in the order data flows.
    pub fn linear_layers(&self) -> impl Iterator<Item = Layer> + use<> {
        (0..self.n_blocks).flat_map(|block| Projection::ALL.map(|projection| Layer::linear(block, projection)))
    }
}
