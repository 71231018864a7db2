//! Colours.

use tributary_model::Role;

pub(crate) const BACKGROUND: &str = "#ffffff";
pub(crate) const BAND: &str = "#f5f6f8";
pub(crate) const LINE: &str = "#e3e6ea";
pub(crate) const INK: &str = "#1b1f24";
pub(crate) const FAINT: &str = "#6a737d";
/// Blue and vermilion stay apart for every common kind of colour blindness.
pub(crate) const POSITIVE: &str = "#2166ac";
pub(crate) const NEGATIVE: &str = "#d6401f";

/// Of what a reader must not overlook.
pub(crate) const WARNING: &str = "#a3165c";

/// Colour of the nodes of a layer. Neither of the edges' colours is among them.
pub(crate) fn node(kind: Role) -> &'static str {
    match kind {
        Role::Embedding | Role::TokenEmbedding => "#7d8590",
        Role::Query => "#e69f00",
        Role::Key => "#8c6d31",
        Role::Value => "#1a9e77",
        Role::QueryKeyValue => "#a6a61d",
        Role::AttentionOutput => "#cc79a7",
        Role::MlpGate => "#1f8a9e",
        Role::MlpUp => "#56b4e9",
        Role::MlpDown => "#6a51a3",
        Role::Unembedding => "#4d5560",
        Role::Output => "#1b1f24",
    }
}
