//! What was stored against what was computed again.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde_json::{Value, json};
use tributary_backend::Element;
use tributary_model::{Layer, PairAttribution, Role, SetAttributions};
use tributary_results::{BorderlineEntry, Manifest, PairEntry};

use super::sample::{SampledEdge, StoredSet};
use crate::console;

/// The outcome of a verification.
pub(crate) struct Comparison {
    /// Edges compared, and edges that only one side has.
    edges: usize,
    skipped: usize,
    /// Pairs, counted in every set, of which an edge was compared, and those that have edges.
    pairs: (usize, usize),
    /// The edge that differs most, by the scale of its target.
    largest: Option<Difference>,
    squared_error: f64,
    squared_norm: f64,
    /// Nodes of all sets, and the largest difference of an importance or activation.
    nodes: usize,
    node_values: f64,
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
    /// Absolute difference over the [scale](TargetScales) of the edge's target.
    relative: f64,
}

/// What the differences of the edges to a target entry are measured by: the largest of all attributions to it, from
/// whatever source, and of the activations of all layers that read what its layer reads, as they were computed again.
///
/// An attribution may be nothing but rounding, the difference of terms that are equal: as from a query at the first
/// position, which has one key to attend to, or through a norm from the only thing it normalises. The size of those terms is
/// that of the layer's input, and so is that of activations; but a target's own may be next to nothing, when its
/// direction is at a right angle to the input.
struct TargetScales(BTreeMap<(Layer, usize, usize), f64>);

impl TargetScales {
    fn new<E: Element>(recomputed: &SetAttributions<E>) -> Self {
        let mut largest: BTreeMap<(Option<usize>, Role), f64> = BTreeMap::new();
        for (&layer, nodes) in &recomputed.nodes {
            let largest = largest.entry(reading(layer)).or_insert(0.0);
            *largest = nodes.activation.iter().map(|value| value.to_f64().abs()).fold(*largest, f64::max);
        }
        let mut scales = BTreeMap::new();
        for (&layer, nodes) in &recomputed.nodes {
            let entries = nodes.alive.iter().map(|(position, component)| (layer, position, component));
            scales.extend(entries.map(|entry| (entry, largest[&reading(layer)])));
        }
        for pair in &recomputed.pairs {
            let targets: Vec<(usize, usize)> = pair.target.iter().collect();
            for ((_, row), value) in pair.edges().zip(&pair.values) {
                let (position, component) = targets[row];
                let scale = scales.entry((pair.pair.target, position, component)).or_insert(0.0);
                *scale = scale.max(value.to_f64().abs());
            }
        }
        Self(scales)
    }

    fn relative(&self, layer: Layer, (position, component): (usize, usize), error: f64) -> f64 {
        part_of(error, self.0.get(&(layer, position, component)).copied().unwrap_or(0.0))
    }
}

/// What a layer reads: layers of equal readings read the same input. Queries stand for keys and values.
fn reading(layer: Layer) -> (Option<usize>, Role) {
    let role = match layer.role() {
        Role::Key | Role::Value => Role::Query,
        role => role,
    };
    (layer.block(), role)
}

