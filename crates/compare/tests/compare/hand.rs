//! Small cases computed by hand.

use tributary_compare::{Alignment, CompareError, Comparison, ComparisonOptions, Consensus};
use tributary_graph::{Entry, Normalise, Sign, View};
use tributary_model::Layer;

use crate::case::{Case, at, c_fc_layer, compared, down_layer, small, viewed};

fn wte() -> Entry {
    at(Layer::wte(), 0, 0)
}

fn c_fc(component: u32) -> Entry {
    at(c_fc_layer(), 0, component)
}

fn down(component: u32) -> Entry {
    at(down_layer(), 0, component)
}

fn token(component: u32) -> Entry {
    at(Layer::output(), 0, component)
}

/// Attributions of the edges that two sets share: 1 and 2, -2 and 2, 3 and 5, -3 and -1, 4 and 4.
fn three() -> Vec<Case> {
    let a = small(
        "a",
        &[c_fc(0), c_fc(1), down(0), token(0)],
        &[
            (wte(), c_fc(0), 1.0),
            (wte(), c_fc(1), -2.0),
            (c_fc(0), down(0), 3.0),
            (c_fc(1), down(0), -3.0),
            (down(0), token(0), 4.0),
            (wte(), token(0), 0.5),
        ],
    );
    let b = small(
        "bb",
        &[c_fc(0), c_fc(1), c_fc(2), down(0), token(0)],
        &[
            (wte(), c_fc(0), 2.0),
            (wte(), c_fc(1), 2.0),
            (c_fc(0), down(0), 5.0),
            (c_fc(1), down(0), -1.0),
            (c_fc(2), down(0), 7.0),
            (down(0), token(0), 4.0),
        ],
    );
    let c = small("c", &[c_fc(0)], &[(wte(), c_fc(0), -1.0)]);
    vec![a, b, c]
}

fn compare(cases: &[Case], min_edge: Option<f32>, k: usize) -> (Comparison, Consensus) {
    let options = ComparisonOptions { min_edge, k: Some(k), ..ComparisonOptions::default() };
    Comparison::of_sets(&compared(cases), &options).unwrap()
}

#[test]
fn counts() {
    let (comparison, _) = compare(&three(), None, 2);
    let (nodes, edges) = (&comparison.nodes.overlap, &comparison.edges.overlap);
    assert_eq!((&nodes.counts, nodes.union, nodes.intersection), (&vec![5, 6, 2], 6, 2));
    assert_eq!(nodes.in_exactly, [1, 3, 2]);
    assert_eq!((&edges.counts, edges.union, edges.intersection), (&vec![6, 6, 1], 7, 1));
    assert_eq!(edges.in_exactly, [2, 4, 1]);
    let of_layer = |layer| comparison.nodes.layers.iter().find(|found| found.layer == layer).unwrap();
    let c_fc = &of_layer(c_fc_layer()).overlap;
    assert_eq!((&c_fc.counts, c_fc.union, c_fc.intersection), (&vec![2, 3, 1], 3, 1));
    // 2/3, 1/2 and 1/3.
    assert!((c_fc.mean_jaccard - 0.5).abs() < 1e-15);
    let down = &of_layer(down_layer()).overlap;
    assert_eq!((&down.counts, down.union, down.intersection), (&vec![1, 1, 0], 1, 0));
    assert!((down.mean_jaccard - 1.0 / 3.0).abs() < 1e-15);
    let pairs: Vec<(String, Vec<usize>)> = comparison
        .edges
        .pairs
        .iter()
        .map(|pair| (format!("{}>{}", pair.source, pair.target), pair.overlap.counts.clone()))
        .collect();
    let expected = [
        ("wte>h.0.mlp.c_fc", vec![2, 2, 1]),
        ("h.0.mlp.c_fc>h.0.mlp.down_proj", vec![2, 3, 0]),
        ("wte>output", vec![1, 0, 0]),
        ("h.0.mlp.down_proj>output", vec![1, 1, 0]),
    ];
    assert_eq!(pairs, expected.map(|(pair, counts)| (pair.to_owned(), counts)));
}

