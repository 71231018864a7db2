//! `GPT2Simple`: LayerNorm, learned positions, biases everywhere but in the unembedding.

use std::path::Path;

use tributary_model::{Architecture, Biases, Norm, PositionEncoding, published_layers};

use super::{Class, Modules, check_heads, check_sizes};
use crate::InputError;
use crate::yaml::{Keys, Yaml};

pub(super) const CLASS: Class = Class {
    name: "GPT2Simple",
    older_names: &[],
    keys: &["block_size", "vocab_size", "n_layer", "n_head", "n_embd"],
    read,
    modules: Modules {
        attention_norm: "ln_1",
        mlp_norm: "ln_2",
        attention_buffers: &["bias", "rotary_sin", "rotary_cos"],
    },
};

/// `model_config.yaml` of the published `GPT2Simple`, with the fields of `simple_stories_train/models/gpt2_simple.py`. Sizes have
/// defaults there, which published files never use.
struct Config {
    block_size: usize,
    vocab_size: usize,
    n_layer: usize,
    n_head: usize,
    n_embd: usize,
}

impl Config {
    fn of(keys: &Keys<'_>) -> Result<Self, InputError> {
        let size = |key| keys.require(key, Yaml::count);
        Ok(Self {
            block_size: size("block_size")?,
            vocab_size: size("vocab_size")?,
            n_layer: size("n_layer")?,
            n_head: size("n_head")?,
            n_embd: size("n_embd")?,
        })
    }
}

fn read(file: &Path, keys: &Keys<'_>) -> Result<Architecture, InputError> {
    let config = Config::of(keys)?;
    check_sizes(
        file,
        &[
            ("block_size", config.block_size),
            ("vocab_size", config.vocab_size),
            ("n_layer", config.n_layer),
            ("n_head", config.n_head),
            ("n_embd", config.n_embd),
        ],
    )?;
    check_heads(file, config.n_layer, config.n_embd, config.n_head)?;
    let (d_model, d_mlp) = (config.n_embd, 4 * config.n_embd);
    Ok(Architecture {
        model_class: CLASS.name.to_owned(),
        n_blocks: config.n_layer,
        d_model,
        n_heads: config.n_head,
        n_kv_heads: config.n_head,
        d_head: d_model / config.n_head,
        d_mlp,
        vocab: config.vocab_size,
        max_positions: config.block_size,
        norm: Norm::LayerNorm { eps: 1e-5 },
        position_encoding: PositionEncoding::Learned,
        linear: published_layers(config.n_layer, d_model, d_model, d_mlp, Biases { attention: true, mlp: true }),
    })
}
