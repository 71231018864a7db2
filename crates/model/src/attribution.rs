//! What the engine gives: each set's alive entries and the attributions between them.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use crate::{AliveEntries, CausalImportances, Layer, Pair, Thresholds};

/// The attribution graph of one CI set.
#[derive(Clone, Debug, PartialEq)]
pub struct SetAttributions<E> {
    /// Name of the set.
    pub name: String,
    /// The last position that takes part, where it is not the prompt's.
    pub until: Option<usize>,
    /// Nodes of every layer that has any: `wte`, the decomposed layers, `output`.
    pub nodes: BTreeMap<Layer, LayerNodes<E>>,
    /// Attributions of every pair of the pair table, in its order; pairs without entries are there too.
    pub pairs: Vec<PairAttribution<E>>,
    /// Softmax of the logits of the masked forward pass, `[positions, vocab]` in row-major order.
    pub output_probs: Vec<E>,
    /// Entries, alive or not, so near a threshold that rounding decides.
    pub borderline: Vec<Borderline>,
    /// How the masked model's predictions compare with the target model's; `None` where that is not known.
    pub prediction: Option<Prediction<E>>,
}

/// How the predictions of the masked model, which a graph explains, compare with those of the target model.
#[derive(Clone, Debug, PartialEq)]
pub struct Prediction<E> {
    /// The target model's probability of each output node: rows as the nodes of `output`.
    pub target_prob: Vec<E>,
    /// Kullback-Leibler divergence of the masked model from the target model at each position, in nats: the sum over the
    /// vocabulary of `p_target ln(p_target / p_masked)`.
    pub kl: Vec<E>,
    /// The masked model's likeliest token at each position.
    pub likeliest: Vec<u32>,
    /// The target model's likeliest tokens at each position, the likeliest first. Shared by the sets of a prompt.
    pub target_likeliest: Arc<Vec<Vec<TokenProb>>>,
}

/// A token and its probability.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TokenProb {
    /// Token id.
    pub token: u32,
    /// Its probability.
    pub prob: f64,
}

impl<E> Prediction<E> {
    /// Whether both models have the same likeliest token, at each position.
    pub fn agrees(&self) -> impl ExactSizeIterator<Item = bool> + '_ {
        let target = self.target_likeliest.iter().map(|tokens| tokens.first().map(|first| first.token));
        self.likeliest.iter().zip(target).map(|(&own, target)| target == Some(own))
    }
}

/// An entry, alive or not, whose importance lies so near to its threshold that rounding decides.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Borderline {
    /// Its layer.
    pub layer: Layer,
    /// Its position.
    pub position: usize,
    /// Its component; the token for `output`.
    pub component: usize,
    /// Its causal importance or probability.
    pub importance: f64,
}

/// The nodes of one layer in one set.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerNodes<E> {
    /// The alive entries: the rows of everything else here.
    pub alive: Arc<AliveEntries>,
    /// The entries alive under the model's own causal importances; those not in `alive` are ghosts. Shared by the sets
    /// of a prompt.
    pub original: Arc<AliveEntries>,
    /// What made each entry alive: the causal importance of a component, the probability of an output token. Empty for
    /// `wte`.
    pub importance: Vec<E>,
    /// Activation of each component before the detach; the logit for `output`. Empty for `wte`.
    pub activation: Vec<E>,
}

/// Attributions of the entries of one source layer on the entries of one target layer, in one set.
///
/// There is one value for every alive source entry and alive target entry within the pair's position rule, zeros
/// included, in ascending order of target row, then source row. So the indices follow from the nodes, and only values
/// are stored.
#[derive(Clone, Debug, PartialEq)]
pub struct PairAttribution<E> {
    /// The layers.
    pub pair: Pair,
    /// Alive entries of the source layer.
    pub source: Arc<AliveEntries>,
    /// Alive entries of the target layer.
    pub target: Arc<AliveEntries>,
    /// Originally alive entries of the source layer.
    pub original_source: Arc<AliveEntries>,
    /// Originally alive entries of the target layer.
    pub original_target: Arc<AliveEntries>,
    /// The attributions. Empty until they are computed.
    pub values: Vec<E>,
    /// The same where gradients stop at what no component holds of the weights; empty unless both were asked for.
    pub stopped: Vec<E>,
}

