//! The target model's folder and its `model_config.yaml`.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::IgnoredAny;
use tributary_model::{Architecture, Biases, Norm, PositionEncoding, Remedy, published_layers};

use crate::config::{Config, ModelClass};
use crate::{InputError, yaml};

/// Name of the file that describes a target model.
pub(crate) const MODEL_CONFIG: &str = "model_config.yaml";

/// The most any size in a model config may be. Products of two sizes then fit in 64 bits.
const MAX_SIZE: usize = u32::MAX as usize;

/// The most blocks a model may have: far above any real one, and few enough to list.
const MAX_BLOCKS: usize = 10_000;

/// Finds the folder that holds `model_config.yaml`: the one that is given, else `RUN/target/`, else where the config points to.
pub(crate) fn find_folder(run: &Path, config: &Config, given: Option<&Path>) -> Result<PathBuf, InputError> {
    if let Some(folder) = given {
        return if holds_model(folder) {
            Ok(folder.to_owned())
        } else {
            let problem = "not found; name the folder that holds the target model's model_config.yaml";
            Err(InputError::elsewhere(folder.join(MODEL_CONFIG), problem, Remedy::Target))
        };
    }
    let beside = run.join("target");
    if beside.is_dir() {
        return if holds_model(&beside) {
            Ok(beside)
        } else {
            let problem = "not found; put the target model's model_config.yaml there, or name its folder";
            Err(InputError::elsewhere(beside.join(MODEL_CONFIG), problem, Remedy::Target))
        };
    }
    if let Some(folder) = config.target_references.iter().find_map(|reference| follow(run, reference)) {
        return Ok(folder);
    }
    let named = match config.target_references.first() {
        Some(reference) if is_remote(reference) => {
            format!("the config names the target model as {reference:?}, which is not fetched from here")
        }
        Some(reference) => format!("the config names the target model as {reference:?}, which is not there either"),
        None => "the config does not name the target model".to_owned(),
    };
    let problem = format!(
        "not found, and {named}; fetch the model's model_config.yaml and tokenizer.json into a folder and name that folder"
    );
    Err(InputError::elsewhere(beside, problem, Remedy::Target))
}

fn holds_model(folder: &Path) -> bool {
    folder.join(MODEL_CONFIG).is_file()
}

fn is_remote(reference: &str) -> bool {
    reference.starts_with("wandb:")
}

/// The folder a local reference means. It may be the folder or a checkpoint in it or in a subfolder, and is relative to
/// the run or to the current folder.
fn follow(run: &Path, reference: &str) -> Option<PathBuf> {
    if is_remote(reference) || reference.is_empty() {
        return None;
    }
    let paths = [run.join(reference), PathBuf::from(reference)];
    paths.into_iter().filter(|path| path.exists()).find_map(|path| {
        let folders = if path.is_dir() { 0..1 } else { 1..3 };
        path.ancestors().skip(folders.start).take(folders.len()).find(|folder| holds_model(folder)).map(Path::to_owned)
    })
}

/// `model_config.yaml` of the published `GPT2Simple`.
///
/// Fields as in `simple_stories_train/models/gpt2_simple.py`; an unknown one is an error there too, and here it keeps an
/// option that changes the numbers from passing unnoticed. Sizes have defaults there, which published files never use.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Gpt2Simple {
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

/// `model_config.yaml` of the published `LlamaSimpleMLP`.
///
/// Fields and defaults as in `simple_stories_train/models/llama_simple_mlp.py`; see [`Gpt2Simple`].
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::struct_excessive_bools, reason = "the published config has them")]
struct LlamaSimpleMlp {
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

#[derive(Debug, Deserialize)]
struct ModelType {
    model_type: Option<String>,
}

/// The target model that `model_config.yaml` describes; the run's config says that it is a `class`.
pub(crate) fn parse(file: &Path, bytes: &[u8], class: ModelClass) -> Result<Architecture, InputError> {
    let ModelType { model_type } = yaml::parse(file, bytes)?;
    if let Some(model_type) = model_type.filter(|model_type| ModelClass::from_path(model_type) != Some(class)) {
        let problem = format!("is {model_type:?}, but the run's pretrained_model_class says {class}");
        return Err(InputError::config(file, "model_type", problem));
    }
    match class {
        ModelClass::Gpt2Simple => gpt2_simple(file, &yaml::parse(file, bytes)?),
        ModelClass::LlamaSimpleMlp => llama_simple_mlp(file, &yaml::parse(file, bytes)?),
    }
}

fn gpt2_simple(file: &Path, config: &Gpt2Simple) -> Result<Architecture, InputError> {
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
        model_class: ModelClass::Gpt2Simple.to_string(),
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

fn llama_simple_mlp(file: &Path, config: &LlamaSimpleMlp) -> Result<Architecture, InputError> {
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
        model_class: ModelClass::LlamaSimpleMlp.to_string(),
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

fn check_sizes(file: &Path, sizes: &[(&str, usize)]) -> Result<(), InputError> {
    match sizes.iter().find(|(_, size)| !(1..=MAX_SIZE).contains(size)) {
        Some((key, size)) => {
            Err(InputError::config(file, *key, format!("is {size}, but must be between 1 and {MAX_SIZE}")))
        }
        None => Ok(()),
    }
}

fn check_heads(file: &Path, n_layer: usize, n_embd: usize, n_head: usize) -> Result<(), InputError> {
    if n_layer > MAX_BLOCKS {
        return Err(InputError::config(
            file,
            "n_layer",
            format!("is {n_layer}, but at most {MAX_BLOCKS} are supported"),
        ));
    }
    if !n_embd.is_multiple_of(n_head) {
        let problem = format!("is {n_head}, which does not divide n_embd, {n_embd}");
        return Err(InputError::config(file, "n_head", problem));
    }
    Ok(())
}
