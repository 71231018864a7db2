//! What was stored against what was computed again.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde_json::{Value, json};
use tributary_backend::Element;
use tributary_engine::{Layer, LayerNodes, SetAttributions};
use tributary_results::{BorderlineEntry, Manifest, PairEntry};

use super::sample::{SampledEdge, StoredSet};
use crate::console;

/// The outcome of a verification.
pub(crate) struct Comparison {
    /// Edges compared.
    edges: usize,
    /// The edge that differs most, as a part of the size of its pair.
    largest: Option<Difference>,
    squared_error: f64,
    squared_norm: f64,
    /// Nodes of all sets.
    nodes: usize,
    /// Nodes that only one side has, though no threshold is near.
    other_nodes: Vec<String>,
    /// Nodes that only one side has, by rounding.
    borderline: usize,
}

/// One edge, stored and computed again.
#[derive(Clone, Copy, Debug)]
struct Difference {
    set: usize,
    edge: SampledEdge,
    recomputed: f64,
    /// Absolute difference over the [scale](Scales) of the edge's pair.
    relative: f64,
}

/// What the differences of each pair of a set are measured by: the pair's largest absolute attribution, and at least the
/// target's largest activation and a tenth of the largest attribution of all pairs to the target. A pair may be nothing but
/// rounding, the difference of terms of that size that are equal: as from a query at the first position, which has one key
/// to attend to, or through a norm from the only thing it normalises.
struct Scales(Vec<f64>);

impl Scales {
    fn new(manifest: &Manifest, set: usize, nodes: &BTreeMap<Layer, LayerNodes<f32>>) -> Self {
        let largest = |pair: usize| manifest.sets[set].pairs[pair].largest.map_or(0.0, f64::from);
        let activation = |nodes: &LayerNodes<f32>| -> f64 {
            f64::from(nodes.activation.iter().fold(0.0_f32, |a, b| a.max(b.abs())))
        };
        let mut of_target: BTreeMap<Layer, f64> = BTreeMap::new();
        for (at, pair) in manifest.pairs.iter().enumerate() {
            let of_target = of_target.entry(pair.target).or_default();
            *of_target = of_target.max(largest(at));
        }
        let scale = |(at, pair): (usize, &PairEntry)| {
            largest(at).max(0.1 * of_target[&pair.target]).max(activation(&nodes[&pair.target]))
        };
        Self(manifest.pairs.iter().enumerate().map(scale).collect())
    }
}

impl Comparison {
    /// `stored` and `recomputed` are in the order of the manifest's sets.
    pub(crate) fn new<E: Element>(
        manifest: &Manifest,
        stored: &[StoredSet],
        recomputed: &[SetAttributions<E>],
    ) -> Self {
        let mut comparison = Self {
            edges: 0,
            largest: None,
            squared_error: 0.0,
            squared_norm: 0.0,
            nodes: 0,
            other_nodes: Vec::new(),
            borderline: 0,
        };
        for (at, (stored, recomputed)) in stored.iter().zip(recomputed).enumerate() {
            let undecided = comparison.compare_nodes(manifest, at, stored, recomputed);
            comparison.compare_edges(manifest, at, stored, recomputed, &undecided);
        }
        comparison
    }

    /// Gives the entries that only one side has, by rounding.
    fn compare_nodes<E: Element>(
        &mut self,
        manifest: &Manifest,
        at: usize,
        stored: &StoredSet,
        recomputed: &SetAttributions<E>,
    ) -> BTreeSet<(Layer, usize, usize)> {
        let entry = |entry: BorderlineEntry| (entry.layer, entry.position, entry.component);
        let near = manifest.sets[at].borderline.iter().copied();
        let near: BTreeSet<_> =
            near.chain(recomputed.borderline.iter().map(|&entry| entry.into())).map(entry).collect();
        let mut undecided = BTreeSet::new();
        for (&layer, nodes) in &stored.nodes {
            let (ours, theirs) = (&nodes.alive, &recomputed.nodes[&layer].alive);
            self.nodes += ours.len();
            let only = |one: &tributary_engine::AliveEntries, other: &tributary_engine::AliveEntries| {
                let missing = one.iter().filter(|&(position, component)| other.row_of(position, component).is_none());
                missing.map(|(position, component)| (layer, position, component)).collect::<Vec<_>>()
            };
            let sides = [(only(ours, theirs), "stored"), (only(theirs, ours), "recomputed")];
            for (entry, side) in
                sides.into_iter().flat_map(|(entries, side)| entries.into_iter().map(move |e| (e, side)))
            {
                if near.contains(&entry) {
                    undecided.insert(entry);
                } else {
                    let (layer, position, component) = entry;
                    let name = console::plain(&stored.name);
                    self.other_nodes
                        .push(format!("set {name}: {layer} ({position}, {component}) is alive only as {side}"));
                }
            }
        }
        self.borderline += undecided.len();
        undecided
    }

