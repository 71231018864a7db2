//! Causal-importance sets and the batches they are stacked into.

use std::collections::BTreeMap;

use crate::{CausalImportances, Layer};

/// One set of causal importances: which components are alive where on one prompt, and how much of each is kept.
#[derive(Clone, Debug, PartialEq)]
pub struct CiSet {
    /// Name of the set: any text, unique among the sets of a run.
    pub name: String,
    /// The prompt it belongs to.
    pub prompt: Prompt,
    /// Causal importances of every decomposed layer.
    pub layers: BTreeMap<Layer, CausalImportances>,
}

/// A prompt as text and as tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prompt {
    /// The text.
    pub text: String,
    /// Token ids, one per position.
    pub tokens: Vec<u32>,
    /// Token strings, one per position, as the tokenizer's vocabulary spells them.
    pub token_strings: Vec<String>,
}
