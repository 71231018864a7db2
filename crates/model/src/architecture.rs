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
        /// What becomes of the angles.
        scaling: RopeScaling,
    },
}

/// How the angles of rotary positions are changed, for prompts longer than those a model was first trained on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RopeScaling {
    /// Not at all.
    None,
    /// All are divided by the factor.
    Linear {
        /// The factor.
        factor: f64,
    },
    /// As in Llama 3.1: with `w` the number of positions of a whole turn, angles of a pair with `w > original_positions / low`
    /// are divided by the factor, those with `w < original_positions / high` are left, and between them
    /// `t = (original_positions / w - low) / (high - low)` interpolates.
    Llama3 {
        /// The factor.
        factor: f64,
        /// See above.
        low: f64,
        /// See above.
        high: f64,
        /// Positions of the prompts of the first training.
        original_positions: f64,
    },
}

impl RopeScaling {
    /// The angle by which pair `pair` is turned at a position, in float32: the published models keep these angles, and their
    /// sines and cosines, in that type whatever they are computed in.
    pub fn angle(self, base: f64, d_head: usize, pair: usize, position: usize) -> f32 {
        match self {
            Self::None => position as f32 / base.powf(f64::from(pair as f32 / (d_head / 2) as f32)) as f32,
            Self::Linear { .. } | Self::Llama3 { .. } => position as f32 * self.frequency(base, d_head, pair) as f32,
        }
    }

    /// What the angle of pair `pair` grows by from one position to the next.
    fn frequency(self, base: f64, d_head: usize, pair: usize) -> f64 {
        let frequency = base.powf(-2.0 * pair as f64 / d_head as f64);
        match self {
            Self::None => frequency,
            Self::Linear { factor } => frequency / factor,
            Self::Llama3 { factor, low, high, original_positions } => {
                let turns = original_positions * frequency / std::f64::consts::TAU;
                let kept = ((turns - low) / (high - low)).clamp(0.0, 1.0);
                frequency * (kept + (1.0 - kept) / factor)
            }
        }
    }
}

/// The nonlinearity of the MLPs.
///
/// Where an MLP has a gate, its hidden layer is `activation(gate) * up`, else `activation(up)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// `x/2 * (1 + tanh(sqrt(2/pi) * (x + 0.044715 x^3)))`
    GeluTanh,
    /// `x/2 * (1 + erf(x / sqrt(2)))`
    Gelu,
    /// `x / (1 + exp(-x))`
    Silu,
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
    /// The published class this is, such as `GPT2Simple`.
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
    /// Nonlinearity of the MLPs.
    pub activation: Activation,
    /// The linear layers of the blocks in the order data flows, by the names of the model's class; before and behind them the
    /// embedding and the unembedding where these are decomposed.
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

    /// The layer of block `block` that has this role; `None` where the block has none.
    pub fn find(&self, block: usize, role: Role) -> Option<Layer> {
        self.linear_layers().find(|layer| layer.block() == Some(block) && layer.role() == role)
    }

    /// The same of a block that has one.
    ///
    /// # Panics
    ///
    /// When the block has none.
    pub fn layer(&self, block: usize, role: Role) -> Layer {
        self.find(block, role).unwrap_or_else(|| panic!("block {block} has no layer {role:?}"))
    }

    /// The embedding, where it is decomposed.
    pub fn token_embedding(&self) -> Option<Layer> {
        self.linear_layers().find(|layer| layer.role() == Role::TokenEmbedding)
    }

    /// The unembedding, where it is decomposed.
    pub fn unembedding(&self) -> Option<Layer> {
        self.linear_layers().find(|layer| layer.role() == Role::Unembedding)
    }
}
