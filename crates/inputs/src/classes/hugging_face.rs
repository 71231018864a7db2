//! `GPT2LMHeadModel` and `LlamaForCausalLM` of the `transformers` library, whose folders have a `config.json`.
//!
//! That library takes every key that it does not know as a note, so unknown ones pass here too; those that change the numbers
//! are read, or refused by name. Defaults are those of its `GPT2Config` and `LlamaConfig` (version 4.57).

use std::path::Path;

use tributary_model::{
    Activation, Architecture, Biases, Layer, Norm, PositionEncoding, Role, RopeScaling, with_widths,
};

use super::gpt2_simple::fused_blocks;
use super::{Class, MODULES, Modules, check_blocks, check_sizes};
use crate::InputError;
use crate::error::shortened;
use crate::yaml::{Keys, Yaml};

pub(super) const GPT2: Class = Class {
    name: "GPT2LMHeadModel",
    older_names: &[],
    config: super::CONFIG_JSON,
    keys: None,
    read: gpt2,
    modules: Modules {
        embedding: "transformer.wte",
        positions: "transformer.wpe",
        blocks: "transformer.h",
        final_norm: "transformer.ln_f",
        // `Conv1D` keeps its weight so.
        is_transposed: true,
        ..MODULES
    },
};

pub(super) const LLAMA: Class = Class {
    name: "LlamaForCausalLM",
    older_names: &[],
    config: super::CONFIG_JSON,
    keys: None,
    read: llama,
    modules: Modules {
        embedding: "model.embed_tokens",
        blocks: "model.layers",
        attention_norm: "input_layernorm",
        mlp_norm: "post_attention_layernorm",
        final_norm: "model.norm",
        buffers: &["model.rotary_emb.inv_freq"],
        attention_buffers: &["self_attn.rotary_emb.inv_freq"],
        ..MODULES
    },
};

fn gpt2(file: &Path, keys: &Keys<'_>) -> Result<Architecture, InputError> {
    let size = |key| keys.require(key, Yaml::count);
    let (n_blocks, d_model, n_heads) = (size("n_layer")?, size("n_embd")?, size("n_head")?);
    let (vocab, max_positions) = (size("vocab_size")?, size("n_positions")?);
    let d_mlp = match keys.get("n_inner", Yaml::count)? {
        Some(width) => width,
        None => d_model.saturating_mul(4),
    };
    let sizes = [
        ("n_positions", max_positions),
        ("vocab_size", vocab),
        ("n_layer", n_blocks),
        ("n_head", n_heads),
        ("n_embd", d_model),
        ("n_inner", d_mlp),
    ];
    check_sizes(file, &sizes)?;
    check_blocks(file, "n_layer", n_blocks)?;
    let d_head = whole_heads(file, ["n_embd", "n_head"], d_model, n_heads)?;
    must_be(keys, "scale_attn_weights", true)?;
    must_be(keys, "scale_attn_by_inverse_layer_idx", false)?;
    must_be(keys, "add_cross_attention", false)?;
    refuse_quantised(keys)?;
    Ok(Architecture {
        model_class: GPT2.name.to_owned(),
        n_blocks,
        d_model,
        n_heads,
        n_kv_heads: n_heads,
        d_head,
        d_mlp,
        vocab,
        max_positions,
        norm: Norm::LayerNorm { eps: eps(keys, "layer_norm_epsilon", 1e-5)? },
        position_encoding: PositionEncoding::Learned,
        activation: activation(keys, "activation_function", "gelu_new")?,
        linear: with_widths(
            fused_blocks(n_blocks, GPT2.modules.blocks),
            [d_model, d_model, d_model, d_mlp],
            Biases { attention: true, mlp: true },
        ),
    })
}

/// Whether the unembedding is the embedding where there are no weights of it, as `config.json` says or leaves to the class.
pub(crate) fn is_tied(class: &str, config: &[u8]) -> bool {
    let parsed: Option<serde_json::Value> = serde_json::from_slice(config).ok();
    let said = parsed.and_then(|config| config.get("tie_word_embeddings")?.as_bool());
    said.unwrap_or(class == GPT2.name)
}

