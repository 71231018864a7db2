//! The consensus as a result folder.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};
use tributary_graph::View;
use tributary_model::{AliveEntries, Layer, LayerNodes, PairAttribution, Prompt, Role, SetAttributions};
use tributary_results::{Kind, Manifest, ResultWriter, RunInfo, Settings, Timings};

use crate::alignment::Alignment;
use crate::{CompareError, ComparedSet, Consensus, ConsensusEdge, ConsensusNode};

/// What the manifest of a consensus names as its method: nothing in it was computed from a model.
pub const CONSENSUS_METHOD: &str = "consensus";

/// The sets of a consensus folder, which have the same nodes and edges and differ in what they say of each edge, each with
/// what that is: the mean, the standard deviation, the sign agreement, and the number of sets that have it. All are 0 where
/// the consensus has no edge.
pub const CONSENSUS_SETS: [(&str, &str); 4] = [
    ("consensus", "mean"),
    ("consensus_std", "std"),
    ("consensus_sign_agreement", "sign_agreement"),
    ("consensus_sets", "sets"),
];

impl Consensus {
    /// Whether a result can hold a consensus of sets in this view.
    ///
    /// # Errors
    ///
    /// When attributions are not as they were computed.
    pub fn check_view(view: View) -> Result<(), CompareError> {
        view.described().map_or(Ok(()), |view| Err(CompareError::Viewed { view }))
    }

    /// Writes the consensus to the folder `out` as [`CONSENSUS_SETS`]: results that every reader of results reads, in
    /// float32. `alignment` is the one it was made from. Results that are in the folder are refused unless `force`.
    ///
    /// Nodes have the means of their causal importance, probability and activation over the sets that have them; a mean
    /// that there is none of is NaN. Originally alive is what is so in any set.
    ///
    /// # Errors
    ///
    /// As [`check_view`](Self::check_view), when attributions of some sets are evaluated otherwise than those of others, or when the
    /// folder cannot be written.
    pub fn write(&self, alignment: &Alignment<'_>, out: &Path, force: bool) -> Result<Manifest, CompareError> {
        let sets = alignment.sets;
        let first = &sets[0];
        Self::check_view(first.view())?;
        let definition = |set: &ComparedSet| set.manifest().settings.definition();
        if let Some(other) = sets.iter().find(|set| definition(set) != definition(first)) {
            return Err(CompareError::TwoDefinitions {
                first: first.label().to_owned(),
                second: other.label().to_owned(),
            });
        }
        let mut writer = ResultWriter::create(out, force, settings(sets))?;
        let (nodes, rows) = self.layer_nodes(alignment);
        let prompt = first.prompt();
        let prompt = Prompt {
            text: prompt.text.clone(),
            tokens: prompt.tokens.clone(),
            token_strings: prompt.token_strings.clone(),
        };
        let values: [fn(&ConsensusEdge) -> f64; CONSENSUS_SETS.len()] =
            [|edge| edge.mean, |edge| edge.std, |edge| edge.sign_agreement, |edge| edge.sets as f64];
        for (index, (&(name, value), value_of)) in CONSENSUS_SETS.iter().zip(values).enumerate() {
            let pairs = self.pair_values(alignment, &nodes, &rows, value_of);
            let set = SetAttributions::new(name.to_owned(), nodes.clone(), pairs);
            writer.write_set(index, &set, &prompt, Some(self.metadata(alignment, value)))?;
        }
        writer.name_output_tokens(|token| output_token(sets, token));
        writer.decode_tokens(|_| first.prompt().token_texts.clone(), |token| output_text(sets, token));
        let run = RunInfo {
            kind: Kind::Consensus,
            model: first.manifest().run.model.clone(),
            inputs: None,
            backend: "compare".to_owned(),
            device: "cpu".to_owned(),
            dtype: "f64".to_owned(),
            method: CONSENSUS_METHOD.to_owned(),
            deltas: BTreeMap::new(),
            timings: Timings::default(),
        };
        Ok(writer.finish(run)?)
    }

    /// What a set of the folder is: what of, and by which rule.
    fn metadata(&self, alignment: &Alignment<'_>, value: &str) -> Value {
        let of = alignment.sets.iter().map(|set| {
            // As the manifest of a result has the paths of its inputs.
            let result = std::path::absolute(set.result()).unwrap_or_else(|_| set.result().to_owned());
            json!({ "result": result.to_string_lossy(), "set": set.entry().name, "sha256": set.entry().sha256 })
        });
        let of: Vec<Value> = of.collect();
        json!({ "consensus": { "value": value, "k": self.k, "min_edge": alignment.min_edge, "of": of } })
    }