/// A dense attribution tensor, as published results hold one.
#[derive(Clone, Debug, PartialEq)]
pub struct DenseAttribution<E> {
    /// `[positions, n_c_in, positions, n_c_out]`: `s_in`, trimmed `c_in`, `s_out`, trimmed `c_out`.
    pub shape: [usize; 4],
    /// The elements in row-major order; zero where an entry is not alive or outside the position rule.
    pub values: Vec<E>,
}

/// Source rows that act on a target entry at position `s_out`.
pub fn source_rows(pair: &Pair, source: &AliveEntries, s_out: usize) -> Range<usize> {
    let at = source.rows_at(s_out);
    if pair.crosses_positions { 0..at.end } else { at }
}

/// Number of edges of a pair with these alive entries.
pub fn edge_count(pair: &Pair, source: &AliveEntries, target: &AliveEntries) -> usize {
    (0..target.positions()).map(|s| target.rows_at(s).len() * source_rows(pair, source, s).len()).sum()
}

impl<E> LayerNodes<E> {
    /// Of the embedding: one entry at every position, which carries nothing.
    pub fn embedding(positions: usize) -> Self {
        let every = Arc::new(AliveEntries::every_position(positions));
        Self { alive: Arc::clone(&every), original: every, importance: Vec::new(), activation: Vec::new() }
    }
}

impl<E> PairAttribution<E> {
    /// Of a pair of layers among `nodes`; its values are yet to come.
    ///
    /// # Panics
    ///
    /// When either layer is not among them.
    pub fn between(pair: Pair, nodes: &BTreeMap<Layer, LayerNodes<E>>) -> Self {
        let (from, to) = (&nodes[&pair.source], &nodes[&pair.target]);
        Self {
            pair,
            source: Arc::clone(&from.alive),
            target: Arc::clone(&to.alive),
            original_source: Arc::clone(&from.original),
            original_target: Arc::clone(&to.original),
            values: Vec::new(),
            stopped: Vec::new(),
        }
    }

    /// Number of edges, whether or not their values are there.
    pub fn edge_count(&self) -> usize {
        edge_count(&self.pair, &self.source, &self.target)
    }
}

impl<E: Copy + Default> PairAttribution<E> {
    /// Row of each edge in the source's and the target's alive entries, in the order of `values`.
    pub fn edges(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        (0..self.target.positions()).flat_map(move |s_out| {
            let sources = source_rows(&self.pair, &self.source, s_out);
            self.target.rows_at(s_out).flat_map(move |target| sources.clone().map(move |source| (source, target)))
        })
    }

    /// Index in `values` of the edge between two entries, each a position and a component; `None` where there is none.
    pub fn edge_of(&self, source: (usize, usize), target: (usize, usize)) -> Option<usize> {
        let source_row = self.source.row_of(source.0, source.1)?;
        let target_row = self.target.row_of(target.0, target.1)?;
        let sources_at = |s_out| source_rows(&self.pair, &self.source, s_out);
        let sources = sources_at(target.0);
        if !sources.contains(&source_row) {
            return None;
        }
        let before: usize = (0..target.0).map(|s| self.target.rows_at(s).len() * sources_at(s).len()).sum();
        let at = target_row - self.target.rows_at(target.0).start;
        Some(before + at * sources.len() + source_row - sources.start)
    }

    /// Components of the source alive at any position, ascending: what the trimmed index `c_in` numbers.
    pub fn trimmed_c_in_idxs(&self) -> Vec<usize> {
        self.source.component_union()
    }

    /// Components of the target alive at any position, ascending: what the trimmed index `c_out` numbers.
    pub fn trimmed_c_out_idxs(&self) -> Vec<usize> {
        self.target.component_union()
    }

    /// Whether this is a key or value projection acting on the output projection of its own block.
    pub fn is_kv_to_o_pair(&self) -> bool {
        self.pair.is_kv_to_o_pair()
    }

    /// Whether each trimmed component of the source is originally alive, `[positions, n_c_in]` in row-major order.
    pub fn original_alive_mask_in(&self) -> Vec<bool> {
        original_alive_mask(&self.original_source, &self.trimmed_c_in_idxs())
    }

    /// Whether each trimmed component of the target is originally alive, `[positions, n_c_out]` in row-major order.
    pub fn original_alive_mask_out(&self) -> Vec<bool> {
        original_alive_mask(&self.original_target, &self.trimmed_c_out_idxs())
    }

