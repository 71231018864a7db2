//! `GPT2Simple` and `GPT2`: LayerNorm, learned positions, biases everywhere but in the unembedding; a layer each for queries,
//! keys and values, or one for all three.

use std::path::Path;

use tributary_model::{
    Activation, Architecture, Biases, Layer, Norm, PositionEncoding, Role, published_blocks, with_widths,
};

use super::{Class, MODULES, Modules, check_heads, check_sizes};
use crate::InputError;
use crate::yaml::{Keys, Yaml};

pub(super) const SIMPLE: Class = Class {
    name: "GPT2Simple",
    older_names: &[],
    config: super::MODEL_CONFIG,
    keys: Some(&["block_size", "vocab_size", "n_layer", "n_head", "n_embd"]),
    read: |file, keys| read(file, keys, SIMPLE.name, published_blocks),
    modules: MODULES,
};

pub(super) const FUSED: Class = Class {
    name: "GPT2",
    read: |file, keys| read(file, keys, FUSED.name, |n_blocks| fused_blocks(n_blocks, FUSED.modules.blocks)),
    // What its list of blocks is registered under.
    modules: Modules { blocks: "h_torch", ..MODULES },
    ..SIMPLE
};

/// The linear layers of so many blocks of GPT-2 as it was published, which are called `blocks.N`.
pub(super) fn fused_blocks(n_blocks: usize, blocks: &str) -> Vec<Layer> {
    const MODULES: [(Role, &str); 4] = [
        (Role::QueryKeyValue, "attn.c_attn"),
        (Role::AttentionOutput, "attn.c_proj"),
        (Role::MlpUp, "mlp.c_fc"),
        (Role::MlpDown, "mlp.c_proj"),
    ];
    let of_block =
        |block| MODULES.map(|(role, module)| Layer::linear(block, role, &format!("{blocks}.{block}.{module}")));
    (0..n_blocks).flat_map(of_block).collect()
}

/// `model_config.yaml` of the published classes, with the fields of `simple_stories_train/models/gpt2_simple.py` and `gpt2.py`.
/// Sizes have defaults there, which published files never use.
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

fn read(
    file: &Path,
    keys: &Keys<'_>,
    class: &str,
    blocks: impl FnOnce(usize) -> Vec<Layer>,
) -> Result<Architecture, InputError> {
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
        model_class: class.to_owned(),
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
        activation: Activation::GeluTanh,
        linear: with_widths(
            blocks(config.n_layer),
            [d_model, d_model, d_model, d_mlp],
            Biases { attention: true, mlp: true },
        ),
    })
}
