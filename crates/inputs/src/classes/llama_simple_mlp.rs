//! `LlamaSimpleMLP`: RMSNorm, rotary positions, grouped keys and values, an MLP without a gate.

use std::path::Path;

use serde::Deserialize;
use serde::de::IgnoredAny;
use tributary_model::{Architecture, Biases, Norm, PositionEncoding, published_layers};

use super::{Class, Modules, check_heads, check_sizes};
use crate::{InputError, yaml};

pub(super) const CLASS: Class = Class {
    name: "LlamaSimpleMLP",
    older_names: &["LlamaSimpleMlp"],
    read,
    modules: Modules {
        attention_norm: "rms_1",
        mlp_norm: "rms_2",
        attention_buffers: &["bias", "rotary_sin", "rotary_cos"],
    },
};

/// `model_config.yaml` of the published `LlamaSimpleMLP`.
///
/// Fields and defaults as in `simple_stories_train/models/llama_simple_mlp.py`; an unknown one is an error there too.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::struct_excessive_bools, reason = "the published config has them")]
struct Config {
    block_size: usize,
    vocab_size: usize,
    n_layer: usize,
    n_head: usize,
    n_embd: usize,
    n_intermediate: usize,
    n_key_value_heads: usize,
    #[serde(default = "default_n_ctx")]
    n_ctx: usize,
    #[serde(default)]
    mlp_bias: bool,
    #[serde(default)]
    attn_bias: bool,
    #[serde(default)]
    rotary_adjacent_pairs: bool,
    rotary_dim: Option<usize>,
    #[serde(default = "default_rotary_base")]
    rotary_base: f64,
    #[serde(default = "default_rms_norm_eps")]
    rms_norm_eps: f64,
    #[serde(default = "default_true")]
    use_grouped_query_attention: bool,
    #[serde(rename = "flash_attention")]
    _flash_attention: Option<IgnoredAny>,
    #[serde(rename = "model_type")]
    _model_type: Option<IgnoredAny>,
}

fn default_n_ctx() -> usize {
    1024
}

fn default_rotary_base() -> f64 {
    10_000.0
}

fn default_rms_norm_eps() -> f64 {
    1e-6
}

fn default_true() -> bool {
    true
}

fn read(file: &Path, bytes: &[u8]) -> Result<Architecture, InputError> {
    let config: Config = yaml::parse(file, bytes)?;
    let fail = |key: &str, problem: String| Err(InputError::config(file, key, problem));
    if !config.use_grouped_query_attention {
        let problem = "is false: one fused c_attn layer instead of q_proj, k_proj and v_proj, which is not supported";
        return fail("use_grouped_query_attention", problem.to_owned());
    }
    let n_kv_heads = config.n_key_value_heads;
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
    Ok(Architecture {
        model_class: CLASS.name.to_owned(),
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
        },
        linear: published_layers(config.n_layer, d_model, n_kv_heads * d_head, d_mlp, biases),
    })
}
