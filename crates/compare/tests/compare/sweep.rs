//! What dies along a sparsity coefficient.

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::json;
use tributary_compare::{Comparison, ComparisonOptions, Course, LastAlive, Sweep};
use tributary_graph::Entry;
use tributary_model::Layer;
use tributary_testing::config;

use crate::case::{Case, at, c_fc_layer, cases, compared, down_layer, small};
use crate::naive::{self, Has};

fn sweep(cases: &[Case], top: Option<usize>) -> Option<Sweep> {
    let options = ComparisonOptions { top, ..ComparisonOptions::default() };
    Comparison::of_sets(&compared(cases), &options).unwrap().0.sweep
}

#[test]
fn deaths_by_hand() {
    let (wte, a, b, c, d) = (
        at(Layer::wte(), 0, 0),
        at(c_fc_layer(), 0, 0),
        at(c_fc_layer(), 0, 1),
        at(c_fc_layer(), 0, 2),
        at(down_layer(), 0, 0),
    );
    let cases = [
        // Not in the order of their coefficients, and one without.
        small("coeff_3", &[a, c], &[(wte, a, 1.0)]),
        small("coeff_2-seed_0", &[a, b], &[(wte, b, -5.0)]),
        small("model", &[d, at(down_layer(), 0, 2)], &[]),
        small("coeff_1", &[a, b, c], &[(wte, a, 1.0), (wte, b, 9.0), (wte, c, 0.5)]),
        small("coeff_2-seed_1", &[a, b, d], &[(wte, b, 3.0), (a, d, 2.0)]),
    ];
    let sweep = sweep(&cases, None).unwrap();
    assert_eq!(sweep.found_in, "name coeff");
    assert_eq!(sweep.without, [2]);
    let steps: Vec<_> = sweep.steps.iter().map(|step| (step.coefficient, &step.sets[..])).collect();
    assert_eq!(steps, [(1.0, &[3][..]), (2.0, &[1, 4]), (3.0, &[0])]);
    let nodes = &sweep.nodes.course;
    let counts: Vec<_> =
        nodes.steps.iter().map(|step| (step.alive, step.appeared, step.died, step.died_of_first)).collect();
    // wte, a, b, c; then wte, a, b, d; then wte, a, c. c is away in between, so it did not die.
    assert_eq!(counts, [(4, 4, 0, 0), (4, 1, 0, 0), (3, 0, 2, 1)]);
    let last = |last: &LastAlive<_>| {
        let tributary_compare::NodeKey { node } = last.key;
        (node, last.magnitude, last.since, last.returned)
    };
    assert_eq!(
        nodes.steps[2].strongest_deaths.iter().map(last).collect::<Vec<_>>(),
        [
            // The larger of 5 and 3, where it was last alive, and not 9.
            (b, 5.0, 1.0, false),
            (d, 2.0, 2.0, false),
        ]
    );
    assert_eq!((nodes.survivors, nodes.returning), (2, 1));
    assert_eq!(
        nodes.strongest_survivors.iter().map(last).collect::<Vec<_>>(),
        [(wte, 1.0, 1.0, false), (a, 1.0, 1.0, false)]
    );
    let c_fc = sweep.nodes.layers.iter().find(|course| course.layer == c_fc_layer()).unwrap();
    assert_eq!((&c_fc.alive[..], &c_fc.died[..]), (&[3, 2, 2][..], &[0, 0, 1][..]));
    let edges = &sweep.edges.course;
    let counts: Vec<_> =
        edges.steps.iter().map(|step| (step.alive, step.appeared, step.died, step.died_of_first)).collect();
    // wte->a, wte->b, wte->c; then wte->b, a->d; then wte->a.
    assert_eq!(counts, [(3, 3, 0, 0), (2, 1, 1, 1), (1, 0, 2, 1)]);
    assert_eq!((edges.survivors, edges.returning), (0, 1));
    let death = edges.steps[2].strongest_deaths[0];
    assert_eq!((death.key.source, death.key.target, death.magnitude), (wte, b, 5.0));
}

#[test]
fn without_different_coefficients_there_is_no_sweep() {
    let named = |names: [&str; 2]| names.map(|name| small(name, &[], &[]));
    assert!(sweep(&named(["seed_0", "seed_1"]), None).is_none());
    assert!(sweep(&named(["coeff_1-a", "coeff_1-b"]), None).is_none());
    assert!(sweep(&named(["coeff_1", "model"]), None).is_none());
    let mut cases = named(["coeff_1", "coeff_2"]);
    assert_eq!(sweep(&cases, None).unwrap().found_in, "name coeff");
    cases[0].metadata = Some(json!({ "imp_min_coeff": 3 }));
    cases[1].metadata = Some(json!({ "imp_min_coeff": "1e-1" }));
    let sweep = sweep(&cases, None).unwrap();
    assert_eq!(sweep.found_in, "metadata imp_min_coeff");
    assert_eq!(sweep.steps.iter().map(|step| step.coefficient).collect::<Vec<_>>(), [0.1, 3.0]);
}

