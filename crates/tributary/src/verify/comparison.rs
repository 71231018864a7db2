//! What was stored against what was computed again.

use std::collections::{BTreeMap, BTreeSet};

use tributary_backend::Element;
use tributary_model::{Layer, PairAttribution, Role, SetAttributions};
use tributary_results::{BorderlineEntry, Manifest, PairEntry};

use crate::sample::{SampledEdge, StoredSet};

/// What was compared, and how far it is apart.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Comparison {
    /// Edges compared.
    pub edges: usize,
    /// Edges that only one side has.
    pub skipped: usize,
    /// Pairs, counted in every set, of which an edge was compared, and those that have edges.
    pub pairs: (usize, usize),
    /// The edge that differs most, by the scale of its target.
    pub largest: Option<Difference>,
    /// The pair that differs most.
    pub largest_pair: Option<PairDifference>,
    squared_error: f64,
    squared_norm: f64,
    /// Nodes of all sets.
    pub nodes: usize,
    /// The largest difference of an importance or activation.
    pub node_values: f64,
    /// Positions of all sets whose predictions were compared; none of a result that has none.
    pub predictions: usize,
    /// The largest difference of a divergence, or of the target model's probability of an output node.
    pub prediction_values: f64,
    /// Nodes that only one side has, though no threshold is near.
    pub other_nodes: Vec<OtherNode>,
    /// Nodes that only one side has, by rounding.
    pub borderline: usize,
}

/// One edge, stored and computed again.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Difference {
    /// Number of its set.
    pub set: usize,
    /// As it is stored.
    pub edge: SampledEdge,
    /// Its value as computed again.
    pub recomputed: f64,
    /// Absolute difference by the largest of all attributions to the edge's target and of the activations of all layers that
    /// read what the target's layer reads.
    pub relative: f64,
}

/// The compared edges of a pair in one set, together.
///
/// One edge may be small beside its target, and wrong altogether, before it differs by a part of what its target is
/// [measured by](Difference::relative). A pair of such edges is measured by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PairDifference {
    /// Number of the set.
    pub set: usize,
    /// Number of the pair.
    pub pair: usize,
    squared_error: f64,
    squared_norm: f64,
    squared_scale: f64,
}

impl PairDifference {
    /// L2 norm of the differences, by the L2 norm of the edges and what rounding leaves where they are next to nothing: a
    /// sixteenth of what single edges are measured by. (Of a tolerance of 1e-5 in f32 that leaves 10 roundings of 2^-24.)
    pub fn relative(&self) -> f64 {
        part_of(self.squared_error.sqrt(), self.squared_norm.sqrt() + self.squared_scale.sqrt() / 16.0)
    }

    fn add(&mut self, error: f64, recomputed: f64, scale: f64) {
        self.squared_error += error * error;
        self.squared_norm += recomputed * recomputed;
        self.squared_scale += scale * scale;
    }
}

/// A node that only one side has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtherNode {
    /// Number of the set.
    pub set: usize,
    /// Its layer.
    pub layer: Layer,
    /// Its position.
    pub position: usize,
    /// Its component.
    pub component: usize,
    /// The side: `stored` or `recomputed`.
    pub side: &'static str,
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
            let largest = largest.entry(layer.reading()).or_insert(0.0);
            *largest = nodes.activation.iter().map(|value| value.to_f64().abs()).fold(*largest, f64::max);
        }
        let mut scales = BTreeMap::new();
        for (&layer, nodes) in &recomputed.nodes {
            let entries = nodes.alive.iter().map(|(position, component)| (layer, position, component));
            scales.extend(entries.map(|entry| (entry, largest[&layer.reading()])));
        }
        for pair in &recomputed.pairs {
            let targets: Vec<(usize, usize)> = pair.target.iter().collect();
            for ((_, row), value) in pair.edges().zip(&pair.values).chain(pair.edges().zip(&pair.stopped)) {
                let (position, component) = targets[row];
                let scale = scales.entry((pair.pair.target, position, component)).or_insert(0.0);
                *scale = scale.max(value.to_f64().abs());
            }
        }
        Self(scales)
    }

    fn of(&self, layer: Layer, (position, component): (usize, usize)) -> f64 {
        self.0.get(&(layer, position, component)).copied().unwrap_or(0.0)
    }
}

/// `error` by `scale`; equal numbers are equal by any scale, also by 0.
fn part_of(error: f64, scale: f64) -> f64 {
    if error == 0.0 { 0.0 } else { error / scale }
}

