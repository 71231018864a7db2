//! Layers as the published classes `GPT2Simple`, `LlamaSimpleMLP` and `LlamaSimple` call them: `h.N.attn.q_proj`,
//! `h.N.mlp.c_fc`, ...

use std::str::FromStr;

use crate::{Layer, LinearLayer, Role};

/// Modules of a block, by role.
const MODULES: [(Role, &str); 6] = [
    (Role::Query, "attn.q_proj"),
    (Role::Key, "attn.k_proj"),
    (Role::Value, "attn.v_proj"),
    (Role::AttentionOutput, "attn.o_proj"),
    (Role::MlpUp, "mlp.c_fc"),
    (Role::MlpDown, "mlp.down_proj"),
];

/// Those of a gated MLP.
const GATED: [(Role, &str); 3] =
    [(Role::MlpGate, "mlp.gate_proj"), (Role::MlpUp, "mlp.up_proj"), (Role::MlpDown, "mlp.down_proj")];

impl Layer {
    /// The layer of block `block` with this role, by its published name.
    ///
    /// # Panics
    ///
    /// When the published classes have no such layer.
    pub fn published(block: usize, role: Role) -> Self {
        let module = MODULES.iter().find(|(of, _)| *of == role);
        let (_, module) = module.unwrap_or_else(|| panic!("a published block has no layer {role:?}"));
        Self::linear(block, role, &format!("h.{block}.{module}"))
    }
}

/// The linear layers of `n_blocks` published blocks in the order data flows.
pub fn published_blocks(n_blocks: usize) -> Vec<Layer> {
    blocks(n_blocks, &MODULES)
}

/// The same with a gated MLP.
pub fn gated_blocks(n_blocks: usize) -> Vec<Layer> {
    blocks(n_blocks, &[&MODULES[..4], &GATED].concat())
}

fn blocks(n_blocks: usize, modules: &[(Role, &str)]) -> Vec<Layer> {
    let of_block =
        |block| modules.iter().map(move |&(role, module)| Layer::linear(block, role, &format!("h.{block}.{module}")));
    (0..n_blocks).flat_map(of_block).collect()
}

/// Which linear layers have biases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Biases {
    /// Those of attentions: q, k, v and o.
    pub attention: bool,
    /// Those of MLPs.
    pub mlp: bool,
}

/// The linear layers of a published class in the order data flows: `kv` is the width of keys and values.
pub fn published_layers(n_blocks: usize, d_model: usize, kv: usize, d_mlp: usize, biases: Biases) -> Vec<LinearLayer> {
    with_widths(published_blocks(n_blocks), [d_model, d_model, kv, d_mlp], biases)
}

/// `layers` with the widths that follow from their roles: `q`, `kv` and `d_mlp` are those of queries, of keys and values, and of
/// the hidden layer of the MLP.
pub fn with_widths(layers: Vec<Layer>, [d_model, q, kv, d_mlp]: [usize; 4], biases: Biases) -> Vec<LinearLayer> {
    let of_role = |role| match role {
        Role::Query => (d_model, q, biases.attention),
        Role::Key | Role::Value => (d_model, kv, biases.attention),
        Role::QueryKeyValue => (d_model, q + 2 * kv, biases.attention),
        Role::AttentionOutput => (q, d_model, biases.attention),
        Role::MlpGate | Role::MlpUp => (d_model, d_mlp, biases.mlp),
        Role::MlpDown => (d_mlp, d_model, biases.mlp),
        Role::Embedding | Role::TokenEmbedding | Role::Unembedding | Role::Output => {
            unreachable!("{role:?} stands in no block")
        }
    };
    let linear = |layer: Layer| {
        let (d_in, d_out, has_bias) = of_role(layer.role());
        LinearLayer { layer, d_in, d_out, has_bias }
    };
    layers.into_iter().map(linear).collect()
}

/// A text that names no layer of a published class.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a layer; layers are wte, output and h.N.MODULE with MODULE one of attn.q_proj, attn.k_proj, attn.v_proj, attn.o_proj, mlp.c_fc, mlp.down_proj"
)]
pub struct UnknownLayer(pub String);

impl FromStr for Layer {
    type Err = UnknownLayer;

    /// The layer with this published name.
    fn from_str(text: &str) -> Result<Self, UnknownLayer> {
        let linear = || {
            let (block, module) = text.strip_prefix("h.")?.split_once('.')?;
            let (role, _) = MODULES.iter().find(|(_, of)| *of == module)?;
            let number: usize = block.parse().ok()?;
            // Printing it back rejects spellings such as `h.+1.` and `h.01.`, which would be second names of one layer.
            (number.to_string() == block).then(|| Self::published(number, *role))
        };
        let layer = match text {
            "wte" => Some(Self::wte()),
            "output" => Some(Self::output()),
            _ => linear(),
        };
        layer.ok_or_else(|| UnknownLayer(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back_and_no_layer_has_two_names() {
        for text in ["wte", "output", "h.0.attn.q_proj", "h.12.mlp.down_proj"] {
            assert_eq!(text.parse::<Layer>().unwrap().to_string(), text);
        }
        for text in
            ["", "h.0", "h.01.mlp.c_fc", "h.+1.mlp.c_fc", "h.-1.mlp.c_fc", "h.0.mlp.up", "Wte", "h.0.attn.q_proj "]
        {
            assert_eq!(text.parse::<Layer>(), Err(UnknownLayer(text.to_owned())));
        }
    }
}
