//! A set that is compared, and where it comes from.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;
use tributary_graph::{Graph, View};
use tributary_model::{AliveEntries, Layer, Pair, SetAttributions};
use tributary_results::{Manifest, PromptEntry, SetEntry};

use crate::CompareError;

/// A set that is compared: its graph, and what its result says of it.
#[derive(Clone, Debug)]
pub struct ComparedSet {
    label: String,
    result: PathBuf,
    manifest: Arc<Manifest>,
    index: usize,
    view: View,
    graph: Graph,
    originals: BTreeMap<Layer, Arc<AliveEntries>>,
}

impl ComparedSet {
    /// A set of a result. `label` is what it is called beside the others, `result` the folder, and `index` the set's
    /// index in the manifest. Its graph is that of `view`.
    ///
    /// # Panics
    ///
    /// When the manifest has no set of that index.
    pub fn new(
        label: String,
        result: &Path,
        manifest: Arc<Manifest>,
        index: usize,
        set: &SetAttributions<f32>,
        view: View,
    ) -> Self {
        assert!(index < manifest.sets.len(), "the manifest has no set {index}");
        let originals = set.nodes.iter().map(|(&layer, nodes)| (layer, Arc::clone(&nodes.original))).collect();
        Self { label, result: result.to_owned(), manifest, index, view, graph: view.of(set), originals }
    }

    /// What it is called: the set's name, or `RESULT/SET` where several results are compared. For showing; its index
    /// among the compared sets is what tells it apart.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// The folder of its result, as it was given.
    pub fn result(&self) -> &Path {
        &self.result
    }

    /// The manifest of its result.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// What that manifest says of it.
    pub fn entry(&self) -> &SetEntry {
        &self.manifest.sets[self.index]
    }

    /// Its prompt.
    pub fn prompt(&self) -> &PromptEntry {
        &self.manifest.prompts[self.entry().prompt]
    }

    /// The metadata that came with it.
    pub fn metadata(&self) -> Option<&Value> {
        self.entry().metadata.as_ref()
    }

    /// How its attributions are looked at.
    pub fn view(&self) -> View {
        self.view
    }

    /// Its graph, in that view.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// The originally alive entries of every layer.
    pub(crate) fn originals(&self) -> &BTreeMap<Layer, Arc<AliveEntries>> {
        &self.originals
    }

    /// Whether `other` is a graph of the same model on the same tokens, with the same pair table, in the same view: whether
    /// the same entries and edges are the same things in both. The error names both and says what differs.
    pub fn check_comparable(&self, other: &Self) -> Result<(), CompareError> {
        match self.difference(other) {
            None => Ok(()),
            Some(difference) => {
                Err(CompareError::Differ { first: self.label.clone(), second: other.label.clone(), difference })
            }
        }
    }

    fn difference(&self, other: &Self) -> Option<String> {
        let (ours, theirs) = (&self.manifest.run.model, &other.manifest.run.model);
        if ours.fingerprint != theirs.fingerprint {
            return Some(format!(
                "their models have the fingerprints {} and {}; give results of one model",
                ours.fingerprint, theirs.fingerprint
            ));
        }
        if ours != theirs {
            return Some("their manifests describe one model in two ways; compute them again".to_owned());
        }
        let (ours, theirs) = (self.prompt(), other.prompt());
        if ours.tokens != theirs.tokens {
            return Some(format!("{}; give results on one prompt", other_tokens(ours, theirs)));
        }
        // They are numbered in the order they were asked for in.
        let contrasts = |set: &Self| set.manifest.settings.output_targets.contrasts();
        if let Some(at) = contrasts(self).iter().zip(&contrasts(other)).position(|(ours, theirs)| ours != theirs) {
            let name = |set: &Self| {
                let component = u32::try_from(set.manifest.run.model.vocab + at).unwrap_or(u32::MAX);
                set.manifest.output_label(component)
            };
            return Some(format!(
                "difference of logits {at} among their outputs is {:?} in the one and {:?} in the other; compute them with the same, in \
                 one order",
                name(self),
                name(other)
            ));
        }
        if self.view != other.view {
            return Some("their attributions are looked at in two ways; give them one view".to_owned());
        }
        let pairs = |set: &Self| set.graph.pairs.iter().map(|&(pair, _)| pair).collect::<Vec<Pair>>();
        let (ours, theirs) = (pairs(self), pairs(other));
        (ours != theirs).then(|| {
            let index = ours.iter().zip(&theirs).take_while(|(ours, theirs)| ours == theirs).count();
            let name = |pairs: &[Pair]| match pairs.get(index) {
                None => "none".to_owned(),
                Some(pair) => {
                    let crosses = if pair.crosses_positions { ", crossing positions" } else { "" };
                    format!("{} -> {}{crosses}", pair.source, pair.target)
                }
            };
            format!(
                "their pair tables differ: pair {index} is {} in the one and {} in the other; compute them again with one \
                 version of tributary",
                name(&ours),
                name(&theirs)
            )
        })
    }
}

fn other_tokens(ours: &PromptEntry, theirs: &PromptEntry) -> String {
    let position = ours.tokens.iter().zip(&theirs.tokens).take_while(|(ours, theirs)| ours == theirs).count();
    if position == ours.tokens.len().min(theirs.tokens.len()) {
        return format!("their prompts have {} and {} tokens", ours.tokens.len(), theirs.tokens.len());
    }
    let token = |prompt: &PromptEntry| format!("{:?} ({})", prompt.token_strings[position], prompt.tokens[position]);
    format!("token {position} of their prompts is {} in the one and {} in the other", token(ours), token(theirs))
}
