//! Random sets, against the naive implementation.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use tributary_compare::{Comparison, ComparisonOptions, GroupOverlap, Overlap, majority};
use tributary_graph::Entry;
use tributary_testing::config;

use crate::case::{Case, cases, compared};
use crate::naive::{self, EdgeKey, Has};

fn options(min_edge: Option<f32>, k: Option<usize>) -> ComparisonOptions {
    ComparisonOptions { min_edge, k, top: None }
}

fn min_edges() -> impl Strategy<Value = Option<f32>> {
    prop::option::of(prop_oneof![0.0_f32..3.0, Just(1.5)])
}

/// Sums of a few hundred numbers in another order differ by as many roundings of 2^-53.
fn near(found: f64, expected: f64) -> bool {
    (found - expected).abs() <= 1e-12 * expected.abs().max(1e-30)
}

fn near_or_none(found: Option<f64>, expected: Option<f64>, tolerance: f64) -> bool {
    match (found, expected) {
        (Some(found), Some(expected)) => (found - expected).abs() <= tolerance,
        (found, expected) => found == expected,
    }
}

fn check_overlap<K: Ord + Copy>(found: &Overlap, sets: &[Has<K>]) -> Result<(), TestCaseError> {
    let union = naive::union(sets);
    let exactly = |k: usize| union.iter().filter(|key| naive::having(sets, key).len() == k).count();
    prop_assert_eq!(&found.counts, &sets.iter().map(Has::len).collect::<Vec<_>>());
    prop_assert_eq!(&found.in_exactly, &(1..=sets.len()).map(exactly).collect::<Vec<_>>());
    prop_assert_eq!(found.union, union.len());
    prop_assert_eq!(found.intersection, exactly(sets.len()));
    for (i, a) in sets.iter().enumerate() {
        for (j, b) in sets.iter().enumerate() {
            let shared = naive::shared(a, b);
            prop_assert_eq!(found.pairwise.shared[i][j], shared.len());
            prop_assert!(near(found.pairwise.jaccard[i][j], naive::jaccard(a, b)));
            prop_assert!(near(found.pairwise.weighted_jaccard[i][j], naive::weighted_jaccard(a, b)));
            // Ranks are whole or half numbers below a thousand: their moments are exact but for the last division.
            let (rank, expected) = (found.pairwise.rank_correlation[i][j], naive::spearman(&shared));
            prop_assert!(near_or_none(rank, expected, 1e-12), "{:?} {:?}", rank, expected);
        }
    }
    Ok(())
}

/// `keep` says whether something is in the group.
fn check_group<K: Ord + Copy>(
    found: &GroupOverlap,
    sets: &[Has<K>],
    keep: impl Fn(&K) -> bool,
) -> Result<(), TestCaseError> {
    let sets: Vec<Has<K>> = sets
        .iter()
        .map(|set| set.iter().filter(|(key, _)| keep(key)).map(|(&key, &value)| (key, value)).collect())
        .collect();
    let union = naive::union(&sets);
    prop_assert_eq!(&found.counts, &sets.iter().map(Has::len).collect::<Vec<_>>());
    prop_assert_eq!(found.union, union.len());
    prop_assert_eq!(
        found.intersection,
        union.iter().filter(|key| naive::having(&sets, key).len() == sets.len()).count()
    );
    let mut jaccards = Vec::new();
    for (i, a) in sets.iter().enumerate() {
        jaccards.extend(sets[..i].iter().map(|b| naive::jaccard(a, b)));
    }
    prop_assert!(near(found.mean_jaccard, jaccards.iter().sum::<f64>() / jaccards.len() as f64));
    Ok(())
}

fn both(cases: &[Case], min_edge: Option<f32>) -> (Vec<Has<Entry>>, Vec<Has<EdgeKey>>) {
    let nodes = cases.iter().map(|case| naive::nodes(&case.set)).collect();
    let edges = cases.iter().map(|case| naive::edges(&case.set, min_edge)).collect();
    (nodes, edges)
}

