//! What a manifest says of the model, and how its layers are read back whatever they are called.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tributary_model::{Layer, Role};

use crate::layer_names;

/// The model a result belongs to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(into = "Written", try_from = "Stored")]
pub struct ModelInfo {
    /// The class of the target model, such as `GPT2Simple`.
    pub class: String,
    /// SHA-256 that identifies the weights, in hexadecimal.
    pub fingerprint: String,
    /// Number of blocks.
    pub n_blocks: usize,
    /// Number of tokens in the vocabulary.
    pub vocab: usize,
    /// Number of components of every decomposed layer.
    pub components: BTreeMap<Layer, usize>,
}

impl ModelInfo {
    /// Every layer that has nodes, with its number of components: `wte` with 1 unless the embedding is decomposed, the
    /// decomposed layers, `output` with the vocabulary.
    pub fn node_layers(&self) -> impl Iterator<Item = (Layer, usize)> + '_ {
        let decomposed = self.components.iter().map(|(&layer, &count)| (layer, count));
        // The components of a decomposed embedding take the place of the pseudo-component.
        let is_decomposed = self.components.keys().any(|layer| layer.role() == Role::TokenEmbedding);
        let embedding = (!is_decomposed).then(|| (Layer::wte(), 1));
        embedding.into_iter().chain(decomposed).chain([(Layer::output(), self.vocab)])
    }
}

/// What a layer is, whatever it is called.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct StoredLayer {
    name: String,
    role: String,
    block: Option<usize>,
}

/// As version 2 writes it.
#[derive(Serialize)]
struct Written {
    class: String,
    fingerprint: String,
    n_blocks: usize,
    vocab: usize,
    layers: Vec<StoredLayer>,
    #[serde(serialize_with = "layer_names::keys")]
    components: BTreeMap<Layer, usize>,
}

/// As any version has it.
#[derive(Deserialize)]
struct Stored {
    class: String,
    fingerprint: String,
    n_blocks: usize,
    vocab: usize,
    /// Version 1 has none: its layers have the names of the published classes.
    layers: Option<Vec<StoredLayer>>,
    components: BTreeMap<String, usize>,
}

impl From<ModelInfo> for Written {
    fn from(model: ModelInfo) -> Self {
        let layers = model.node_layers().map(|(layer, _)| StoredLayer::from(layer)).collect();
        let ModelInfo { class, fingerprint, n_blocks, vocab, components } = model;
        Self { class, fingerprint, n_blocks, vocab, layers, components }
    }
}

impl TryFrom<Stored> for ModelInfo {
    type Error = String;

    fn try_from(stored: Stored) -> Result<Self, String> {
        let Stored { class, fingerprint, n_blocks, vocab, layers, components } = stored;
        let mut listed = BTreeMap::new();
        for layer in layers.iter().flatten() {
            if listed.insert(layer.name.as_str(), layer.layer()?).is_some() {
                return Err(format!("model.layers names {:?} twice", layer.name));
            }
        }
        let layer =
            |name: &str| match layers {
                None => name.parse().map_err(|error| format!("model.components: {error}")),
                Some(_) => listed.get(name).copied().filter(|layer| layer.is_linear()).ok_or_else(|| {
                    format!("model.components names {name:?}, which is no linear layer of model.layers")
                }),
            };
        let components = components.iter().map(|(name, &count)| Ok((layer(name)?, count)));
        let components = components.collect::<Result<BTreeMap<_, _>, String>>()?;
        Ok(Self { class, fingerprint, n_blocks, vocab, components })
    }
}

impl From<Layer> for StoredLayer {
    fn from(layer: Layer) -> Self {
        Self { name: layer.path().to_owned(), role: role_name(layer.role()).to_owned(), block: layer.block() }
    }
}

impl StoredLayer {
    fn layer(&self) -> Result<Layer, String> {
        let Self { name, role, block } = self;
        let found = Role::ALL.into_iter().find(|&known| role_name(known) == role);
        let layer = match (found, block) {
            (Some(Role::Embedding), None) => Some(Layer::wte()),
            (Some(Role::Output), None) => Some(Layer::output()),
            (Some(Role::TokenEmbedding), None) => Some(Layer::token_embedding(name)),
            (Some(Role::Unembedding), None) => Some(Layer::unembedding(name)),
            (Some(role), &Some(block)) if role.is_in_block() => Some(Layer::linear(block, role, name)),
            _ => None,
        };
        layer.filter(|layer| layer.path() == name).ok_or_else(|| {
            let roles = Role::ALL.map(role_name).join(", ");
            format!(
                "model.layers has {name:?} with the role {role:?} and the block {block:?}; expected one of the roles {roles}, a \
                 block for layers of blocks, and none for embeddings, unembedding and output"
            )
        })
    }
}

fn role_name(role: Role) -> &'static str {
    match role {
        Role::Embedding => "embedding",
        Role::TokenEmbedding => "token_embedding",
        Role::Query => "query",
        Role::Key => "key",
        Role::Value => "value",
        Role::QueryKeyValue => "query_key_value",
        Role::AttentionOutput => "attention_output",
        Role::MlpGate => "mlp_gate",
        Role::MlpUp => "mlp_up",
        Role::MlpDown => "mlp_down",
        Role::Unembedding => "unembedding",
        Role::Output => "output",
    }
}
