//! `GPT2Simple`: LayerNorm, learned positions, biases everywhere but in the unembedding.

use std::path::Path;

use serde::Deserialize;
use serde::de::IgnoredAny;
use tributary_model::{Architecture, Biases, Norm, PositionEncoding, published_layers};

use super::{Class, Modules, check_heads, check_sizes};
use crate::{InputError, yaml};

pub(super) const CLASS: Class = Class {
    name: "GPT2Simple",
    older_names: &[],
    read,
    modules: Modules {
        attention_norm: "ln_1",
        mlp_norm: "ln_2",
        attention_buffers: &["bias", "rotary_sin", "rotary_cos"],
    },
};

/// `model_config.yaml` of the published `GPT2Simple`.
///
/// Fields as in `simple_stories_train/models/gpt2_simple.py`; an unknown one is an error there too, and here it keeps an
/// option that changes the numbers from passing unnoticed. Sizes have defaults there, which published files never use.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    block_size: usize,
    vocab_size: usize,
    n_layer: usize,
    n_head: usize,
    n_embd: usize,
    // Which of two equal ways attention is computed, and which class this is: the latter was read before.
    #[serde(rename = "flash_attention")]
    _flash_attention: Option<IgnoredAny>,
    #[serde(rename = "model_type")]
    _model_type: Option<IgnoredAny>,
}

fn read(file: &Path, bytes: &[u8]) -> Result<Architecture, InputError> {
    let config: Config = yaml::parse(file, bytes)?;
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
