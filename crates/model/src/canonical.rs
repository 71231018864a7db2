//! Layers as the published app calls them in every model: `embed`, `2.attn.q`, `0.mlp.up`, `output`.

use std::collections::BTreeMap;

use crate::{Layer, Role};

/// What the app calls a role, within the block where it stands in one. The first name is the usual one, a second that of
/// [`is_second`] models; others are read alone.
const NAMES: [(Role, &[&str]); 10] = [
    (Role::Embedding, &["embed"]),
    (Role::Query, &["attn.q"]),
    (Role::Key, &["attn.k"]),
    (Role::Value, &["attn.v"]),
    (Role::QueryKeyValue, &["attn_fused.qkv"]),
    (Role::AttentionOutput, &["attn.o", "attn_fused.o"]),
    (Role::MlpGate, &["glu.gate", "mlp.gate"]),
    (Role::MlpUp, &["mlp.up", "glu.up"]),
    (Role::MlpDown, &["mlp.down", "glu.down"]),
    (Role::Output, &["output"]),
];

/// Whether layers of a role have their second name in a model of these layers: behind a fused attention, or in a gated MLP.
fn is_second(role: Role, layers: &[Layer]) -> bool {
    let has = |role| layers.iter().any(|layer| layer.role() == role);
    match role {
        Role::AttentionOutput => has(Role::QueryKeyValue),
        Role::MlpUp | Role::MlpDown => has(Role::MlpGate),
        _ => false,
    }
}

/// The names that the app knows a role by.
fn names(role: Role) -> &'static [&'static str] {
    NAMES.iter().find(|(of, _)| *of == role).map_or(&[], |(_, names)| names)
}

/// The canonical name of each of a model's `layers`: `embed`, `{block}.attn.{q,k,v,o}`, `{block}.attn_fused.{qkv,o}`,
/// `{block}.mlp.{up,down}`, `{block}.glu.{gate,up,down}` or `output`.
///
/// Embeddings and unembeddings that are decomposed keep their path: the app has no name for them that is not taken. Whether
/// an attention is fused and an MLP gated is seen from the layers that are there.
pub fn canonical_names(layers: &[Layer]) -> BTreeMap<Layer, String> {
    let name = |&layer: &Layer| {
        let name = match (names(layer.role()), layer.block()) {
            ([], _) => layer.path().to_owned(),
            (known, None) => known[0].to_owned(),
            (known, Some(block)) => format!("{block}.{}", known[usize::from(is_second(layer.role(), layers))]),
        };
        (layer, name)
    };
    layers.iter().map(name).collect()
}

impl Layer {
    /// Whether `name` is a [canonical name](canonical_names) of this layer, in a model of whatever other layers.
    pub fn is_canonically(self, name: &str) -> bool {
        let within = match self.block() {
            None => Some(name),
            // Not parsed: `00.attn.q` would be a second name.
            Some(block) => name.split_once('.').and_then(|(found, rest)| (found == block.to_string()).then_some(rest)),
        };
        within.is_some_and(|name| names(self.role()).contains(&name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{gated_blocks, published_blocks};

    fn named(layers: &[Layer]) -> Vec<String> {
        let names = canonical_names(layers);
        for (layer, name) in &names {
            let called: Vec<_> = layers.iter().filter(|layer| layer.is_canonically(name)).collect();
            let expected: &[&Layer] =
                if name == layer.path() && layer.block().is_none() && layer.is_linear() { &[] } else { &[layer] };
            assert_eq!(called, expected, "{name}");
        }
        names.into_values().collect()
    }

    #[test]
    fn names_are_those_of_the_app_and_read_back() {
        let mut layers = vec![Layer::wte(), Layer::output()];
        layers.extend(published_blocks(2));
        let of_block = |block: usize, names: &str| -> Vec<String> {
            names.split(' ').map(|name| format!("{block}.{name}")).collect()
        };
        let plain = "attn.q attn.k attn.v attn.o mlp.up mlp.down";
        let expected = [vec!["embed".to_owned()], of_block(0, plain), of_block(1, plain), vec!["output".to_owned()]];
        assert_eq!(named(&layers), expected.concat());
        let gated = "attn.q attn.k attn.v attn.o glu.gate glu.up glu.down";
        assert_eq!(named(&gated_blocks(1)), of_block(0, gated));
        let fused = [
            (Role::QueryKeyValue, "attn.c_attn"),
            (Role::AttentionOutput, "attn.c_proj"),
            (Role::MlpUp, "mlp.c_fc"),
            (Role::MlpDown, "mlp.c_proj"),
        ];
        let fused = fused.map(|(role, module)| Layer::linear(3, role, &format!("h_torch.3.{module}")));
        assert_eq!(named(&fused), of_block(3, "attn_fused.qkv attn_fused.o mlp.up mlp.down"));
        let decomposed = [Layer::token_embedding("wte"), Layer::unembedding("lm_head"), Layer::output()];
        assert_eq!(named(&decomposed), ["wte", "lm_head", "output"]);
    }

    #[test]
    fn no_layer_is_called_what_another_is() {
        let q = published_blocks(2)[6];
        for name in ["attn.q", "0.attn.q", "01.attn.q", "+1.attn.q", "1.attn.k", "1.attn.q.", "1.mlp.q", "output", ""] {
            assert!(!q.is_canonically(name), "{name}");
        }
        assert!(!Layer::output().is_canonically("0.output"));
    }
}