#[test]
fn similarities() {
    let (comparison, _) = compare(&three(), None, 2);
    let pairwise = &comparison.edges.overlap.pairwise;
    let [ab, ac, bc] = [(0, 1), (0, 2), (1, 2)];
    let of = |matrix: &Vec<Vec<f64>>, (a, b): (usize, usize)| {
        assert_eq!(matrix[a][b], matrix[b][a]);
        matrix[a][b]
    };
    assert_eq!([ab, ac, bc].map(|at| of(&pairwise.jaccard, at)), [5.0 / 7.0, 1.0 / 6.0, 1.0 / 6.0]);
    // Least 1 + 2 + 3 + 1 + 4; most 2 + 2 + 5 + 3 + 4 and 7 and 0.5. All sums are exact.
    assert_eq!([ab, ac, bc].map(|at| of(&pairwise.weighted_jaccard, at)), [11.0 / 23.5, 1.0 / 13.5, 1.0 / 21.0]);
    // Importances 3.5, 4, 5, 10, 4.5 and 4, 7, 3, 17, 4, with 7 that only the second has.
    assert_eq!(comparison.nodes.overlap.pairwise.weighted_jaccard[0][1], 24.5 / 44.5);
    // Ranks 1, 2, 3.5, 3.5, 5 and 2.5, 2.5, 5, 1, 4: covariance 3.5, variances 9.5.
    let rank = pairwise.rank_correlation[0][1].unwrap();
    assert!((rank - 7.0 / 19.0).abs() < 1e-15, "{rank}");
    // Values 1, -2, 3, -3, 4 (mean 0.6) and 2, 2, 5, -1, 4 (mean 2.4): covariance 2 - 4 + 15 + 3 + 16 - 5 * 0.6 * 2.4,
    // variances 39 - 5 * 0.36 and 50 - 5 * 5.76.
    let value = comparison.edges.value_correlation[0][1].unwrap();
    assert!((value - 24.8 / (37.2_f64 * 21.2).sqrt()).abs() < 1e-15, "{value}");
    assert_eq!((pairwise.rank_correlation[0][2], comparison.edges.value_correlation[0][2]), (None, None));
    let signs = &comparison.edges.sign_disagreement;
    let of = |a: usize, b: usize| (signs[a][b].count, signs[a][b].fraction, signs[a][b].magnitude);
    assert_eq!(of(0, 1), (1, Some(0.2), Some(4.0 / 27.0)));
    assert_eq!((of(0, 2), of(1, 1)), ((1, Some(1.0), Some(1.0)), (0, Some(0.0), Some(0.0))));
}

#[test]
fn unique_nodes_and_edges() {
    let (comparison, _) = compare(&three(), None, 2);
    assert_eq!(comparison.nodes.unique.iter().map(|unique| unique.count).collect::<Vec<_>>(), [0, 1, 0]);
    let node = comparison.nodes.unique[1].strongest[0];
    // Of three components at the second set, whose name has two letters.
    assert_eq!((node.key.node, node.importance, node.ci), (c_fc(2), 7.0, Some(0.125 + 2.0 / 64.0 + 0.25)));
    assert_eq!(comparison.edges.unique.iter().map(|unique| unique.count).collect::<Vec<_>>(), [1, 1, 0]);
    let edges = [0, 1].map(|set| comparison.edges.unique[set].strongest[0]);
    assert_eq!((edges[0].key.source, edges[0].key.target, edges[0].value), (wte(), token(0), 0.5));
    assert_eq!((edges[1].key.source, edges[1].key.target, edges[1].value), (c_fc(2), down(0), 7.0));
}

