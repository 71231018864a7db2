//! Drawing edges out of a result, and the targets they lead to.

use std::collections::{BTreeMap, BTreeSet};

use fastrand::Rng;
use tributary_engine::Targets;
use tributary_model::{
    AliveEntries, CiSet, Layer, LayerNodes, PairAttribution, Prediction, Thresholds, alive_components,
};
use tributary_results::{ResultFolder, SetEntry};

use crate::Error;

/// What is kept of a stored set.
pub(crate) struct StoredSet {
    pub(crate) name: String,
    pub(crate) nodes: BTreeMap<Layer, LayerNodes<f32>>,
    /// `None` in results of format version 1.
    pub(crate) prediction: Option<Prediction<f32>>,
    pub(crate) edges: Vec<SampledEdge>,
}

/// An edge drawn from a result.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SampledEdge {
    /// Index in the pair table.
    pub pair: usize,
    /// Position and component.
    pub source: (usize, usize),
    /// Position and component.
    pub target: (usize, usize),
    /// Whether its value is that of which gradients stop at deltas, the second of two.
    pub stopped: bool,
    /// What is stored.
    pub value: f32,
}

/// Draws `samples` edges, spread evenly over all pairs of all sets that have any; all edges when there are no more.
/// Without a number, one of each and at least 200.
pub(crate) fn draw(folder: &ResultFolder, samples: Option<u64>, seed: u64) -> Result<Vec<StoredSet>, Error> {
    let mut rng = Rng::with_seed(seed);
    let sizes: Vec<Vec<usize>> =
        folder.manifest().sets.iter().map(|set| set.pairs.iter().map(|pair| pair.edges).collect()).collect();
    let pairs = sizes.iter().flatten().filter(|&&size| size > 0).count();
    let samples = samples.unwrap_or_else(|| (pairs as u64).max(200));
    let quotas = quotas(&sizes, samples, &mut rng);
    let mut stored = Vec::with_capacity(sizes.len());
    for ((set, sizes), quotas) in folder.manifest().sets.iter().zip(&sizes).zip(&quotas) {
        stored.push(of_set(folder, set, sizes, quotas, &mut rng)?);
    }
    Ok(stored)
}

/// The same of one set, spread evenly over its pairs.
pub(crate) fn draw_of_set(folder: &ResultFolder, set: &SetEntry, samples: u64, seed: u64) -> Result<StoredSet, Error> {
    let mut rng = Rng::with_seed(seed);
    let sizes: Vec<usize> = set.pairs.iter().map(|pair| pair.edges).collect();
    let quotas = quotas(std::slice::from_ref(&sizes), samples, &mut rng).remove(0);
    of_set(folder, set, &sizes, &quotas, &mut rng)
}

fn of_set(
    folder: &ResultFolder,
    set: &SetEntry,
    sizes: &[usize],
    quotas: &[usize],
    rng: &mut Rng,
) -> Result<StoredSet, Error> {
    let read = folder.read_set(&set.name)?;
    let mut edges = Vec::new();
    for (pair, attribution) in read.pairs.iter().enumerate() {
        let indices = indices(sizes[pair], quotas[pair], rng);
        edges.extend(edges_at(pair, attribution, &indices));
    }
    Ok(StoredSet { name: read.name, nodes: read.nodes, prediction: read.prediction, edges })
}

/// How many edges to draw of each, `[set][pair]`, of which there are `sizes`: one more of each in turn, in an order drawn
/// once, until there are enough.
fn quotas(sizes: &[Vec<usize>], samples: u64, rng: &mut Rng) -> Vec<Vec<usize>> {
    let mut quotas: Vec<Vec<usize>> = sizes.iter().map(|pairs| vec![0; pairs.len()]).collect();
    let all = sizes.iter().enumerate().flat_map(|(set, pairs)| (0..pairs.len()).map(move |pair| (set, pair)));
    let mut open: Vec<(usize, usize)> = all.filter(|&(set, pair)| sizes[set][pair] > 0).collect();
    rng.shuffle(&mut open);
    let mut left = samples;
    while left > 0 && !open.is_empty() {
        let each = usize::try_from(left / open.len() as u64).unwrap_or(usize::MAX).max(1);
        for &(set, pair) in &open {
            let more = each.min(sizes[set][pair] - quotas[set][pair]).min(usize::try_from(left).unwrap_or(usize::MAX));
            quotas[set][pair] += more;
            left -= more as u64;
        }
        open.retain(|&(set, pair)| quotas[set][pair] < sizes[set][pair]);
    }
    quotas
}

/// `count` different numbers below `size`, ascending.
fn indices(size: usize, count: usize, rng: &mut Rng) -> Vec<usize> {
    if count == size {
        return (0..size).collect();
    }
    // Of the smaller part, those to take or those to leave, so that drawing an old number again stays rare.
    let leave = count > size / 2;
    let wanted = if leave { size - count } else { count };
    let mut drawn = BTreeSet::new();
    while drawn.len() < wanted {
        drawn.insert(rng.usize(0..size));
    }
    if leave { (0..size).filter(|index| !drawn.contains(index)).collect() } else { drawn.into_iter().collect() }
}

fn edges_at(pair: usize, attribution: &PairAttribution<f32>, indices: &[usize]) -> Vec<SampledEdge> {
    let entries = |alive: &AliveEntries| alive.iter().collect::<Vec<_>>();
    let (sources, targets) = (entries(&attribution.source), entries(&attribution.target));
    let mut rows = attribution.edges().enumerate();
    let edge = |&index: &usize| {
        let (_, (source, target)) = rows.find(|(at, _)| *at == index)?;
        let (source, target) = (sources[source], targets[target]);
        let of = |stopped, value| SampledEdge { pair, source, target, stopped, value };
        let second = attribution.stopped.get(index).map(|&value| of(true, value));
        Some(std::iter::once(of(false, attribution.values[index])).chain(second))
    };
    indices.iter().filter_map(edge).flatten().collect()
}

impl StoredSet {
    /// The entries that the sampled edges lead to.
    pub(crate) fn targets(&self, pairs: &[tributary_results::PairEntry]) -> Targets {
        let mut rows: BTreeMap<Layer, BTreeSet<[u32; 2]>> = BTreeMap::new();
        for edge in &self.edges {
            let (position, component) = edge.target;
            rows.entry(pairs[edge.pair].target).or_default().insert([position as u32, component as u32]);
        }
        let positions = self.positions();
        let entries =
            |rows: BTreeSet<[u32; 2]>| AliveEntries::from_rows(positions, &rows.into_iter().collect::<Vec<_>>());
        rows.into_iter().filter_map(|(layer, rows)| Some((layer, entries(rows)?))).collect()
    }

    fn positions(&self) -> usize {
        // Of every layer the same.
        self.nodes.values().next().map_or(0, |nodes| nodes.alive.positions())
    }

    /// The first layer at which `read`, a set of the same name, is not what the result was computed from.
    pub(crate) fn differs_from(&self, read: &CiSet, thresholds: Thresholds, until: Option<usize>) -> Option<Layer> {
        let same = |(layer, nodes): (&Layer, &LayerNodes<f32>)| {
            let Some(ci) = read.layers.get(layer) else { return !layer.is_linear() };
            let alive = alive_components(ci, thresholds);
            let alive = until.map_or_else(|| alive.clone(), |last| alive.until(last));
            let value = |(position, component): (usize, usize)| ci.get(position, component);
            alive == *nodes.alive && alive.iter().map(value).eq(nodes.importance.iter().copied())
        };
        self.nodes.iter().find(|&nodes| !same(nodes)).map(|(layer, _)| *layer)
    }
}