    /// The pair as a dense tensor `[positions, n_c_in, positions, n_c_out]`.
    ///
    /// Quadratic in positions and in components: for looking at small cases, not for storing.
    pub fn dense(&self) -> DenseAttribution<E> {
        let (c_in, c_out) = (self.trimmed_c_in_idxs(), self.trimmed_c_out_idxs());
        let positions = self.target.positions();
        let shape = [positions, c_in.len(), positions, c_out.len()];
        let mut values = vec![E::default(); shape.iter().product()];
        let row_offsets = |alive: &AliveEntries, trimmed: &[usize]| -> Vec<usize> {
            let index =
                |component| trimmed.binary_search(&component).unwrap_or_else(|_| unreachable!("not in its union"));
            alive.iter().map(|(position, component)| position * trimmed.len() + index(component)).collect()
        };
        let (from, to) = (row_offsets(&self.source, &c_in), row_offsets(&self.target, &c_out));
        for ((source, target), &value) in self.edges().zip(&self.values) {
            values[from[source] * positions * c_out.len() + to[target]] = value;
        }
        DenseAttribution { shape, values }
    }
}

fn original_alive_mask(original: &AliveEntries, trimmed: &[usize]) -> Vec<bool> {
    let at = |position| trimmed.iter().map(move |&component| original.row_of(position, component).is_some());
    (0..original.positions()).flat_map(at).collect()
}

impl<E> SetAttributions<E> {
    /// A graph of which no more is known than its nodes and edges.
    pub fn new(name: String, nodes: BTreeMap<Layer, LayerNodes<E>>, pairs: Vec<PairAttribution<E>>) -> Self {
        Self { name, until: None, nodes, pairs, output_probs: Vec::new(), borderline: Vec::new(), prediction: None }
    }
}

impl<E: Copy> SetAttributions<E> {
    /// The same graph with every number converted.
    #[must_use]
    pub fn map<F>(&self, convert: impl Fn(E) -> F) -> SetAttributions<F> {
        let all = |values: &[E]| values.iter().map(|&value| convert(value)).collect::<Vec<F>>();
        let nodes = self.nodes.iter().map(|(&layer, nodes)| {
            let (alive, original) = (Arc::clone(&nodes.alive), Arc::clone(&nodes.original));
            let (importance, activation) = (all(&nodes.importance), all(&nodes.activation));
            (layer, LayerNodes { alive, original, importance, activation })
        });
        let pairs = self.pairs.iter().map(|pair| PairAttribution {
            pair: pair.pair,
            source: Arc::clone(&pair.source),
            target: Arc::clone(&pair.target),
            original_source: Arc::clone(&pair.original_source),
            original_target: Arc::clone(&pair.original_target),
            values: all(&pair.values),
            stopped: all(&pair.stopped),
        });
        SetAttributions {
            name: self.name.clone(),
            until: self.until,
            nodes: nodes.collect(),
            pairs: pairs.collect(),
            output_probs: all(&self.output_probs),
            borderline: self.borderline.clone(),
            prediction: self.prediction.as_ref().map(|prediction| Prediction {
                target_prob: all(&prediction.target_prob),
                kl: all(&prediction.kl),
                likeliest: prediction.likeliest.clone(),
                target_likeliest: Arc::clone(&prediction.target_likeliest),
            }),
        }
    }

    /// Total number of nodes.
    pub fn node_count(&self) -> usize {
        self.nodes.values().map(|nodes| nodes.alive.len()).sum()
    }

    /// Total number of edges, whether or not their values are there.
    pub fn edge_count(&self) -> usize {
        self.pairs.iter().map(PairAttribution::edge_count).sum()
    }
}

/// Alive entries of a layer, whose threshold is rounded to f32, the type of the causal importances.
pub fn alive_components(ci: &CausalImportances, thresholds: Thresholds) -> AliveEntries {
    let threshold = thresholds.ci as f32;
    // What is not kept is 0.
    if thresholds.zero_is_alive() {
        let is_alive = |position, component| thresholds.passes(ci.get(position, component), threshold);
        return AliveEntries::collect(ci.positions(), ci.components(), is_alive);
    }
    let alive = move |(component, value)| thresholds.passes(value, threshold).then_some(component);
    AliveEntries::from_positions((0..ci.positions()).map(|position| ci.row(position).filter_map(alive)))
}
