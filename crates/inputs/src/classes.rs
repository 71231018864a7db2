//! The classes of target models, each family in a file of its own: what their configs mean, and how their modules are called.

mod gpt2_simple;
mod hugging_face;
mod llama_simple;

pub(crate) use hugging_face::is_tied;
use std::path::Path;

use tributary_model::Architecture;

use crate::InputError;
use crate::error::shortened;
use crate::yaml::{Keys, Yaml};

/// A class of target models.
#[derive(Debug)]
pub(crate) struct Class {
    /// Its name.
    pub(crate) name: &'static str,
    /// Other spellings of the name, of early versions.
    older_names: &'static [&'static str],
    /// The file that describes a model of it.
    pub(crate) config: &'static str,
    /// Keys of the config that bear on the numbers. An unknown one is an error of the published class too, and here it
    /// keeps an option that changes the numbers from passing unnoticed. `None` where the class itself passes unknown ones.
    keys: Option<&'static [&'static str]>,
    /// Reads the config.
    read: fn(&Path, &Keys<'_>) -> Result<Architecture, InputError>,
    /// What its modules are called besides the linear layers, which the architecture names.
    pub(crate) modules: Modules,
}

/// Names of modules, as they stand in a checkpoint.
#[derive(Debug)]
pub(crate) struct Modules {
    /// The token embedding.
    pub(crate) embedding: &'static str,
    /// The embedding of positions, where they are learned.
    pub(crate) positions: &'static str,
    /// The list of blocks, of which one is called `blocks.N`.
    pub(crate) blocks: &'static str,
    /// The norm before the attention of a block.
    pub(crate) attention_norm: &'static str,
    /// The norm before its MLP.
    pub(crate) mlp_norm: &'static str,
    /// The norm behind all blocks.
    pub(crate) final_norm: &'static str,
    /// The unembedding.
    pub(crate) unembedding: &'static str,
    /// Buffers of the model, which versions that made them persistent saved: the model config determines them.
    pub(crate) buffers: &'static [&'static str],
    /// The same of a block.
    pub(crate) attention_buffers: &'static [&'static str],
    /// Whether weights of linear layers in blocks are kept as `[d_in, d_out]`.
    pub(crate) is_transposed: bool,
}

/// Those of most published classes.
const MODULES: Modules = Modules {
    embedding: "wte",
    positions: "wpe",
    blocks: "h",
    attention_norm: "ln_1",
    mlp_norm: "ln_2",
    final_norm: "ln_f",
    unembedding: "lm_head",
    buffers: &[],
    attention_buffers: &["attn.bias", "attn.masked_bias", "attn.rotary_sin", "attn.rotary_cos"],
    is_transposed: false,
};

/// Name of the file that describes a target model of a published class.
pub(crate) const MODEL_CONFIG: &str = "model_config.yaml";

/// The same of one of the `transformers` library.
pub(crate) const CONFIG_JSON: &str = "config.json";

const CLASSES: [&Class; 6] = [
    &gpt2_simple::SIMPLE,
    &llama_simple::MLP,
    &llama_simple::GATED,
    &gpt2_simple::FUSED,
    &hugging_face::GPT2,
    &hugging_face::LLAMA,
];

/// The class that a Python path (`package.module.Class`) ends in.
pub(crate) fn by_path(path: &str) -> Option<&'static Class> {
    let name = path.rsplit('.').next()?;
    CLASSES.into_iter().find(|class| class.name == name || class.older_names.contains(&name))
}

/// The names of all classes, as a message lists them.
pub(crate) fn names() -> String {
    let [names @ .., last] = CLASSES.map(|class| class.name);
    format!("{} and {last}", names.join(", "))
}

