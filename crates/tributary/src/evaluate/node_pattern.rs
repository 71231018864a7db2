//! Nodes, and how somebody names them.

use tributary_model::Layer;

/// Layer, position and component.
pub(super) type Node = (Layer, usize, usize);

/// Nodes by layer, position and component: `LAYER:POSITION:COMPONENT`, where `*` stands for any of them, and in a layer for any
/// part of its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodePattern {
    text: String,
    layer: String,
    position: Option<usize>,
    component: Option<usize>,
}

impl NodePattern {
    /// Reads one; `Err` says what is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        let expected = || "expected LAYER:POSITION:COMPONENT, where * stands for any".to_owned();
        let mut parts = text.rsplitn(3, ':');
        let (Some(component), Some(position), Some(layer)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(expected());
        };
        let number = |text: &str| match text {
            "*" => Ok(None),
            _ if text.bytes().all(|byte| byte.is_ascii_digit()) => text.parse().map(Some).map_err(|_| expected()),
            _ => Err(expected()),
        };
        if layer.is_empty() {
            return Err(expected());
        }
        Ok(Self {
            text: text.to_owned(),
            layer: layer.to_owned(),
            position: number(position)?,
            component: number(component)?,
        })
    }

    /// As it was given.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Name of the layer, position and component, where it says one node.
    pub(super) fn node(&self) -> Option<(&str, usize, usize)> {
        Some((&self.layer, self.position?, self.component?))
    }

    pub(super) fn takes_layer(&self, layer: &str) -> bool {
        matches(&self.layer, layer)
    }

    pub(super) fn takes(&self, (layer, position, component): (&str, usize, usize)) -> bool {
        self.position.is_none_or(|own| own == position)
            && self.component.is_none_or(|own| own == component)
            && self.takes_layer(layer)
    }
}

/// Whether a name is what a pattern says, with `*` for any part of it. What is between two of them may be taken where it comes
/// first: what is left of the name then holds whatever it would hold otherwise.
fn matches(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| name.strip_prefix(first)) else { return false };
    let Some(last) = parts.next_back() else { return rest.is_empty() };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_is_any_part_of_a_name() {
        for (pattern, name, expected) in [
            ("h.0.mlp.up", "h.0.mlp.up", true),
            ("h.0.mlp.up", "h.0.mlp.up2", false),
            ("h.*.mlp.up", "h.12.mlp.up", true),
            ("*", "h.0", true),
            ("**", "", true),
            ("*.up", "h.0.mlp.down", false),
            ("h.*.*_proj", "h.1.attn.q_proj", true),
            ("a*a", "a", false),
            ("a*ab", "aab", true),
            ("a*ba*b", "abab", true),
            ("a*ba*b", "ab", false),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
        // Tried one after the other, the ways to share a name out among so many would take for ever.
        assert!(!matches(&"*a".repeat(60), &"a".repeat(59)));
    }
}