fn llama(file: &Path, keys: &Keys<'_>) -> Result<Architecture, InputError> {
    let size = |key| keys.require(key, Yaml::count);
    let (n_blocks, d_model) = (size("num_hidden_layers")?, size("hidden_size")?);
    let (n_heads, d_mlp) = (size("num_attention_heads")?, size("intermediate_size")?);
    let (vocab, max_positions) = (size("vocab_size")?, size("max_position_embeddings")?);
    let n_kv_heads = keys.get("num_key_value_heads", Yaml::count)?.unwrap_or(n_heads);
    let d_head = keys.get("head_dim", Yaml::count)?;
    let sizes = [
        ("max_position_embeddings", max_positions),
        ("vocab_size", vocab),
        ("num_hidden_layers", n_blocks),
        ("num_attention_heads", n_heads),
        ("hidden_size", d_model),
        ("intermediate_size", d_mlp),
        ("num_key_value_heads", n_kv_heads),
        ("head_dim", d_head.unwrap_or(1)),
    ];
    check_sizes(file, &sizes)?;
    check_blocks(file, "num_hidden_layers", n_blocks)?;
    let d_head = match d_head {
        Some(d_head) => d_head,
        None => whole_heads(file, ["hidden_size", "num_attention_heads"], d_model, n_heads)?,
    };
    if !n_heads.is_multiple_of(n_kv_heads) {
        let problem = format!("is {n_kv_heads}, which does not divide num_attention_heads, {n_heads}");
        return Err(keys.fail("num_key_value_heads", problem));
    }
    if !d_head.is_multiple_of(2) {
        let problem = format!("leaves heads of {d_head} elements, but rotary positions turn them in pairs");
        return Err(keys.fail("head_dim", problem));
    }
    if let Some(factor) =
        keys.get("partial_rotary_factor", Yaml::number)?.filter(|factor| factor.total_cmp(&1.0).is_ne())
    {
        let problem = format!("is {factor}, an unsupported option: heads are rotated whole, so it must be 1");
        return Err(keys.fail("partial_rotary_factor", problem));
    }
    refuse_quantised(keys)?;
    let flag = |key| Ok::<_, InputError>(keys.get(key, Yaml::flag)?.unwrap_or(false));
    let biases = Biases { attention: flag("attention_bias")?, mlp: flag("mlp_bias")? };
    let (base, scaling) = rope(keys)?;
    Ok(Architecture {
        model_class: LLAMA.name.to_owned(),
        n_blocks,
        d_model,
        n_heads,
        n_kv_heads,
        d_head,
        d_mlp,
        vocab,
        max_positions,
        norm: Norm::RmsNorm { eps: eps(keys, "rms_norm_eps", 1e-6)? },
        position_encoding: PositionEncoding::Rotary { base, adjacent_pairs: false, scaling },
        activation: activation(keys, "hidden_act", "silu")?,
        linear: with_widths(llama_blocks(n_blocks), [d_model, n_heads * d_head, n_kv_heads * d_head, d_mlp], biases),
    })
}

fn llama_blocks(n_blocks: usize) -> Vec<Layer> {
    const MODULES: [(Role, &str); 7] = [
        (Role::Query, "self_attn.q_proj"),
        (Role::Key, "self_attn.k_proj"),
        (Role::Value, "self_attn.v_proj"),
        (Role::AttentionOutput, "self_attn.o_proj"),
        (Role::MlpGate, "mlp.gate_proj"),
        (Role::MlpUp, "mlp.up_proj"),
        (Role::MlpDown, "mlp.down_proj"),
    ];
    let of_block =
        |block| MODULES.map(|(role, module)| Layer::linear(block, role, &format!("model.layers.{block}.{module}")));
    (0..n_blocks).flat_map(of_block).collect()
}

