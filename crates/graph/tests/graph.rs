//! Graphs of random sets, held to what the sets say.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::prelude::*;
use tributary_graph::{Entry, Graph, Influence, Limits, Normalise, Pruned, Selection, Sign, View};
use tributary_model::{
    AliveEntries, Layer, LayerNodes, PairAttribution, SetAttributions, pair_table, published_blocks,
};
use tributary_testing::config;

const COMPONENTS: usize = 3;

/// A set of a model of one block, all of it decomposed, with values from `value`.
fn set(positions: usize, alive: &[bool], mut value: impl FnMut() -> f32) -> SetAttributions<f32> {
    let decomposed: BTreeSet<Layer> = published_blocks(1).into_iter().collect();
    let mut flags = alive.iter().copied().cycle();
    let mut entries = |components: usize| {
        let flags: Vec<bool> = (0..positions * components).map(|_| flags.next().unwrap()).collect();
        Arc::new(AliveEntries::collect(positions, components, |s, c| flags[s * components + c]))
    };
    let mut nodes = BTreeMap::new();
    nodes.insert(Layer::wte(), LayerNodes::embedding(positions));
    for layer in decomposed.iter().copied().chain([Layer::output()]) {
        let (alive, original) = (entries(COMPONENTS), entries(COMPONENTS));
        let importance = (0..alive.len()).map(|row| 0.125 + row as f32 / 64.0).collect();
        let activation = (0..alive.len()).map(|row| row as f32 - 2.0).collect();
        nodes.insert(layer, LayerNodes { alive, original, importance, activation });
    }
    let pairs = pair_table(&published_blocks(1), &decomposed).into_iter().map(|pair| {
        let empty = PairAttribution::between(pair, &nodes);
        PairAttribution { values: (0..empty.edge_count()).map(|_| value()).collect(), ..empty }
    });
    let pairs = pairs.collect();
    SetAttributions::new("a set".to_owned(), nodes, pairs)
}

fn sets() -> impl Strategy<Value = SetAttributions<f32>> {
    let value = prop_oneof![8 => -4.0_f32..4.0, 1 => Just(0.0), 1 => Just(1.5)];
    (1_usize..4, prop::collection::vec(prop::bool::weighted(0.6), 40), prop::collection::vec(value, 400)).prop_map(
        |(positions, alive, values)| {
            let mut values = values.into_iter().cycle();
            set(positions, &alive, || values.next().unwrap())
        },
    )
}

/// Each formula written out again, edge by edge.
fn viewed(graph: &Graph, view: View, index: usize) -> f64 {
    let signed = |index: usize| {
        let edge = &graph.edges[index];
        let activation = f64::from(graph.nodes[edge.target as usize].activation.unwrap());
        let sign = if view.sign == Sign::Source || activation > 0.0 {
            1.0
        } else if activation < 0.0 {
            -1.0
        } else {
            0.0
        };
        sign * f64::from(edge.value)
    };
    let target = |index: usize| graph.nodes[graph.edges[index].target as usize].entry;
    let is_of_group = |other: &usize| match view.normalise {
        Normalise::None => false,
        Normalise::Target => target(*other) == target(index),
        Normalise::Layer => target(*other).layer == target(index).layer,
    };
    let norm = (0..graph.edges.len()).filter(is_of_group).map(|other| signed(other).powi(2)).sum::<f64>().sqrt();
    if norm > 0.0 { signed(index) / norm } else { signed(index) }
}