/// `groups` are the sets of each step.
fn check<K: Ord + Copy, P: Copy>(
    course: &Course<P>,
    sets: &[Has<K>],
    groups: &[Vec<usize>],
    coefficients: &[f64],
    key: impl Fn(P) -> K,
) -> Result<(), TestCaseError> {
    let alive = |step: usize, item: &K| groups[step].iter().any(|&set| sets[set].contains_key(item));
    let items: BTreeSet<K> = groups.iter().flatten().flat_map(|&set| sets[set].keys().copied()).collect();
    let steps = groups.len();
    let life = |item: &K| (0..steps).filter(|&step| alive(step, item)).collect::<Vec<usize>>();
    for step in 0..steps {
        let found = &course.steps[step];
        let count = |is: &dyn Fn(&[usize]) -> bool| items.iter().filter(|item| is(&life(item))).count();
        prop_assert_eq!(found.alive, count(&|life| life.contains(&step)));
        prop_assert_eq!(found.appeared, count(&|life| life[0] == step));
        prop_assert_eq!(found.died, count(&|life| life.last().unwrap() + 1 == step));
        prop_assert_eq!(found.died_of_first, count(&|life| life.last().unwrap() + 1 == step && life[0] == 0));
        prop_assert_eq!(found.strongest_deaths.len(), found.died);
        prop_assert!(found.strongest_deaths.windows(2).all(|two| two[0].magnitude >= two[1].magnitude));
        for death in &found.strongest_deaths {
            let item = key(death.key);
            let life = life(&item);
            prop_assert_eq!(life.last().unwrap() + 1, step);
            prop_assert_eq!(death.since, coefficients[life[0]]);
            prop_assert_eq!(death.returned, life.windows(2).any(|two| two[0] + 1 < two[1]));
            let magnitudes = groups[step - 1].iter().filter_map(|&set| sets[set].get(&item)).map(|value| value.abs());
            let largest = magnitudes.fold(0.0, f64::max);
            // Importances are sums in another order.
            prop_assert!((death.magnitude - largest).abs() <= 1e-12 * largest);
        }
    }
    // All that ever appeared died or is there at the end.
    let died: usize = course.steps.iter().map(|step| step.died).sum();
    prop_assert_eq!(course.steps.iter().map(|step| step.appeared).sum::<usize>(), items.len());
    prop_assert_eq!(died + course.steps[steps - 1].alive, items.len());
    prop_assert_eq!(course.survivors, items.iter().filter(|item| life(item).len() == steps).count());
    prop_assert_eq!(course.strongest_survivors.len(), course.survivors);
    let returned = |item: &&K| life(item).windows(2).any(|two| two[0] + 1 < two[1]);
    prop_assert_eq!(course.returning, items.iter().filter(returned).count());
    Ok(())
}

proptest! {
    #![proptest_config(config(256))]

    #[test]
    fn courses_are_those_of_the_definitions(cases in cases()) {
        let coefficient = |case: &Case| case.metadata.as_ref().map(|metadata| metadata["imp_min_coeff"].as_f64().unwrap());
        let mut coefficients: Vec<f64> = cases.iter().filter_map(coefficient).collect();
        coefficients.sort_by(f64::total_cmp);
        coefficients.dedup();
        let found = sweep(&cases, None);
        prop_assert_eq!(found.is_some(), coefficients.len() > 1);
        if let Some(sweep) = found {
            let group = |&step: &f64| (0..cases.len()).filter(|&set| coefficient(&cases[set]) == Some(step)).collect();
            let groups: Vec<Vec<usize>> = coefficients.iter().map(group).collect();
            prop_assert_eq!(sweep.steps.iter().map(|step| step.coefficient).collect::<Vec<_>>(), coefficients.clone());
            prop_assert_eq!(sweep.steps.iter().map(|step| step.sets.clone()).collect::<Vec<_>>(), groups.clone());
            let nodes: Vec<Has<Entry>> = cases.iter().map(|case| naive::nodes(&case.set)).collect();
            let edges: Vec<_> = cases.iter().map(|case| naive::edges(&case.set, None)).collect();
            check(&sweep.nodes.course, &nodes, &groups, &coefficients, |key| key.node)?;
            check(&sweep.edges.course, &edges, &groups, &coefficients, |key| (key.source, key.target))?;
            for step in 0..groups.len() {
                let alive: usize = sweep.nodes.layers.iter().map(|layer| layer.alive[step]).sum();
                let died: usize = sweep.nodes.layers.iter().map(|layer| layer.died[step]).sum();
                prop_assert_eq!((alive, died), (sweep.nodes.course.steps[step].alive, sweep.nodes.course.steps[step].died));
                for pair in &sweep.edges.pairs {
                    let of_pair = sweep.edges.course.steps[step].strongest_deaths.iter();
                    let of_pair = of_pair.filter(|death| {
                        (death.key.source.layer, death.key.target.layer) == (pair.source, pair.target)
                    });
                    prop_assert_eq!(pair.died[step], of_pair.count());
                }
            }
        }
    }
}