#[test]
fn consensus_of_two() {
    let (_, consensus) = compare(&three(), None, 2);
    assert_eq!(
        consensus.nodes.iter().map(|node| node.node).collect::<Vec<_>>(),
        [wte(), c_fc(0), c_fc(1), down(0), token(0)]
    );
    let [first, second] = [&consensus.nodes[1], &consensus.nodes[2]];
    // Importances 4, 7 and 1; CI 0.125 and an eighth for every letter of the name.
    assert_eq!((first.sets, first.importance, first.ci), (3, 4.0, Some((3.0 * 0.125 + 4.0 / 8.0) / 3.0)));
    assert_eq!((second.sets, second.importance), (2, 4.0));
    assert_eq!((consensus.nodes[0].ci, consensus.nodes[0].activation), (None, None));
    assert_eq!((consensus.nodes[4].ci, consensus.nodes[4].probability), (None, Some(0.125 + 1.5 / 8.0)));
    let found: Vec<_> = consensus
        .edges
        .iter()
        .map(|edge| (edge.source, edge.target, edge.sets, edge.mean, edge.std, edge.sign_agreement))
        .collect();
    assert_eq!(
        found[1..],
        [(0, 2, 2, 0.0, 2.0, 0.5), (1, 3, 2, 4.0, 1.0, 1.0), (2, 3, 2, -2.0, 1.0, 1.0), (3, 4, 2, 4.0, 0.0, 1.0),]
    );
    // 1, 2 and -1: squares of the distances 1/9, 16/9 and 25/9.
    let (source, target, sets, mean, std, agreement) = found[0];
    assert_eq!((source, target, sets, agreement), (0, 1, 3, 2.0 / 3.0));
    assert!((mean - 2.0 / 3.0).abs() < 1e-15 && (std - 14.0_f64.sqrt() / 3.0).abs() < 1e-15, "{mean} {std}");
}

#[test]
fn weak_edges_do_not_count() {
    let (comparison, consensus) = compare(&three(), Some(2.0), 2);
    assert_eq!(comparison.edges.overlap.counts, [4, 5, 0]);
    assert_eq!(comparison.sets.iter().map(|set| set.weak).collect::<Vec<_>>(), [2, 1, 1]);
    assert_eq!(comparison.options.min_edge, Some(2.0));
    // Nodes and their importance are the graph's.
    assert_eq!(comparison.nodes.overlap.counts, [5, 6, 2]);
    assert_eq!(comparison.nodes.overlap.pairwise.weighted_jaccard[0][1], 24.5 / 44.5);
    assert_eq!(consensus.edges.len(), 3);
}

#[test]
fn a_view_is_of_all_that_is_compared() {
    let case = |name, values: [f32; 2], activations: [f32; 2]| {
        let edges = [(wte(), c_fc(0), values[0]), (wte(), c_fc(1), values[1])];
        let mut case = small(name, &[c_fc(0), c_fc(1)], &edges);
        case.set.nodes.get_mut(&c_fc_layer()).unwrap().activation = activations.to_vec();
        case
    };
    let cases = [case("a", [3.0, -4.0], [1.0, -2.0]), case("b", [8.0, 6.0], [-0.5, 0.0])];
    let view = View { sign: Sign::Target, normalise: Normalise::Layer };
    let options = ComparisonOptions { k: Some(1), ..ComparisonOptions::default() };
    let (comparison, consensus) = Comparison::of_sets(&viewed(&cases, view), &options).unwrap();
    // 3 and 4 by 5; -8 and 0 by 8, where as computed there are 3, -4, 8 and 6.
    assert_eq!(comparison.view, view);
    assert_eq!(comparison.sets.iter().map(|set| (set.edges, set.zero)).collect::<Vec<_>>(), [(2, 0), (1, 1)]);
    let magnitudes = [f64::from(0.6_f32) + f64::from(0.8_f32), 1.0];
    assert_eq!(comparison.sets.iter().map(|set| set.magnitude).collect::<Vec<_>>(), magnitudes);
    assert_eq!(comparison.edges.sign_disagreement[0][1].count, 1);
    let found: Vec<_> = consensus.edges.iter().map(|edge| (edge.mean, edge.sets)).collect();
    assert_eq!(found, [((f64::from(0.6_f32) - 1.0) / 2.0, 2), (f64::from(0.8_f32), 1)]);
    let importances: Vec<f64> = consensus.nodes.iter().map(|node| node.importance).collect();
    assert_eq!(importances, [magnitudes[0].midpoint(1.0), f64::from(0.6_f32).midpoint(1.0), f64::from(0.8_f32) / 2.0]);
    // In the view, not as computed.
    let options = ComparisonOptions { min_edge: Some(0.7), ..options };
    let (comparison, _) = Comparison::of_sets(&viewed(&cases, view), &options).unwrap();
    assert_eq!(comparison.sets.iter().map(|set| (set.edges, set.weak)).collect::<Vec<_>>(), [(1, 1), (1, 0)]);
    assert_eq!(compare(&cases, Some(0.7), 1).0.edges.overlap.counts, [2, 2]);
}