/// Makes `largest` the larger of both; what is not a number stays.
fn raise(largest: &mut f64, relative: f64) {
    if relative > *largest || relative.is_nan() {
        *largest = relative;
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
            skipped: 0,
            pairs: (0, 0),
            largest: None,
            largest_pair: None,
            squared_error: 0.0,
            squared_norm: 0.0,
            nodes: 0,
            node_values: 0.0,
            predictions: 0,
            prediction_values: 0.0,
            other_nodes: Vec::new(),
            borderline: 0,
        };
        for (at, (stored, recomputed)) in stored.iter().zip(recomputed).enumerate() {
            comparison.compare_nodes(manifest, at, stored, recomputed);
            comparison.compare_values(stored, recomputed);
            comparison.compare_predictions(stored, recomputed);
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
                    self.other_nodes.push(OtherNode { set: at, layer, position, component, side });
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
                    raise(&mut self.node_values, relative);
                }
            }
        }
    }

    /// The divergence at each position, and the target model's probability of each output node that both sides have.
    ///
    /// A divergence is made of differences of logits, and rounded as they are: it is measured by the largest of the output
    /// nodes', of which there may be none, and at least by the logarithm of the vocabulary's size: by so much one of its logits
    /// is above the others where it is likelier than chance. The likeliest tokens are not compared: a tie is broken by rounding.
    fn compare_predictions<E: Element>(&mut self, stored: &StoredSet, recomputed: &SetAttributions<E>) {
        let (Some(ours), Some(theirs)) = (&stored.prediction, &recomputed.prediction) else { return };
        let (nodes, other) = (&stored.nodes[&Layer::output()].alive, &recomputed.nodes[&Layer::output()]);
        let of_chance = (recomputed.output_probs.len() as f64 / ours.kl.len().max(1) as f64).ln().max(1.0);
        let largest = other.activation.iter().map(|logit| logit.to_f64().abs()).fold(of_chance, f64::max);
        let kl = ours.kl.iter().zip(&theirs.kl).map(|(&ours, theirs)| (ours, theirs.to_f64(), largest));
        let probs = nodes.iter().zip(&ours.target_prob).filter_map(|((position, token), &ours)| {
            let row = other.alive.row_of(position, token)?;
            Some((ours, theirs.target_prob[row].to_f64(), 1.0))
        });
        for (stored, recomputed, scale) in kl.chain(probs) {
            raise(&mut self.prediction_values, part_of((f64::from(stored) - recomputed).abs(), scale));
        }
        self.predictions += ours.kl.len();
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
        let mut covered = BTreeMap::<usize, PairDifference>::new();
        for &edge in &stored.edges {
            let PairEntry { source, target, .. } = manifest.pairs[edge.pair];
            let found =
                pairs.get(&(source, target)).and_then(|pair| Some((pair, pair.edge_of(edge.source, edge.target)?)));
            let Some((pair, at)) = found else {
                // One of its ends is alive on one side alone, which was said of the node.
                self.skipped += 1;
                continue;
            };
            let recomputed = if edge.stopped { &pair.stopped } else { &pair.values }[at].to_f64();
            let error = (recomputed - f64::from(edge.value)).abs();
            self.edges += 1;
            self.squared_error += error * error;
            self.squared_norm += recomputed * recomputed;
            let scale = scales.of(target, edge.target);
            let of_pair =
                covered.entry(edge.pair).or_insert(PairDifference { set, pair: edge.pair, ..Default::default() });
            of_pair.add(error, recomputed, scale);
            let relative = part_of(error, scale);
            // Not a number where a stored value is none.
            if self.largest.is_none_or(|largest| relative > largest.relative || relative.is_nan()) {
                self.largest = Some(Difference { set, edge, recomputed, relative });
            }
        }
        self.pairs.0 += covered.len();
        for pair in covered.into_values() {
            let relative = pair.relative();
            if self.largest_pair.is_none_or(|largest| relative > largest.relative() || relative.is_nan()) {
                self.largest_pair = Some(pair);
            }
        }
        self.pairs.1 += manifest.sets[set].pairs.iter().filter(|pair| pair.edges > 0).count();
    }

    /// What differs by more than `tolerance`; nothing when the result passes.
    pub fn failures(&self, tolerance: f64) -> Vec<&'static str> {
        let exceeds = |value: f64| value > tolerance || value.is_nan();
        let mut failures = Vec::new();
        if !self.other_nodes.is_empty() {
            failures.push("other nodes are alive");
        }
        if exceeds(self.node_values) {
            failures.push("an importance or activation differs");
        }
        if exceeds(self.prediction_values) {
            failures.push("a prediction differs");
        }
        if self.largest.is_some_and(|largest| exceeds(largest.relative)) {
            failures.push("an edge differs");
        }
        if self.largest_pair.is_some_and(|pair| exceeds(pair.relative())) {
            failures.push("the edges of a pair differ");
        }
        if self.edges == 0 && self.pairs.1 > 0 {
            failures.push("no edge could be compared");
        }
        failures
    }

    /// Whether nodes are the same and no value differs by more than `tolerance`.
    pub fn passes(&self, tolerance: f64) -> bool {
        self.failures(tolerance).is_empty()
    }

    /// Relative L2 error over all compared edges.
    pub fn relative_l2(&self) -> f64 {
        if self.squared_error == 0.0 { 0.0 } else { (self.squared_error / self.squared_norm).sqrt() }
    }
}
