//! The published classes of target models, each in a file of its own: what its `model_config.yaml` means, and how its modules
//! are called.

mod gpt2_simple;
mod llama_simple_mlp;

use std::path::Path;

use serde::Deserialize;
use tributary_model::Architecture;

use crate::{InputError, yaml};

/// A class of target models.
#[derive(Debug)]
pub(crate) struct Class {
    /// Its name.
    pub(crate) name: &'static str,
    /// Other spellings of the name, of early versions.
    older_names: &'static [&'static str],
    /// Reads `model_config.yaml`.
    read: fn(&Path, &[u8]) -> Result<Architecture, InputError>,
    /// What its modules are called besides the linear layers, which the architecture names.
    pub(crate) modules: Modules,
}

/// Names of modules, as they stand in a checkpoint.
#[derive(Debug)]
pub(crate) struct Modules {
    /// The norm before the attention of block `h.N`.
    pub(crate) attention_norm: &'static str,
    /// The norm before its MLP.
    pub(crate) mlp_norm: &'static str,
    /// Buffers of its attention, which versions that made them persistent saved: the model config determines them.
    pub(crate) attention_buffers: &'static [&'static str],
}

const CLASSES: [&Class; 2] = [&gpt2_simple::CLASS, &llama_simple_mlp::CLASS];

/// The class that a Python path (`package.module.Class`) ends in.
pub(crate) fn by_path(path: &str) -> Option<&'static Class> {
    let name = path.rsplit('.').next()?;
    CLASSES.into_iter().find(|class| class.name == name || class.older_names.contains(&name))
}

/// The names of all classes, as a message lists them.
pub(crate) fn names() -> String {
    CLASSES.map(|class| class.name).join(" and ")
}

#[derive(Debug, Deserialize)]
struct ModelType {
    model_type: Option<String>,
}

impl Class {
    /// The target model that `model_config.yaml` describes; the run's config says that it is of this class.
    pub(crate) fn read(&self, file: &Path, bytes: &[u8]) -> Result<Architecture, InputError> {
        let ModelType { model_type } = yaml::parse(file, bytes)?;
        let is_other = |model_type: &String| by_path(model_type).is_none_or(|class| class.name != self.name);
        if let Some(model_type) = model_type.filter(is_other) {
            let problem = format!("is {model_type:?}, but the run's pretrained_model_class says {}", self.name);
            return Err(InputError::config(file, "model_type", problem));
        }
        (self.read)(file, bytes)
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
