//! Every statistic from its definition, over maps, with no thought of speed.

use std::collections::{BTreeMap, BTreeSet};

use tributary_graph::Entry;
use tributary_model::SetAttributions;

/// What a set has, and how much each weighs, with its sign.
pub(crate) type Has<K> = BTreeMap<K, f64>;
pub(crate) type EdgeKey = (Entry, Entry);

pub(crate) fn edges(set: &SetAttributions<f32>, min_edge: Option<f32>) -> Has<EdgeKey> {
    let mut edges = all_edges(set);
    edges.retain(|_, value| {
        value.is_finite() && *value != 0.0 && min_edge.is_none_or(|least| value.abs() >= f64::from(least))
    });
    edges
}

fn all_edges(set: &SetAttributions<f32>) -> Has<EdgeKey> {
    let mut edges = BTreeMap::new();
    for pair in &set.pairs {
        let entry = |layer, (s, c): (usize, usize)| Entry { layer, position: s as u32, component: c as u32 };
        for source in pair.source.iter() {
            for target in pair.target.iter() {
                if let Some(index) = pair.edge_of(source, target) {
                    let key = (entry(pair.pair.source, source), entry(pair.pair.target, target));
                    edges.insert(key, f64::from(pair.values[index]));
                }
            }
        }
    }
    edges
}

/// Nodes with their importance.
pub(crate) fn nodes(set: &SetAttributions<f32>) -> Has<Entry> {
    let mut nodes = BTreeMap::new();
    for (&layer, of_layer) in &set.nodes {
        for (s, c) in of_layer.alive.iter() {
            nodes.insert(Entry { layer, position: s as u32, component: c as u32 }, 0.0);
        }
    }
    for ((source, target), value) in all_edges(set).into_iter().filter(|(_, value)| value.is_finite()) {
        *nodes.get_mut(&source).unwrap() += value.abs();
        *nodes.get_mut(&target).unwrap() += value.abs();
    }
    nodes
}

pub(crate) fn union<K: Ord + Copy>(sets: &[Has<K>]) -> BTreeSet<K> {
    sets.iter().flat_map(|set| set.keys().copied()).collect()
}

pub(crate) fn having<K: Ord>(sets: &[Has<K>], key: &K) -> Vec<f64> {
    sets.iter().filter_map(|set| set.get(key).copied()).collect()
}

pub(crate) fn jaccard<K: Ord + Copy>(a: &Has<K>, b: &Has<K>) -> f64 {
    let union = a.keys().chain(b.keys()).collect::<BTreeSet<_>>().len();
    if union == 0 { 1.0 } else { a.keys().filter(|key| b.contains_key(key)).count() as f64 / union as f64 }
}

pub(crate) fn weighted_jaccard<K: Ord + Copy>(a: &Has<K>, b: &Has<K>) -> f64 {
    let union: BTreeSet<&K> = a.keys().chain(b.keys()).collect();
    let (mut least, mut most) = (0.0, 0.0);
    for key in union {
        let [a, b] = [a, b].map(|set| set.get(key).map_or(0.0, |value| value.abs()));
        least += a.min(b);
        most += a.max(b);
    }
    if most == 0.0 { 1.0 } else { least / most }
}

/// Values of both sets of what they share.
pub(crate) fn shared<K: Ord + Copy>(a: &Has<K>, b: &Has<K>) -> Vec<(f64, f64)> {
    a.iter().filter_map(|(key, &value)| Some((value, *b.get(key)?))).collect()
}

pub(crate) fn pearson(values: &[(f64, f64)]) -> Option<f64> {
    let constant = |side: fn(&(f64, f64)) -> f64| values.iter().all(|value| side(value) == side(&values[0]));
    if values.len() < 3 || constant(|v| v.0) || constant(|v| v.1) {
        return None;
    }
    let n = values.len() as f64;
    let mean = |side: fn(&(f64, f64)) -> f64| values.iter().map(side).sum::<f64>() / n;
    let (x, y) = (mean(|v| v.0), mean(|v| v.1));
    let moment = |of: &dyn Fn(f64, f64) -> f64| values.iter().map(|v| of(v.0 - x, v.1 - y)).sum::<f64>() / n;
    let correlation = moment(&|x, y| x * y) / (moment(&|x, _| x * x).sqrt() * moment(&|_, y| y * y).sqrt());
    Some(correlation)
}

pub(crate) fn spearman(values: &[(f64, f64)]) -> Option<f64> {
    let rank = |value: f64, side: fn(&(f64, f64)) -> f64| {
        let magnitudes = || values.iter().map(|v| side(v).abs());
        let less = magnitudes().filter(|&other| other < value.abs()).count();
        let equal = magnitudes().filter(|&other| other == value.abs()).count();
        less as f64 + f64::midpoint(1.0, equal as f64)
    };
    pearson(&values.iter().map(|v| (rank(v.0, |v| v.0), rank(v.1, |v| v.1))).collect::<Vec<_>>())
}