proptest! {
    #![proptest_config(config(256))]

    #[test]
    fn statistics_are_those_of_the_definitions(cases in cases(), min_edge in min_edges()) {
        let (nodes, edges) = both(&cases, min_edge);
        let sets = compared(&cases);
        let (comparison, _) = Comparison::of_sets(&sets, &options(min_edge, None)).unwrap();
        check_overlap(&comparison.nodes.overlap, &nodes)?;
        check_overlap(&comparison.edges.overlap, &edges)?;
        for layer in &comparison.nodes.layers {
            check_group(&layer.overlap, &nodes, |entry| entry.layer == layer.layer)?;
        }
        for pair in &comparison.edges.pairs {
            check_group(&pair.overlap, &edges, |(source, target)| {
                (source.layer, target.layer) == (pair.source, pair.target)
            })?;
        }
        for (i, a) in edges.iter().enumerate() {
            for (j, b) in edges.iter().enumerate() {
                let shared = naive::shared(a, b);
                let opposed: Vec<_> = shared.iter().filter(|(x, y)| x.signum() != y.signum()).collect();
                let found = comparison.edges.sign_disagreement[i][j];
                prop_assert_eq!(found.count, opposed.len());
                prop_assert_eq!(found.fraction.is_some(), !shared.is_empty());
                if !shared.is_empty() {
                    prop_assert!(near(found.fraction.unwrap(), opposed.len() as f64 / shared.len() as f64));
                    let magnitude: f64 = shared.iter().map(|(x, y)| x.abs() + y.abs()).sum();
                    let of_opposed: f64 = opposed.iter().map(|(x, y)| x.abs() + y.abs()).sum();
                    prop_assert!(near(found.magnitude.unwrap(), of_opposed / magnitude));
                }
                // The values are float32, so they are equal or apart by 2^-24 of their size; deviations from a mean that
                // is off by 2^-48 are good to 2^-24.
                let (found, expected) = (comparison.edges.value_correlation[i][j], naive::pearson(&shared));
                prop_assert!(near_or_none(found, expected, 1e-6), "{:?} {:?}", found, expected);
            }
        }
    }

    #[test]
    fn what_is_unique_is_in_no_other_set(cases in cases(), min_edge in min_edges(), top in prop::option::of(0_usize..9)) {
        let (nodes, edges) = both(&cases, min_edge);
        let sets = compared(&cases);
        let options = ComparisonOptions { top, ..options(min_edge, None) };
        let (comparison, _) = Comparison::of_sets(&sets, &options).unwrap();
        for (set, found) in comparison.nodes.unique.iter().enumerate() {
            let mut expected: Vec<(Entry, f64)> = nodes[set].iter().map(|(&key, &value)| (key, value)).collect();
            expected.retain(|(key, _)| naive::having(&nodes, key).len() == 1);
            prop_assert_eq!(found.count, expected.len());
            prop_assert_eq!(found.strongest.len(), expected.len().min(top.unwrap_or(usize::MAX)));
            prop_assert!(found.strongest.windows(2).all(|two| two[0].importance >= two[1].importance));
            let least = found.strongest.last().map_or(f64::INFINITY, |last| last.importance);
            for (key, importance) in expected {
                match found.strongest.iter().find(|listed| listed.key.node == key) {
                    Some(listed) => prop_assert!(near(listed.importance, importance)),
                    // Importances are sums in another order.
                    None => prop_assert!(importance <= least * (1.0 + 1e-12)),
                }
            }
        }
        for (set, found) in comparison.edges.unique.iter().enumerate() {
            let mut expected: Vec<(EdgeKey, f64)> = edges[set].iter().map(|(&key, &value)| (key, value)).collect();
            expected.retain(|(key, _)| naive::having(&edges, key).len() == 1);
            prop_assert_eq!(found.count, expected.len());
            prop_assert_eq!(found.strongest.len(), expected.len().min(top.unwrap_or(usize::MAX)));
            prop_assert!(found.strongest.windows(2).all(|two| two[0].value.abs() >= two[1].value.abs()));
            let least = found.strongest.last().map_or(f32::INFINITY, |last| last.value.abs());
            for (key, value) in expected {
                match found.strongest.iter().find(|listed| (listed.key.source, listed.key.target) == key) {
                    Some(listed) => prop_assert_eq!(f64::from(listed.value), value),
                    None => prop_assert!(value.abs() <= f64::from(least)),
                }
            }
        }
    }

    #[test]
    fn every_edge_of_a_set_is_counted_once(cases in cases(), min_edge in min_edges()) {
        let sets = compared(&cases);
        let (comparison, _) = Comparison::of_sets(&sets, &options(min_edge, None)).unwrap();
        for (case, summary) in cases.iter().zip(&comparison.sets) {
            let values = || case.set.pairs.iter().flat_map(|pair| pair.values.iter().copied());
            prop_assert_eq!(summary.edges + summary.zero + summary.not_finite + summary.weak, values().count());
            prop_assert_eq!(summary.zero, values().filter(|&value| value == 0.0).count());
            prop_assert_eq!(summary.not_finite, values().filter(|value| !value.is_finite()).count());
            let edges = naive::edges(&case.set, min_edge);
            prop_assert_eq!(summary.edges, edges.len());
            prop_assert!(near(summary.magnitude, edges.values().map(|value| value.abs()).sum()));
            let noted = comparison.notes.iter().any(|note| note.contains(&format!("{:?}", summary.label)));
            let is_far = summary.prediction.is_some_and(|prediction| prediction.is_far);
            prop_assert_eq!(noted, summary.not_finite > 0 || is_far);
        }
    }

    #[test]
    fn the_consensus_is_what_enough_sets_have(cases in cases(), min_edge in min_edges(), k in 1_usize..6) {
        let (nodes, edges) = both(&cases, min_edge);
        let sets = compared(&cases);
        let k = (k <= sets.len()).then_some(k);
        let (comparison, consensus) = Comparison::of_sets(&sets, &options(min_edge, k)).unwrap();
        let k = k.unwrap_or(sets.len() / 2 + 1);
        prop_assert_eq!((consensus.k, comparison.options.k), (k, Some(k)));
        let expected: Vec<Entry> =
            naive::union(&nodes).into_iter().filter(|key| naive::having(&nodes, key).len() >= k).collect();
        prop_assert_eq!(consensus.nodes.iter().map(|node| node.node).collect::<Vec<_>>(), expected);
        for node in &consensus.nodes {
            let importances = naive::having(&nodes, &node.node);
            prop_assert_eq!(node.sets, importances.len());
            prop_assert!(near(node.importance, importances.iter().sum::<f64>() / importances.len() as f64));
            let value = |value: fn(&tributary_model::LayerNodes<f32>) -> &[f32]| {
                let at = |case: &Case| {
                    let of_layer = &case.set.nodes[&node.node.layer];
                    let row = of_layer.alive.row_of(node.node.position as usize, node.node.component as usize)?;
                    value(of_layer).get(row).map(|&value| f64::from(value))
                };
                let found: Vec<f64> = cases.iter().filter_map(at).collect();
                (!found.is_empty()).then(|| found.iter().sum::<f64>() / found.len() as f64)
            };
            let importance = value(|nodes| &nodes.importance);
            prop_assert!(near_or_none(node.ci.or(node.probability), importance, 1e-12));
            prop_assert!(near_or_none(node.activation, value(|nodes| &nodes.activation), 1e-12));
            prop_assert!(node.ci.is_none() || node.probability.is_none());
        }
        let expected: BTreeSet<EdgeKey> =
            naive::union(&edges).into_iter().filter(|key| naive::having(&edges, key).len() >= k).collect();
        let key = |edge: &tributary_compare::ConsensusEdge| {
            (consensus.nodes[edge.source as usize].node, consensus.nodes[edge.target as usize].node)
        };
        prop_assert_eq!(consensus.edges.iter().map(key).collect::<BTreeSet<_>>(), expected);
        prop_assert_eq!(consensus.pairs.len(), cases[0].set.pairs.len());
        for (pair, range) in cases[0].set.pairs.iter().zip(&consensus.pairs) {
            let in_pair = &consensus.edges[range.clone()];
            prop_assert!(in_pair.windows(2).all(|two| (two[0].target, two[0].source) < (two[1].target, two[1].source)));
            prop_assert!(in_pair.iter().map(key).all(|(s, t)| (s.layer, t.layer) == (pair.pair.source, pair.pair.target)));
        }
        prop_assert_eq!(consensus.pairs.iter().map(ExactSizeIterator::len).sum::<usize>(), consensus.edges.len());
        for edge in &consensus.edges {
            let values = naive::having(&edges, &key(edge));
            let count = values.len() as f64;
            let largest = values.iter().map(|value| value.abs()).fold(0.0, f64::max);
            let mean = values.iter().sum::<f64>() / count;
            let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count;
            prop_assert_eq!(edge.sets, values.len());
            // A handful of roundings of numbers of the size of the largest; the root doubles no error.
            prop_assert!((edge.mean - mean).abs() <= 1e-15 * count * largest);
            prop_assert!((edge.std - variance.sqrt()).abs() <= 1e-15 * count * largest);
            let positive = values.iter().filter(|value| **value > 0.0).count() as f64;
            prop_assert_eq!(edge.sign_agreement, positive.max(count - positive) / count);
        }
        let listed = &comparison.consensus;
        prop_assert_eq!((listed.nodes, listed.edges), (consensus.nodes.len(), consensus.edges.len()));
        prop_assert_eq!((listed.strongest_nodes.len(), listed.strongest_edges.len()), (listed.nodes, listed.edges));
        prop_assert!(listed.strongest_edges.windows(2).all(|two| two[0].mean.abs() >= two[1].mean.abs()));
        let means: BTreeMap<EdgeKey, f64> = consensus.edges.iter().map(|edge| (key(edge), edge.mean)).collect();
        for edge in &listed.strongest_edges {
            prop_assert_eq!(means[&(edge.key.source, edge.key.target)], edge.mean);
        }
    }

    #[test]
    fn identical_sets_are_alike(cases in cases(), copies in 2_usize..4) {
        let sets = compared(&vec![cases[0].clone(); copies]);
        let (comparison, consensus) = Comparison::of_sets(&sets, &options(None, Some(copies))).unwrap();
        let edges = naive::edges(&cases[0].set, None);
        for overlap in [&comparison.nodes.overlap, &comparison.edges.overlap] {
            prop_assert_eq!(overlap.union, overlap.intersection);
            let pairwise = &overlap.pairwise;
            prop_assert!(pairwise.jaccard.iter().chain(&pairwise.weighted_jaccard).flatten().all(|&x| x == 1.0));
            // The root of a square is exact.
            prop_assert!(pairwise.rank_correlation.iter().flatten().all(|&x| x.is_none_or(|x| x == 1.0)));
        }
        prop_assert!(comparison.edges.value_correlation.iter().flatten().all(|&x| x.is_none_or(|x| x == 1.0)));
        prop_assert!(comparison.edges.sign_disagreement.iter().flatten().all(|signs| signs.count == 0));
        prop_assert!(comparison.nodes.unique.iter().all(|unique| unique.count == 0));
        prop_assert!(comparison.sweep.is_none());
        prop_assert_eq!(consensus.edges.len(), edges.len());
        for edge in &consensus.edges {
            // The mean of two or three equal float32 numbers is exact in float64, where the sum is.
            prop_assert_eq!((edge.std, edge.sign_agreement), (0.0, 1.0));
        }
    }

    #[test]
    fn the_order_of_sets_decides_nothing(cases in cases(), min_edge in min_edges()) {
        let sets = cases.len();
        let turned: Vec<Case> = (0..sets).map(|at| cases[(at + 1) % sets].clone()).collect();
        let of = |cases: &[Case]| Comparison::of_sets(&compared(cases), &options(min_edge, None)).unwrap();
        let ((one, consensus), (other, other_consensus)) = (of(&cases), of(&turned));
        let at = |at: usize| (at + 1) % sets;
        for (one, other) in
            [(&one.nodes.overlap, &other.nodes.overlap), (&one.edges.overlap, &other.edges.overlap)]
        {
            prop_assert_eq!(&one.in_exactly, &other.in_exactly);
            for i in 0..sets {
                prop_assert_eq!(one.counts[at(i)], other.counts[i]);
                for j in 0..sets {
                    let (one, other) = (&one.pairwise, &other.pairwise);
                    prop_assert_eq!(one.jaccard[at(i)][at(j)], other.jaccard[i][j]);
                    prop_assert_eq!(one.weighted_jaccard[at(i)][at(j)], other.weighted_jaccard[i][j]);
                    prop_assert_eq!(one.rank_correlation[at(i)][at(j)], other.rank_correlation[i][j]);
                }
            }
        }
        for i in 0..sets {
            prop_assert_eq!(&one.nodes.unique[at(i)], &other.nodes.unique[i]);
            prop_assert_eq!(&one.edges.unique[at(i)], &other.edges.unique[i]);
        }
        prop_assert_eq!(consensus.edges.len(), other_consensus.edges.len());
        prop_assert_eq!(majority(sets), consensus.k);
        match (&one.sweep, &other.sweep) {
            (Some(one), Some(other)) => {
                prop_assert_eq!(&one.nodes, &other.nodes);
                prop_assert_eq!(&one.edges, &other.edges);
            }
            (one, other) => prop_assert!(one.is_none() && other.is_none()),
        }
    }
}
