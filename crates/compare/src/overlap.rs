//! How many sets have each node and each edge, and what is unique to one.

use serde::Serialize;
use tributary_model::Layer;

use crate::alignment::{Alignment, Items, Members, Value};
use crate::listing::strongest;
use crate::pairwise::{Common, Matrix, Pairwise, SignDisagreement, compare_pairs, table};
use crate::{ListedEdge, ListedNode, json};

/// Of nodes or edges: what the sets have in common.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Overlap {
    /// How many each set has.
    pub counts: Vec<usize>,
    /// How many are in exactly 1, 2, ... sets.
    pub in_exactly: Vec<usize>,
    /// How many are in any set.
    pub union: usize,
    /// How many are in all sets.
    pub intersection: usize,
    /// What every two sets have in common.
    pub pairwise: Pairwise,
}

/// What the sets have in common of one layer's nodes or one pair's edges.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GroupOverlap {
    /// How many each set has.
    pub counts: Vec<usize>,
    /// How many are in any set.
    pub union: usize,
    /// How many are in all sets.
    pub intersection: usize,
    /// Mean of the Jaccard indices of every two sets.
    pub mean_jaccard: f64,
}

/// The nodes of a layer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LayerOverlap {
    /// The layer.
    #[serde(serialize_with = "json::layer")]
    pub layer: Layer,
    /// What the sets have in common.
    #[serde(flatten)]
    pub overlap: GroupOverlap,
}

/// The edges of a pair.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PairOverlap {
    /// Where they start.
    #[serde(serialize_with = "json::layer")]
    pub source: Layer,
    /// Where they lead.
    #[serde(serialize_with = "json::layer")]
    pub target: Layer,
    /// What the sets have in common.
    #[serde(flatten)]
    pub overlap: GroupOverlap,
}

/// What one set has and no other.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Unique<T> {
    /// How many.
    pub count: usize,
    /// The strongest of them, the strongest first.
    pub strongest: Vec<T>,
}

/// What the sets have in common of their nodes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct NodeOverlap {
    /// Of all nodes; weighed by importance.
    #[serde(flatten)]
    pub overlap: Overlap,
    /// Of each layer's.
    pub layers: Vec<LayerOverlap>,
    /// What is unique to each set; the strongest by importance.
    pub unique: Vec<Unique<ListedNode>>,
}

/// What the sets have in common of their edges.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EdgeOverlap {
    /// Of all edges; weighed by magnitude.
    #[serde(flatten)]
    pub overlap: Overlap,
    /// Pearson's correlation of the signed attributions of shared edges; `None` of fewer than three or where either side
    /// is constant.
    pub value_correlation: Matrix<Option<f64>>,
    /// The shared edges whose signs are opposite.
    pub sign_disagreement: Matrix<SignDisagreement>,
    /// Of each pair's edges.
    pub pairs: Vec<PairOverlap>,
    /// What is unique to each set; the strongest by magnitude.
    pub unique: Vec<Unique<ListedEdge>>,
}

impl NodeOverlap {
    pub(crate) fn new(alignment: &Alignment<'_>, top: Option<usize>) -> Self {
        let Alignment { nodes, layers, sets, .. } = alignment;
        let (common, groups) = compare_groups(nodes);
        let layers = layers.iter().zip(groups).map(|(&layer, overlap)| LayerOverlap { layer, overlap }).collect();
        let list = |set: usize, id: u32, _| {
            // A node that is unique to a set is alive in it.
            let index = alignment.index_in(set, id).unwrap_or_else(|| unreachable!("node {id} is in set {set}"));
            ListedNode::from(&sets[set].graph().nodes[index])
        };
        Self { overlap: Overlap::new(nodes, &common), layers, unique: unique(nodes, top, list) }
    }
}

impl EdgeOverlap {
    pub(crate) fn new(alignment: &Alignment<'_>, top: Option<usize>) -> Self {
        let Alignment { edges, pairs, .. } = alignment;
        let (common, groups) = compare_groups(edges);
        let named = pairs.iter().zip(groups);
        let list = |_, id: u32, value: f32| ListedEdge { key: alignment.edge_key(id), value };
        Self {
            overlap: Overlap::new(edges, &common),
            value_correlation: table(&common, |common| common.value_correlation),
            sign_disagreement: table(&common, |common| common.signs),
            pairs: named
                .map(|(pair, overlap)| PairOverlap { source: pair.source, target: pair.target, overlap })
                .collect(),
            unique: unique(edges, top, list),
        }
    }
}

impl Overlap {
    fn new<V: Value>(items: &Items<V>, common: &Matrix<Common>) -> Self {
        let sets = items.members.len();
        let mut in_exactly = vec![0; sets];
        for &count in &items.counts {
            // Everything in the union is in a set.
            in_exactly[count as usize - 1] += 1;
        }
        Self {
            counts: items.members.iter().map(|members| members.ids.len()).collect(),
            union: items.counts.len(),
            intersection: in_exactly[sets - 1],
            in_exactly,
            pairwise: Pairwise::new(common),
        }
    }
}

/// What every two sets have in common, and each group of its own.
fn compare_groups<V: Value>(items: &Items<V>) -> (Matrix<Common>, Vec<GroupOverlap>) {
    let sets = items.members.len();
    let count = |members: &Members<V>| {
        let before = |id: u32| members.ids.partition_point(|&member| member < id);
        items.groups.iter().map(|group| before(group.end) - before(group.start)).collect::<Vec<usize>>()
    };
    let counts: Vec<Vec<usize>> = items.members.iter().map(count).collect();
    let common = compare_pairs(items, &counts);
    let overlap = |(at, group): (usize, &std::ops::Range<u32>)| {
        let everywhere = &items.counts[group.start as usize..group.end as usize];
        let every_two = (0..sets).flat_map(|b| (0..b).map(move |a| (a, b)));
        let sum: f64 = every_two.map(|(a, b)| common[a][b].group_jaccard[at]).sum();
        GroupOverlap {
            counts: counts.iter().map(|counts| counts[at]).collect(),
            union: group.len(),
            intersection: everywhere.iter().filter(|&&count| count as usize == sets).count(),
            mean_jaccard: sum / (sets * (sets - 1) / 2) as f64,
        }
    };
    let groups = items.groups.iter().enumerate().map(overlap).collect();
    (common, groups)
}

/// What each set has and no other, as `list` writes it, which is given the set, the item's number and value.
fn unique<V: Value, T>(items: &Items<V>, top: Option<usize>, list: impl Fn(usize, u32, V) -> T) -> Vec<Unique<T>> {
    let of_set = |(set, members): (usize, &Members<V>)| {
        let is_unique = |&(_, id): &(f64, u32)| items.counts[id as usize] == 1;
        let found: Vec<(f64, u32)> =
            members.iter().map(|(id, value)| (value.magnitude(), id)).filter(is_unique).collect();
        let value_of = |id: u32| members.values[members.ids.partition_point(|&member| member < id)];
        Unique {
            count: found.len(),
            strongest: strongest(found, top).into_iter().map(|(_, id)| list(set, id, value_of(id))).collect(),
        }
    };
    items.members.iter().enumerate().map(of_set).collect()
}