    /// The nodes of every layer, and the row of each node in its layer.
    fn layer_nodes(&self, alignment: &Alignment<'_>) -> (BTreeMap<Layer, LayerNodes<f32>>, Vec<usize>) {
        let positions = alignment.sets[0].prompt().tokens.len();
        let mut rows = Vec::with_capacity(self.nodes.len());
        let nodes = alignment.layers.iter().map(|&layer| {
            let start = self.nodes.partition_point(|node| node.node.layer < layer);
            let end = self.nodes.partition_point(|node| node.node.layer <= layer);
            let nodes = &self.nodes[start..end];
            rows.extend(0..nodes.len());
            let entries: Vec<[u32; 2]> = nodes.iter().map(|node| [node.node.position, node.node.component]).collect();
            let mean = |value: fn(&ConsensusNode) -> Option<f64>| {
                nodes.iter().map(|node| value(node).map_or(f32::NAN, |mean| mean as f32)).collect::<Vec<f32>>()
            };
            let (importance, activation) = match layer.role() {
                Role::Embedding => (Vec::new(), Vec::new()),
                Role::Output => (mean(|node| node.probability), mean(|node| node.activation)),
                _ => (mean(|node| node.ci), mean(|node| node.activation)),
            };
            let alive = Arc::new(ascending_entries(positions, &entries));
            let original = Arc::new(union_of_originals(alignment.sets, layer, positions));
            (layer, LayerNodes { alive, original, importance, activation })
        });
        let nodes = nodes.collect();
        (nodes, rows)
    }

    /// The value of every edge that the nodes allow.
    fn pair_values(
        &self,
        alignment: &Alignment<'_>,
        nodes: &BTreeMap<Layer, LayerNodes<f32>>,
        rows: &[usize],
        value: fn(&ConsensusEdge) -> f64,
    ) -> Vec<PairAttribution<f32>> {
        let pair_values = |(&pair, range): (_, &std::ops::Range<usize>)| {
            let tributary_model::Pair { source, target, .. } = pair;
            let mut attribution = PairAttribution::between(pair, nodes);
            // Both are in the same order, and what the consensus has the nodes allow.
            let mut edges = self.edges[range.clone()].iter().peekable();
            let values = attribution.edges().map(|at| {
                let edge = edges.next_if(|edge| (rows[edge.source as usize], rows[edge.target as usize]) == at);
                edge.map_or(0.0, |edge| value(edge) as f32)
            });
            let values: Vec<f32> = values.collect();
            assert!(edges.peek().is_none(), "edges of {source} -> {target} that its nodes do not allow");
            attribution.values = values;
            attribution
        };
        alignment.pairs.iter().zip(&self.pairs).map(pair_values).collect()
    }
}

/// # Panics
///
/// When they do not ascend or lie outside the prompt.
fn ascending_entries(positions: usize, entries: &[[u32; 2]]) -> AliveEntries {
    AliveEntries::from_rows(positions, entries).expect("entries of aligned sets ascend within their prompt")
}

fn union_of_originals(sets: &[ComparedSet], layer: Layer, positions: usize) -> AliveEntries {
    let originals = sets.iter().filter_map(|set| set.originals().get(&layer));
    let mut entries: Vec<[u32; 2]> = originals
        .flat_map(|entries| entries.iter().map(|(position, component)| [position as u32, component as u32]))
        .collect();
    entries.sort_unstable();
    entries.dedup();
    ascending_entries(positions, &entries)
}

/// Thresholds that all nodes reach: a mean of values is no less than the least of their thresholds.
fn settings(sets: &[ComparedSet]) -> Settings {
    let all = || sets.iter().map(|set| &set.manifest().settings);
    let first = &sets[0].manifest().settings;
    Settings {
        ci_threshold: all().map(|settings| settings.ci_threshold).fold(f64::INFINITY, f64::min),
        output_prob_threshold: all().map(|settings| settings.output_prob_threshold).fold(f64::INFINITY, f64::min),
        method: CONSENSUS_METHOD.to_owned(),
        output_probs: false,
        threads: None,
        implied_index: all().all(|settings| settings.implied_index),
        allow_tf32: all().any(|settings| settings.allow_tf32),
        ghosts: all().any(|settings| settings.ghosts),
        output_top: if all().all(|settings| settings.output_top == first.output_top) { first.output_top } else { None },
        // Of the sets that are compared, the contrasts of one are the first of another's.
        output_targets: all()
            .map(|settings| &settings.output_targets)
            .max_by_key(|targets| targets.contrasts().len())
            .cloned()
            .unwrap_or_default(),
        forward: first.forward,
        // The second of two values has no part in it.
        delta: first.definition().1,
    }
}

/// The string of an output token where any of the results knows it, else empty.
fn output_token(sets: &[ComparedSet], token: u32) -> String {
    let known = sets.iter().find_map(|set| set.manifest().output_tokens.get(&token));
    known.cloned().unwrap_or_default()
}

/// What a token is decoded to in any of the sets' results; its spelling where none knows another.
fn output_text(sets: &[ComparedSet], token: u32) -> String {
    let known = sets.iter().find_map(|set| set.manifest().output_token_texts.get(&token));
    known.cloned().unwrap_or_else(|| output_token(sets, token))
}
