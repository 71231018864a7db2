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

/// Colours of lines, apart for common kinds of colour blindness.
const APART: [&str; 8] = ["#2166ac", "#d6401f", "#1a9e77", "#e69f00", "#6a51a3", "#56b4e9", "#cc79a7", "#8c6d31"];

/// From violet over green to yellow, each lighter than the one before: for more than those.
const RAMP: [&str; 16] = [
    "#440154", "#481a6c", "#472f7d", "#414487", "#39568c", "#31688e", "#2a788e", "#23888e", "#1f988b", "#22a884",
    "#35b779", "#54c568", "#7ad151", "#a5db36", "#c8d72c", "#dcc520",
];

/// Colour of the lines of one kind among so many.
pub(crate) fn line(kind: usize, kinds: usize) -> &'static str {
    if kinds <= APART.len() { APART[kind % APART.len()] } else { RAMP[(kind % kinds) * (RAMP.len() - 1) / (kinds - 1)] }
}