    fn compare_edges<E: Element>(
        &mut self,
        manifest: &Manifest,
        set: usize,
        stored: &StoredSet,
        recomputed: &SetAttributions<E>,
        undecided: &BTreeSet<(Layer, usize, usize)>,
    ) {
        let Scales(scales) = Scales::new(manifest, set, &stored.nodes);
        for &edge in &stored.edges {
            let pair = &recomputed.pairs[edge.pair];
            let Some(at) = pair.edge_of(edge.source, edge.target) else {
                let entry = |layer, (position, component)| (layer, position, component);
                let ends = [entry(pair.pair.source, edge.source), entry(pair.pair.target, edge.target)];
                debug_assert!(ends.iter().any(|end| undecided.contains(end)) || !self.other_nodes.is_empty());
                continue;
            };
            let recomputed = pair.values[at].to_f64();
            let error = (recomputed - f64::from(edge.value)).abs();
            self.edges += 1;
            self.squared_error += error * error;
            self.squared_norm += recomputed * recomputed;
            let relative = if error == 0.0 { 0.0 } else { error / scales[edge.pair] };
            // Not a number where a stored value is none.
            if self.largest.is_none_or(|largest| relative > largest.relative || relative.is_nan()) {
                self.largest = Some(Difference { set, edge, recomputed, relative });
            }
        }
    }

    /// Whether nodes are the same and neither one edge nor all together differ by more than `tolerance`.
    pub(crate) fn passes(&self, tolerance: f64) -> bool {
        self.other_nodes.is_empty()
            && self.relative_l2() <= tolerance
            && self.largest.is_none_or(|largest| largest.relative <= tolerance)
    }

    /// Relative L2 error over all compared edges.
    fn relative_l2(&self) -> f64 {
        if self.squared_error == 0.0 { 0.0 } else { (self.squared_error / self.squared_norm).sqrt() }
    }

    pub(crate) fn text(&self, manifest: &Manifest, how: &str, tolerance: f64) -> String {
        let run = &manifest.run;
        let mut text = format!(
            "{} edges computed by {} on {} {}, {}, computed again by {how}\n",
            self.edges, run.method, run.backend, run.device, run.dtype
        );
        let _ = match (self.other_nodes.len(), self.borderline) {
            (0, 0) => writeln!(text, "nodes: all {} the same", self.nodes),
            (0, near) => {
                writeln!(text, "nodes: all {} the same, but for {near} within rounding of a threshold", self.nodes)
            }
            (count, _) => writeln!(text, "nodes: {count} differ\n  {}", self.other_nodes[..count.min(10)].join("\n  ")),
        };
        if let Some(Difference { set, edge, recomputed, relative }) = self.largest {
            let pair = &manifest.pairs[edge.pair];
            let _ = writeln!(
                text,
                "largest difference: {relative:.2e} of the largest value of its pair, at set {}, {} {:?} -> {} {:?}: \
                 {:e} stored, {recomputed:e} computed again",
                console::plain(&manifest.sets[set].name),
                pair.source,
                edge.source,
                pair.target,
                edge.target,
                edge.value,
            );
        }
        let _ = writeln!(text, "relative L2 error of all compared edges: {:.2e}", self.relative_l2());
        let outcome = if self.passes(tolerance) { "passed" } else { "FAILED" };
        let _ = writeln!(text, "{outcome}: a difference of {tolerance:e} is allowed");
        text
    }

    pub(crate) fn json(&self, manifest: &Manifest, how: &str, tolerance: f64) -> String {
        let largest = self.largest.map(|Difference { set, edge, recomputed, relative }| {
            let pair = &manifest.pairs[edge.pair];
            json!({
                "set": manifest.sets[set].name,
                "source": pair.source.to_string(),
                "source_entry": edge.source,
                "target": pair.target.to_string(),
                "target_entry": edge.target,
                "stored": edge.value,
                "recomputed": recomputed,
                "relative": relative,
            })
        });
        let value: Value = json!({
            "passed": self.passes(tolerance),
            "tolerance": tolerance,
            "recomputed_by": how,
            "edges": self.edges,
            "largest_difference": largest,
            "relative_l2_error": self.relative_l2(),
            "nodes": self.nodes,
            "differing_nodes": self.other_nodes,
            "borderline_nodes": self.borderline,
        });
        format!("{value}\n")
    }
}