proptest! {
    #![proptest_config(config(32))]

    #[test]
    fn a_view_turns_signs_and_divides(set in sets()) {
        let graph = Graph::new(&set);
        for sign in [Sign::Source, Sign::Target] {
            for normalise in [Normalise::None, Normalise::Target, Normalise::Layer] {
                let view = View { sign, normalise };
                let shown = view.of(&set);
                prop_assert_eq!(shown.edges.len(), graph.edges.len());
                for (index, edge) in shown.edges.iter().enumerate() {
                    prop_assert_eq!((edge.source, edge.target), (graph.edges[index].source, graph.edges[index].target));
                    // Rounded to float32 twice.
                    let expected = viewed(&graph, view, index);
                    prop_assert!((f64::from(edge.value) - expected).abs() <= 2.4e-7 * expected.abs(), "{:?} {index}", view);
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(config(256))]

    #[test]
    fn a_graph_says_what_its_set_says(set in sets()) {
        let graph = Graph::new(&set);
        prop_assert_eq!(graph.nodes.len(), set.node_count());
        prop_assert_eq!(graph.edges.len(), set.edge_count());
        prop_assert!(graph.nodes.windows(2).all(|pair| pair[0].entry < pair[1].entry));
        for (attribution, (pair, range)) in set.pairs.iter().zip(&graph.pairs) {
            prop_assert_eq!(attribution.pair, *pair);
            prop_assert_eq!(attribution.values.len(), range.len());
            for edge in &graph.edges[range.clone()] {
                let (source, target) = (graph.nodes[edge.source as usize].entry, graph.nodes[edge.target as usize].entry);
                prop_assert_eq!((source.layer, target.layer), (pair.source, pair.target));
                let at = |entry: Entry| (entry.position as usize, entry.component as usize);
                let index = attribution.edge_of(at(source), at(target)).unwrap();
                prop_assert_eq!(attribution.values[index].to_bits(), edge.value.to_bits());
            }
        }
        // Every edge has two ends. Sums of at most a few hundred f64 numbers that are exact in f32.
        let sum: f64 = graph.nodes.iter().map(|node| node.importance).sum();
        let expected: f64 = graph.edges.iter().map(|edge| 2.0 * f64::from(edge.value.abs())).sum();
        prop_assert!((sum - expected).abs() <= 1e-12 * expected);
        for ghost in &graph.ghosts {
            let (layer, at) = (&set.nodes[&ghost.layer], (ghost.position as usize, ghost.component as usize));
            prop_assert!(graph.find(*ghost).is_none() && layer.original.row_of(at.0, at.1).is_some());
        }
        let originals: usize = set.nodes.values().map(|nodes| nodes.original.len()).sum();
        let alive_originals: usize =
            set.nodes.values().map(|nodes| nodes.original.intersection(&nodes.alive).len()).sum();
        prop_assert_eq!(graph.ghosts.len(), originals - alive_originals);
    }

    #[test]
    fn selections_are_the_strongest_edges(set in sets(), least in prop::option::of(0.0_f32..4.0), top in prop::option::of(0_usize..100)) {
        let graph = Graph::new(&set);
        let selection = Selection::new(&graph, Limits { min_edge: least, top_edges: top });
        let strength = |edge: &u32| graph.edges[*edge as usize].value.abs();
        let mut expected: Vec<u32> = (0..graph.edges.len() as u32).filter(|edge| strength(edge) > 0.0).collect();
        let all = expected.clone();
        expected.sort_by(|a, b| strength(b).total_cmp(&strength(a)).then(a.cmp(b)));
        expected.retain(|edge| least.is_none_or(|least| strength(edge) >= least));
        expected.truncate(top.unwrap_or(usize::MAX));
        prop_assert_eq!(&selection.edges, &expected);
        prop_assert_eq!(selection.left_out, all.len() - expected.len());
        let left_out = all.iter().filter(|edge| !expected.contains(edge));
        let largest = left_out.clone().map(strength).fold(0.0, f32::max);
        prop_assert_eq!(selection.largest_left_out.to_bits(), largest.to_bits());
        let magnitude: f64 = left_out.map(|edge| f64::from(strength(edge))).sum();
        prop_assert!((selection.magnitude_left_out - magnitude).abs() <= 1e-12 * selection.magnitude);
    }

    /// Against powers of the normalised adjacency matrix, as circuit-tracer computes it.
    #[test]
    fn influence_is_the_sum_over_paths_of_every_length(set in sets(), position in prop::option::of(0_u32..3)) {
        let graph = Graph::new(&set);
        let n = graph.nodes.len();
        let mut adjacency = vec![vec![0.0_f64; n]; n];
        for edge in &graph.edges {
            adjacency[edge.target as usize][edge.source as usize] = f64::from(edge.value.abs());
        }
        for row in &mut adjacency {
            let sum: f64 = row.iter().sum();
            for weight in row {
                *weight /= sum.max(1e-10);
            }
        }
        let is_asked = |node: &tributary_graph::Node| position.is_none_or(|position| node.entry.position == position);
        let probability = |node: &tributary_graph::Node| node.probability.filter(|_| is_asked(node)).map_or(0.0, f64::from);
        let start: Vec<f64> = graph.nodes.iter().map(probability).collect();
        let (mut current, mut total) = (start.clone(), vec![0.0; n]);
        while current.iter().any(|&x| x > 0.0) {
            current = (0..n).map(|s| (0..n).map(|t| current[t] * adjacency[t][s]).sum()).collect();
            total.iter_mut().zip(&current).for_each(|(sum, x)| *sum += x);
        }
        let influence = Influence::new(&graph, position);
        for (found, expected) in influence.nodes.iter().zip(&total) {
            // A few hundred roundings of numbers of at most the whole probability.
            prop_assert!((found - expected).abs() <= 1e-12 * start.iter().sum::<f64>());
        }
        for (edge, found) in graph.edges.iter().zip(&influence.edges) {
            let (source, target) = (edge.source as usize, edge.target as usize);
            let expected = adjacency[target][source] * (total[target] + start[target]);
            prop_assert!((found - expected).abs() <= 1e-12 * start.iter().sum::<f64>());
        }
    }

    #[test]
    fn pruning_keeps_whole_paths(set in sets(), position in prop::option::of(0_u32..3), node_threshold in 0.0_f64..1.0, edge_threshold in 0.0_f64..1.0) {
        let graph = Graph::new(&set);
        let pruned = Pruned::new(&graph, position, node_threshold, edge_threshold);
        let wider = Pruned::new(&graph, position, 1.0, 1.0);
        for (i, edge) in graph.edges.iter().enumerate().filter(|&(i, _)| pruned.edges[i]) {
            prop_assert!(pruned.nodes[edge.source as usize] && pruned.nodes[edge.target as usize]);
            prop_assert!(wider.edges[i]);
        }
        for (i, node) in graph.nodes.iter().enumerate() {
            if node.entry.layer.is_linear() {
                let at = |end: fn(&tributary_graph::Edge) -> u32| {
                    graph.edges.iter().zip(&pruned.edges).any(|(edge, &kept)| kept && end(edge) as usize == i)
                };
                prop_assert_eq!(pruned.nodes[i], pruned.nodes[i] && at(|edge| edge.source) && at(|edge| edge.target));
            } else {
                let is_asked = position.is_none_or(|position| node.entry.position == position);
                prop_assert_eq!(pruned.nodes[i], node.entry.layer.is_embedding() || is_asked);
            }
            prop_assert!((0.0..=1.0).contains(&pruned.cumulative[i]));
        }
    }
}

#[test]
fn edges_that_are_not_finite_are_counted_and_not_ranked() {
    let mut values = [f32::NAN, f32::INFINITY, 1.0, f32::NEG_INFINITY, -2.0, 0.0].into_iter().cycle();
    let graph = Graph::new(&set(2, &[true], || values.next().unwrap()));
    let selection = Selection::new(&graph, Limits::default());
    assert_eq!(graph.not_finite(), graph.edges.iter().filter(|edge| !edge.value.is_finite()).count());
    assert!(graph.not_finite() > 0 && selection.magnitude.is_finite());
    assert!(selection.edges.iter().all(|&edge| graph.edges[edge as usize].value.is_finite()));
    assert!(graph.nodes.iter().all(|node| node.importance.is_finite()));
    assert!(Influence::new(&graph, None).nodes.iter().all(|influence| influence.is_finite()));
}
