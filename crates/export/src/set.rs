//! What all formats say of a set.

use tributary_graph::{Entry, Graph, View};
use tributary_model::{Faithfulness, Prediction};
use tributary_results::{Manifest, ModelInfo, PromptEntry, SetEntry};

/// A set to be written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Set<'a> {
    pub(crate) manifest: &'a Manifest,
    pub(crate) entry: &'a SetEntry,
    /// As `view` shows it.
    pub(crate) graph: &'a Graph,
    pub(crate) view: View,
    pub(crate) prediction: Option<&'a Prediction<f32>>,
}

impl<'a> Set<'a> {
    pub(crate) fn model(&self) -> &'a ModelInfo {
        &self.manifest.run.model
    }

    pub(crate) fn prompt(&self) -> &'a PromptEntry {
        &self.manifest.prompts[self.entry.prompt]
    }

    /// Number of positions that take part.
    pub(crate) fn positions(&self) -> usize {
        let all = self.prompt().tokens.len();
        self.entry.until.map_or(all, |last| all.min(last + 1))
    }

    /// Whether an entry of the output is a token, and not a difference of two logits.
    pub(crate) fn is_token(&self, entry: Entry) -> bool {
        (entry.component as usize) < self.model().vocab
    }

    /// How faithful its masked model is to the target model, and the numbers by position; `None` where that is not known.
    pub(crate) fn prediction(&self) -> Option<(Faithfulness, &'a Prediction<f32>)> {
        self.entry.prediction.zip(self.prediction)
    }

    /// What the token at an entry's position is decoded to.
    pub(crate) fn position_token(&self, entry: Entry) -> &'a str {
        &self.prompt().texts()[entry.position as usize]
    }

    /// What the token is decoded to that an entry of `output` stands for; `None` for other layers.
    pub(crate) fn output_token(&self, entry: Entry) -> Option<String> {
        (entry.layer.is_output()).then(|| self.manifest.output_text(entry.component))
    }
}

/// A list as JSON text.
pub(crate) fn json_text(list: impl serde::Serialize) -> String {
    serde_json::to_string(&list).unwrap_or_else(|error| unreachable!("lists of plain values are JSON: {error}"))
}
