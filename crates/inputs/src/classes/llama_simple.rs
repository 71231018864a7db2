//! `LlamaSimpleMLP` and `LlamaSimple`: RMSNorm, rotary positions, grouped keys and values; an MLP without a gate, or with one.

use std::path::Path;

use tributary_model::{
    Activation, Architecture, Biases, Layer, Norm, PositionEncoding, Role, RopeScaling, gated_blocks, published_blocks,
    with_widths,
};

use super::{Class, MODULES, Modules, check_heads, check_sizes};
use crate::InputError;
use crate::yaml::{Keys, Yaml};

pub(super) const MLP: Class = Class {
    name: "LlamaSimpleMLP",
    older_names: &["LlamaSimpleMlp"],
    read: |file, keys| read(file, keys, false),
    ..GATED
};

pub(super) const GATED: Class = Class {
    name: "LlamaSimple",
    older_names: &[],
    config: super::MODEL_CONFIG,
    keys: Some(&[
        "block_size",
        "vocab_size",
        "n_layer",
        "n_head",
        "n_embd",
        "n_intermediate",
        "n_key_value_heads",
        "n_ctx",
        "mlp_bias",
        "attn_bias",
        "rotary_adjacent_pairs",
        "rotary_dim",
        "rotary_base",
        "rms_norm_eps",
        "use_grouped_query_attention",
    ]),
    read: |file, keys| read(file, keys, true),
    modules: Modules { attention_norm: "rms_1", mlp_norm: "rms_2", ..MODULES },
};

/// `model_config.yaml` of the published classes, with the fields and defaults of
/// `simple_stories_train/models/llama_simple_mlp.py` and `llama_simple.py`.
#[expect(clippy::struct_excessive_bools, reason = "the published config has them")]
struct Config {
    block_size: usize,
    vocab_size: usize,
    n_layer: usize,
    n_head: usize,
    n_embd: usize,
    n_intermediate: usize,
    n_key_value_heads: usize,
    n_ctx: usize,
    mlp_bias: bool,
    attn_bias: bool,
    rotary_adjacent_pairs: bool,
    rotary_dim: Option<usize>,
    rotary_base: f64,
    rms_norm_eps: f64,
    use_grouped_query_attention: bool,
}

impl Config {
    fn of(keys: &Keys<'_>) -> Result<Self, InputError> {
        let size = |key| keys.require(key, Yaml::count);
        let flag = |key, default: bool| Ok::<_, InputError>(keys.get(key, Yaml::flag)?.unwrap_or(default));
        let number = |key, default: f64| Ok::<_, InputError>(keys.get(key, Yaml::number)?.unwrap_or(default));
        Ok(Self {
            block_size: size("block_size")?,
            vocab_size: size("vocab_size")?,
            n_layer: size("n_layer")?,
            n_head: size("n_head")?,
            n_embd: size("n_embd")?,
            n_intermediate: size("n_intermediate")?,
            n_key_value_heads: size("n_key_value_heads")?,
            n_ctx: keys.get("n_ctx", Yaml::count)?.unwrap_or(1024),
            mlp_bias: flag("mlp_bias", false)?,
            attn_bias: flag("attn_bias", false)?,
            rotary_adjacent_pairs: flag("rotary_adjacent_pairs", false)?,
            rotary_dim: keys.get("rotary_dim", Yaml::count)?,
            rotary_base: number("rotary_base", 10_000.0)?,
            rms_norm_eps: number("rms_norm_eps", 1e-6)?,
            use_grouped_query_attention: flag("use_grouped_query_attention", true)?,
        })
    }
}

fn read(file: &Path, keys: &Keys<'_>, is_gated: bool) -> Result<Architecture, InputError> {
    let config = Config::of(keys)?;
    let fail = |key: &str, problem: String| Err(InputError::config(file, key, problem));
    let is_fused = !config.use_grouped_query_attention;
    // Where one layer gives all three, every head has keys and values of its own, whatever the config says.
    let n_kv_heads = if is_fused { config.n_head } else { config.n_key_value_heads };
    check_sizes(
        file,
        &[
            ("block_size", config.block_size),
            ("vocab_size", config.vocab_size),
            ("n_layer", config.n_layer),
            ("n_head", config.n_head),
            ("n_embd", config.n_embd),
            ("n_intermediate", config.n_intermediate),
            ("n_key_value_heads", n_kv_heads),
            ("n_ctx", config.n_ctx),
        ],
    )?;
    check_heads(file, config.n_layer, config.n_embd, config.n_head)?;
    if !config.n_head.is_multiple_of(n_kv_heads) {
        let problem = format!("is {n_kv_heads}, which does not divide n_head, {}", config.n_head);
        return fail("n_key_value_heads", problem);
    }
    let d_head = config.n_embd / config.n_head;
    if !d_head.is_multiple_of(2) {
        let problem = format!("leaves heads of {d_head} elements, but rotary positions turn them in pairs");
        return fail("n_embd", problem);
    }
    if let Some(rotary_dim) = config.rotary_dim.filter(|&rotary_dim| rotary_dim != d_head) {
        let problem =
            format!("is {rotary_dim}, an unsupported option: heads are rotated whole, so it must be {d_head}");
        return fail("rotary_dim", problem);
    }
    if !(config.rotary_base.is_finite() && config.rotary_base > 0.0) {
        return fail("rotary_base", format!("is {}, but must be a positive number", config.rotary_base));
    }
    if !(config.rms_norm_eps.is_finite() && config.rms_norm_eps >= 0.0) {
        return fail("rms_norm_eps", format!("is {}, but must be 0 or a positive number", config.rms_norm_eps));
    }
    let (d_model, d_mlp) = (config.n_embd, config.n_intermediate);
    let biases = Biases { attention: config.attn_bias, mlp: config.mlp_bias };
    let mut layers = if is_gated { gated_blocks(config.n_layer) } else { published_blocks(config.n_layer) };
    if is_fused {
        layers.retain(|layer| !matches!(layer.role(), Role::Query | Role::Key | Role::Value));
        let fused = |block| Layer::linear(block, Role::QueryKeyValue, &format!("h.{block}.attn.c_attn"));
        layers.extend((0..config.n_layer).map(fused));
        layers.sort_unstable();
    }
    Ok(Architecture {
        model_class: if is_gated { GATED.name } else { MLP.name }.to_owned(),
        n_blocks: config.n_layer,
        d_model,
        n_heads: config.n_head,
        n_kv_heads,
        d_head,
        d_mlp,
        vocab: config.vocab_size,
        // Past n_ctx, the published class gives every position the angle of the last one: not a model anyone meant.
        max_positions: config.block_size.min(config.n_ctx),
        norm: Norm::RmsNorm { eps: config.rms_norm_eps },
        position_encoding: PositionEncoding::Rotary {
            base: config.rotary_base,
            adjacent_pairs: config.rotary_adjacent_pairs,
            scaling: RopeScaling::None,
        },
        activation: if is_gated { Activation::Silu } else { Activation::GeluTanh },
        linear: with_widths(layers, [d_model, d_model, n_kv_heads * d_head, d_mlp], biases),
    })
}