#[test]
fn edges_that_are_not_finite_do_not_count_and_are_named() {
    let alive = [c_fc(0), c_fc(1), token(0)];
    let edges = |value| [(wte(), c_fc(0), value), (wte(), c_fc(1), 1.0), (wte(), token(0), f32::NEG_INFINITY)];
    let cases = [small("a", &alive, &edges(f32::NAN)), small("\u{1b}b", &alive, &edges(2.0))];
    let (comparison, consensus) = compare(&cases, None, 1);
    assert_eq!(comparison.edges.overlap.counts, [1, 2]);
    assert_eq!(comparison.sets.iter().map(|set| set.not_finite).collect::<Vec<_>>(), [2, 1]);
    assert_eq!(
        comparison.notes,
        [
            "2 edges of \"a\" are not finite and count as absent",
            // Escaped: the sentences go to terminals.
            "1 edges of \"\\u{1b}b\" are not finite and count as absent",
        ]
    );
    assert_eq!(consensus.edges.iter().map(|edge| (edge.mean, edge.sets)).collect::<Vec<_>>(), [(2.0, 1), (1.0, 2)]);
    let pairwise = &comparison.edges.overlap.pairwise;
    assert_eq!((pairwise.jaccard[0][1], pairwise.weighted_jaccard[0][1]), (0.5, 1.0 / 3.0));
}

#[test]
fn empty_sets_are_equal() {
    let cases = [small("a", &[], &[]), small("b", &[], &[]), small("c", &[c_fc(0)], &[(wte(), c_fc(0), 1.0)])];
    let (comparison, consensus) = compare(&cases, None, 2);
    let pairwise = &comparison.edges.overlap.pairwise;
    assert_eq!((pairwise.jaccard[0][1], pairwise.weighted_jaccard[0][1]), (1.0, 1.0));
    assert_eq!((pairwise.jaccard[0][2], pairwise.weighted_jaccard[0][2]), (0.0, 0.0));
    assert_eq!((pairwise.rank_correlation[0][1], pairwise.rank_correlation[2][2]), (None, None));
    let signs = comparison.edges.sign_disagreement[0][1];
    assert_eq!((signs.count, signs.fraction, signs.magnitude), (0, None, None));
    // `wte` has a node at every position, whatever is alive.
    assert_eq!(comparison.nodes.overlap.counts, [1, 1, 2]);
    assert_eq!((consensus.nodes.len(), consensus.edges.len()), (1, 0));
}

#[test]
fn what_cannot_be_asked_for_is_refused() {
    let sets = compared(&three());
    for found in [-1.0, f32::NAN, f32::INFINITY] {
        assert!(matches!(Alignment::new(&sets, Some(found)), Err(CompareError::MinEdge { .. })), "{found}");
    }
    let alignment = Alignment::new(&sets, None).unwrap();
    for k in [0, 4] {
        let error = Consensus::new(&alignment, Some(k)).unwrap_err().to_string();
        assert!(error.contains(&format!("at least {k} sets")) && error.ends_with("give 1 to 3"), "{error}");
    }
    let view = View { sign: Sign::Target, ..View::default() };
    let error = sets[0].check_comparable(&viewed(&three(), view)[1]).unwrap_err().to_string();
    assert!(error.ends_with("their attributions are looked at in two ways; give them one view"), "{error}");
    let error = Alignment::new(&sets[..1], None).unwrap_err().to_string();
    assert!(error.starts_with("there is only \"a\" to compare; give"), "{error}");
}