/// `error` by `scale`; equal numbers are equal by any scale, also by 0.
fn part_of(error: f64, scale: f64) -> f64 {
    if error == 0.0 { 0.0 } else { error / scale }
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
            skipped: 0,
            pairs: (0, 0),
            largest: None,
            squared_error: 0.0,
            squared_norm: 0.0,
            nodes: 0,
            node_values: 0.0,
            other_nodes: Vec::new(),
            borderline: 0,
        };
        for (at, (stored, recomputed)) in stored.iter().zip(recomputed).enumerate() {
            comparison.compare_nodes(manifest, at, stored, recomputed);
            comparison.compare_values(stored, recomputed);
            comparison.compare_edges(manifest, at, stored, recomputed);
        }
        comparison
    }

    /// Who is alive.
    fn compare_nodes<E: Element>(
        &mut self,
        manifest: &Manifest,
        at: usize,
        stored: &StoredSet,
        recomputed: &SetAttributions<E>,
    ) {
        let entry = |entry: BorderlineEntry| (entry.layer, entry.position, entry.component);
        let near = manifest.sets[at].borderline.iter().copied();
        let near: BTreeSet<_> =
            near.chain(recomputed.borderline.iter().map(|&entry| entry.into())).map(entry).collect();
        for (&layer, nodes) in &stored.nodes {
            let (ours, theirs) = (&nodes.alive, &recomputed.nodes[&layer].alive);
            self.nodes += ours.len();
            let only = |one: &tributary_model::AliveEntries, other: &tributary_model::AliveEntries| {
                let missing = one.iter().filter(|&(position, component)| other.row_of(position, component).is_none());
                missing.map(|(position, component)| (layer, position, component)).collect::<Vec<_>>()
            };
            let sides = [(only(ours, theirs), "stored"), (only(theirs, ours), "recomputed")];
            for (entry, side) in
                sides.into_iter().flat_map(|(entries, side)| entries.into_iter().map(move |e| (e, side)))
            {
                if near.contains(&entry) {
                    self.borderline += 1;
                } else {
                    let (layer, position, component) = entry;
                    let name = console::plain(&stored.name);
                    self.other_nodes
                        .push(format!("set {name}: {layer} ({position}, {component}) is alive only as {side}"));
                }
            }
        }
    }

    /// The causal importances or probabilities, and the activations, of nodes that both sides have.
    fn compare_values<E: Element>(&mut self, stored: &StoredSet, recomputed: &SetAttributions<E>) {
        for (layer, nodes) in &stored.nodes {
            let other = &recomputed.nodes[layer];
            let largest = other.activation.iter().map(|value| value.to_f64().abs()).fold(0.0, f64::max);
            let values = nodes.importance.iter().zip(&nodes.activation);
            for ((position, component), (importance, activation)) in nodes.alive.iter().zip(values) {
                let Some(row) = other.alive.row_of(position, component) else { continue };
                let off = |stored: f32, recomputed: E, scale: f64| {
                    part_of((f64::from(stored) - recomputed.to_f64()).abs(), scale)
                };
                // Importances are numbers up to 1; activations are sums whose terms are as large as the largest of a layer.
                let found =
                    [off(*importance, other.importance[row], 1.0), off(*activation, other.activation[row], largest)];
                for relative in found {
                    if relative > self.node_values || relative.is_nan() {
                        self.node_values = relative;
                    }
                }
            }
        }
    }

    fn compare_edges<E: Element>(
        &mut self,
        manifest: &Manifest,
        set: usize,
        stored: &StoredSet,
        recomputed: &SetAttributions<E>,
    ) {
        let pairs: BTreeMap<(Layer, Layer), &PairAttribution<E>> =
            recomputed.pairs.iter().map(|pair| ((pair.pair.source, pair.pair.target), pair)).collect();
        let scales = TargetScales::new(recomputed);
        let mut covered = BTreeSet::new();
        for &edge in &stored.edges {
            let PairEntry { source, target, .. } = manifest.pairs[edge.pair];
            let found =
                pairs.get(&(source, target)).and_then(|pair| Some((pair, pair.edge_of(edge.source, edge.target)?)));
            let Some((pair, at)) = found else {
                // One of its ends is alive on one side alone, which was said of the node.
                self.skipped += 1;
                continue;
            };
            covered.insert(edge.pair);
            let recomputed = pair.values[at].to_f64();
            let error = (recomputed - f64::from(edge.value)).abs();
            self.edges += 1;
            self.squared_error += error * error;
            self.squared_norm += recomputed * recomputed;
            let relative = scales.relative(target, edge.target, error);
            // Not a number where a stored value is none.
            if self.largest.is_none_or(|largest| relative > largest.relative || relative.is_nan()) {
                self.largest = Some(Difference { set, edge, recomputed, relative });
            }
        }
        self.pairs.0 += covered.len();
        self.pairs.1 += manifest.sets[set].pairs.iter().filter(|pair| pair.edges > 0).count();
    }

    /// What differs by more than `tolerance`; nothing when the result passes.
    fn failures(&self, tolerance: f64) -> Vec<&'static str> {
        let exceeds = |value: f64| value > tolerance || value.is_nan();
        let mut failures = Vec::new();
        if !self.other_nodes.is_empty() {
            failures.push("other nodes are alive");
        }
        if exceeds(self.node_values) {
            failures.push("an importance or activation differs");
        }
        if self.largest.is_some_and(|largest| exceeds(largest.relative)) {
            failures.push("an edge differs");
        }
        if self.edges == 0 && self.pairs.1 > 0 {
            failures.push("no edge could be compared");
        }
        failures
    }

    /// Whether nodes are the same and no value differs by more than `tolerance`.
    pub(crate) fn passes(&self, tolerance: f64) -> bool {
        self.failures(tolerance).is_empty()
    }

    /// Relative L2 error over all compared edges.
    fn relative_l2(&self) -> f64 {
        if self.squared_error == 0.0 { 0.0 } else { (self.squared_error / self.squared_norm).sqrt() }
    }

    pub(crate) fn text(&self, manifest: &Manifest, how: &str, tolerance: f64) -> String {
        let run = &manifest.run;
        let (covered, all) = self.pairs;
        let mut text = format!(
            "{} edges, of {covered} of {all} pairs in {} sets, computed by {} on {} {}, {}, and again by {how}\n",
            self.edges,
            manifest.sets.len(),
            run.method,
            run.backend,
            run.device,
            run.dtype
        );
        let _ = match (self.other_nodes.len(), self.borderline) {
            (0, 0) => writeln!(text, "nodes: all {} the same", self.nodes),
            (0, near) => {
                writeln!(text, "nodes: all {} the same, but for {near} within rounding of a threshold", self.nodes)
            }
            (count, _) => writeln!(text, "nodes: {count} differ\n  {}", self.other_nodes[..count.min(10)].join("\n  ")),
        };
        let _ = writeln!(text, "their importances and activations: {:.2e} apart at most", self.node_values);
        if self.skipped > 0 {
            let _ = writeln!(text, "{} more edges belong to nodes that differ", self.skipped);
        }
        if let Some(Difference { set, edge, recomputed, relative }) = self.largest {
            let pair = &manifest.pairs[edge.pair];
            let _ = writeln!(
                text,
                "largest difference of an edge: {relative:.2e} of the largest value at its target, at set {}, {} {:?} -> {} \
                 {:?}: {:e} stored, {recomputed:e} computed again",
                console::plain(&manifest.sets[set].name),
                pair.source,
                edge.source,
                pair.target,
                edge.target,
                edge.value,
            );
        }
        let _ = writeln!(text, "relative L2 error of all compared edges: {:.2e}", self.relative_l2());
        let failures = self.failures(tolerance);
        let _ = if failures.is_empty() {
            writeln!(text, "passed: differences up to {tolerance:e} are allowed")
        } else {
            writeln!(text, "FAILED: {}; differences up to {tolerance:e} are allowed", failures.join(", "))
        };
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
            "failures": self.failures(tolerance),
            "tolerance": tolerance,
            "recomputed_by": how,
            "edges": self.edges,
            "skipped_edges": self.skipped,
            "pairs": self.pairs.0,
            "pairs_with_edges": self.pairs.1,
            "largest_node_difference": self.node_values,
            "largest_difference": largest,
            "relative_l2_error": self.relative_l2(),
            "nodes": self.nodes,
            "differing_nodes": self.other_nodes,
            "borderline_nodes": self.borderline,
        });
        format!("{value}\n")
    }
}