/// Keys of `model_config.yaml` that say nothing of the numbers: which of two equal ways attention is computed; whether two
/// tensors are one, which the checkpoint shows; what applies in training only; what other programs note down.
const HARMLESS: [&str; 24] = [
    "flash_attention",
    "tie_word_embeddings",
    "dropout",
    "attention_dropout",
    "attn_pdrop",
    "embd_pdrop",
    "resid_pdrop",
    "hidden_dropout",
    "initializer_range",
    "use_cache",
    "gradient_checkpointing",
    "torch_dtype",
    "dtype",
    "bos_token_id",
    "eos_token_id",
    "pad_token_id",
    "unk_token_id",
    "architectures",
    "transformers_version",
    "tokenizer_name",
    "tokenizer_class",
    "_name_or_path",
    "name",
    "model_id",
];

impl Class {
    /// The target model that `model_config.yaml` describes; the run's config says that it is of this class.
    pub(crate) fn read(&self, file: &Path, bytes: &[u8]) -> Result<Architecture, InputError> {
        self.read_keys(file, &Keys::parse(file, bytes)?)
    }

    /// The same of a description that is part of a file.
    pub(crate) fn read_keys(&self, file: &Path, keys: &Keys<'_>) -> Result<Architecture, InputError> {
        let Some(known) = self.keys else { return self.read_noted(file, keys) };
        let model_type = keys.get("model_type", Yaml::text)?;
        let is_other = |model_type: &String| by_path(model_type).is_none_or(|class| class.name != self.name);
        if let Some(model_type) = model_type.filter(is_other) {
            let problem = format!("is {}, but the run's model class is {}", shortened(&model_type), self.name);
            return Err(InputError::config(file, "model_type", problem));
        }
        if let Some(key) = keys.other_than(&[&["model_type"], known, &HARMLESS]) {
            let problem = format!(
                "is an unknown key, and what it changes in the model is not known either; those of {} are {}",
                self.name,
                known.join(", ")
            );
            return Err(InputError::config(file, key, problem));
        }
        (self.read)(file, keys)
    }

    /// What stands before the names of all its modules but the unembedding.
    pub(crate) fn base(&self) -> &'static str {
        self.modules.embedding.split_inclusive('.').next().filter(|base| base.ends_with('.')).unwrap_or_default()
    }

    /// The same of a class that notes down its name in a list, and keys that it does not know.
    fn read_noted(&self, file: &Path, keys: &Keys<'_>) -> Result<Architecture, InputError> {
        let classes = keys.get("architectures", |list| list.list(Yaml::text))?.unwrap_or_default();
        if !classes.is_empty() && classes.iter().all(|class| class != self.name) {
            let problem = format!("is {}, but the run's model class is {}", shortened(&classes.join(", ")), self.name);
            return Err(InputError::config(file, "architectures", problem));
        }
        (self.read)(file, keys)
    }
}

/// The most any size in a model config may be. Products of two sizes then fit in 64 bits.
const MAX_SIZE: usize = u32::MAX as usize;

/// The most blocks a model may have: far above any real one, and few enough to list.
const MAX_BLOCKS: usize = 10_000;

fn check_sizes(file: &Path, sizes: &[(&str, usize)]) -> Result<(), InputError> {
    match sizes.iter().find(|(_, size)| !(1..=MAX_SIZE).contains(size)) {
        Some((key, size)) => {
            Err(InputError::config(file, *key, format!("is {size}, but must be between 1 and {MAX_SIZE}")))
        }
        None => Ok(()),
    }
}

fn check_blocks(file: &Path, key: &str, n_blocks: usize) -> Result<(), InputError> {
    if n_blocks > MAX_BLOCKS {
        return Err(InputError::config(file, key, format!("is {n_blocks}, but at most {MAX_BLOCKS} are supported")));
    }
    Ok(())
}

fn check_heads(file: &Path, n_layer: usize, n_embd: usize, n_head: usize) -> Result<(), InputError> {
    check_blocks(file, "n_layer", n_layer)?;
    if !n_embd.is_multiple_of(n_head) {
        let problem = format!("is {n_head}, which does not divide n_embd, {n_embd}");
        return Err(InputError::config(file, "n_head", problem));
    }
    Ok(())
}