/// Base and scaling of rotary positions: `rope_theta` and `rope_scaling`, or since version 5 of the library `rope_parameters`.
fn rope(keys: &Keys<'_>) -> Result<(f64, RopeScaling), InputError> {
    let (section, key) = match (keys.section("rope_parameters")?, keys.section("rope_scaling")?) {
        (Some(section), _) => (Some(section), "rope_parameters"),
        (None, section) => (section, "rope_scaling"),
    };
    let of_section = section.as_ref().map(|section| section.get("rope_theta", Yaml::number)).transpose()?.flatten();
    let base = match of_section {
        Some(base) => base,
        None => keys.get("rope_theta", Yaml::number)?.unwrap_or(10_000.0),
    };
    if !(base.is_finite() && base > 0.0) {
        return Err(keys.fail("rope_theta", format!("is {base}, but must be a positive number")));
    }
    let Some(section) = section else { return Ok((base, RopeScaling::None)) };
    let kind = match section.get("rope_type", Yaml::text)? {
        Some(kind) => Some(kind),
        None => section.get("type", Yaml::text)?,
    };
    let positive = |key: &str| match section.require(key, Yaml::number)? {
        number if number.is_finite() && number > 0.0 => Ok(number),
        number => Err(section.fail(key, format!("is {number}, but must be a positive number"))),
    };
    let scaling = match kind.as_deref() {
        None | Some("default") => RopeScaling::None,
        Some("linear") => RopeScaling::Linear { factor: positive("factor")? },
        Some("llama3") => {
            let (low, high) = (positive("low_freq_factor")?, positive("high_freq_factor")?);
            if low >= high {
                let problem = format!("is {low}, but must be less than high_freq_factor, {high}");
                return Err(section.fail("low_freq_factor", problem));
            }
            RopeScaling::Llama3 {
                factor: positive("factor")?,
                low,
                high,
                original_positions: positive("original_max_position_embeddings")?,
            }
        }
        Some(other) => {
            let problem = format!(
                "asks for rotary positions of the kind {}, which is not supported; supported are default, linear and llama3",
                shortened(other)
            );
            return Err(keys.fail(key, problem));
        }
    };
    Ok((base, scaling))
}

/// The width of a head where heads share `width`.
fn whole_heads(file: &Path, [of_width, of_heads]: [&str; 2], width: usize, heads: usize) -> Result<usize, InputError> {
    if width.is_multiple_of(heads) {
        return Ok(width / heads);
    }
    Err(InputError::config(file, of_heads, format!("is {heads}, which does not divide {of_width}, {width}")))
}

fn activation(keys: &Keys<'_>, key: &str, default: &str) -> Result<Activation, InputError> {
    let name = keys.get(key, Yaml::text)?.unwrap_or_else(|| default.to_owned());
    match &*name {
        "gelu_new" | "gelu_pytorch_tanh" => Ok(Activation::GeluTanh),
        "gelu" => Ok(Activation::Gelu),
        "silu" | "swish" => Ok(Activation::Silu),
        other => {
            let problem = format!(
                "is {}, which is not supported; supported are gelu_new, gelu_pytorch_tanh, gelu, silu and swish",
                shortened(other)
            );
            Err(keys.fail(key, problem))
        }
    }
}

fn eps(keys: &Keys<'_>, key: &str, default: f64) -> Result<f64, InputError> {
    match keys.get(key, Yaml::number)?.unwrap_or(default) {
        eps if eps.is_finite() && eps >= 0.0 => Ok(eps),
        eps => Err(keys.fail(key, format!("is {eps}, but must be 0 or a positive number"))),
    }
}

fn must_be(keys: &Keys<'_>, key: &str, wanted: bool) -> Result<(), InputError> {
    match keys.get(key, Yaml::flag)? {
        Some(found) if found != wanted => {
            Err(keys.fail(key, format!("is {found}, which changes the numbers and is not supported")))
        }
        _ => Ok(()),
    }
}

fn refuse_quantised(keys: &Keys<'_>) -> Result<(), InputError> {
    match keys.section("quantization_config")? {
        Some(_) => Err(keys.fail("quantization_config", "is given, but quantised weights are not supported")),
        None => Ok(()),
    }
}
