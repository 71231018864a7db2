//! The consensus as a result folder, read back.

use std::collections::BTreeSet;
use std::path::Path;

use proptest::prelude::*;
use tributary_compare::{Alignment, CONSENSUS_METHOD, CONSENSUS_SETS, Comparison, ComparisonOptions, Consensus, open};
use tributary_graph::{Graph, Normalise, View};
use tributary_model::Remedy;
use tributary_results::{Manifest, ResultError, ResultFolder, Settings};
use tributary_testing::config;

use crate::case::{Case, cases, positions, prompt, settings, viewed, write};

fn consensus_of(
    parent: &Path,
    cases: &[Case],
    settings: Settings,
    k: usize,
) -> (Consensus, ResultFolder, ResultFolder) {
    let with_prompt: Vec<_> = cases.iter().map(|case| (case.clone(), prompt(positions(&case.set)))).collect();
    let out = parent.join("out");
    write(&out, &with_prompt, settings, |_| {});
    let result = ResultFolder::open(&out).unwrap();
    let sets = open(std::slice::from_ref(&result), &[], None, View::default()).unwrap();
    let alignment = Alignment::new(&sets, Some(0.25)).unwrap();
    let consensus = Consensus::new(&alignment, Some(k)).unwrap();
    let manifest = consensus.write(&alignment, &parent.join("consensus"), false).unwrap();
    let folder = ResultFolder::open(&parent.join("consensus")).unwrap();
    assert_eq!(*folder.manifest(), manifest);
    (consensus, result, folder)
}

proptest! {
    // Each case writes two folders.
    #![proptest_config(config(32))]

    #[test]
    fn what_is_read_is_the_consensus(cases in cases(), k in 1_usize..3, implied_index: bool) {
        let parent = tempfile::tempdir().unwrap();
        let settings = Settings { implied_index, ci_threshold: 0.125, ..settings() };
        let (consensus, result, folder) = consensus_of(parent.path(), &cases, settings, k);
        let values: [fn(&tributary_compare::ConsensusEdge) -> f64; 4] =
            [|edge| edge.mean, |edge| edge.std, |edge| edge.sign_agreement, |edge| edge.sets as f64];
        for ((name, what), value) in CONSENSUS_SETS.into_iter().zip(values) {
            let set = folder.read_set(name).unwrap();
            let graph = Graph::new(&set);
            prop_assert_eq!(graph.nodes.len(), consensus.nodes.len());
            for (found, expected) in graph.nodes.iter().zip(&consensus.nodes) {
                prop_assert_eq!(found.entry, expected.node);
                let stored = |mean: Option<f64>| mean.map(|mean| mean as f32);
                prop_assert_eq!(found.ci, stored(expected.ci));
                prop_assert_eq!(found.probability, stored(expected.probability));
                prop_assert_eq!(found.activation, stored(expected.activation));
            }
            // What is not zero here is in the consensus, with this value; and what is there is here.
            let mut expected: BTreeSet<(u32, u32, u32)> = consensus
                .edges
                .iter()
                .map(|edge| (edge.source, edge.target, (value(edge) as f32).to_bits()))
                .collect();
            prop_assert_eq!(expected.len(), consensus.edges.len());
            for edge in &graph.edges {
                let known = expected.remove(&(edge.source, edge.target, edge.value.to_bits()));
                prop_assert!(known || edge.value == 0.0, "{:?}", edge);
            }
            prop_assert_eq!(expected.len(), 0);
            let metadata = &folder.manifest().set(name).unwrap().metadata.as_ref().unwrap()["consensus"];
            prop_assert_eq!((metadata["value"].as_str(), metadata["k"].as_u64()), (Some(what), Some(k as u64)));
            prop_assert_eq!(metadata["min_edge"].as_f64(), Some(0.25));
            let of: Vec<_> = metadata["of"].as_array().unwrap().iter().map(|of| of["sha256"].as_str().unwrap()).collect();
            prop_assert_eq!(of, result.manifest().sets.iter().map(|set| &set.sha256[..]).collect::<Vec<_>>());
            for (layer, nodes) in &set.nodes {
                let originals: BTreeSet<_> =
                    cases.iter().flat_map(|case| case.set.nodes[layer].original.iter()).collect();
                prop_assert_eq!(nodes.original.iter().collect::<BTreeSet<_>>(), originals);
            }
        }
        let (ours, theirs) = (folder.manifest(), result.manifest());
        prop_assert_eq!((&ours.run.model, &ours.pairs), (&theirs.run.model, &theirs.pairs));
        let prompts = |manifest: &Manifest| {
            let texts = manifest.prompts.iter().map(|prompt| (prompt.tokens.clone(), prompt.token_strings.clone()));
            texts.collect::<Vec<_>>()
        };
        prop_assert_eq!(prompts(ours), prompts(theirs));
        // The means of several sets are the graph of no model that predicts anything.
        prop_assert!(ours.sets.iter().all(|set| set.prediction.is_none()) && ours.run.is_consensus());
        prop_assert_eq!(&ours.run.method, CONSENSUS_METHOD);
        prop_assert!(ours.run.inputs.is_none() && ours.settings.ci_threshold == 0.125);
        prop_assert_eq!(ours.settings.implied_index, implied_index);
        for (token, string) in &ours.output_tokens {
            prop_assert_eq!(Some(string), theirs.output_tokens.get(token));
        }
        let is_output = |node: &&tributary_compare::ConsensusNode| node.node.layer.is_output();
        for node in consensus.nodes.iter().filter(is_output) {
            let token = node.node.component;
            prop_assert_eq!(ours.output_tokens.get(&token), theirs.output_tokens.get(&token));
        }
        // A consensus is an ordinary result: it can be compared too.
        let alone = open(std::slice::from_ref(&folder), &[], None, View::default()).unwrap_err().to_string();
        prop_assert!(alone.contains("there is only \"consensus\""), "the others are no attributions: {}", alone);
        let names = CONSENSUS_SETS.map(|(name, _)| name.to_owned());
        let sets = open(&[folder], &names, None, View::default()).unwrap();
        let (comparison, _) = Comparison::of_sets(&sets, &ComparisonOptions::default()).unwrap();
        prop_assert_eq!(comparison.nodes.overlap.intersection, consensus.nodes.len());
        prop_assert_eq!(comparison.edges.overlap.counts[3], consensus.edges.len());
    }
}

#[test]
fn attributions_in_a_view_are_no_result() {
    let cases = [crate::case::small("a", &[], &[]), crate::case::small("b", &[], &[])];
    let view = View { normalise: Normalise::Target, ..View::default() };
    let sets = viewed(&cases, view);
    let alignment = Alignment::new(&sets, None).unwrap();
    let out = tempfile::tempdir().unwrap();
    let error = Consensus::new(&alignment, None).unwrap().write(&alignment, &out.path().join("out"), true).unwrap_err();
    assert!(error.to_string().contains("(divided by the L2 norm over the edges to the same node)"), "{error}");
    assert_eq!(error.remedy(), Some(Remedy::AsComputed));
    assert_eq!(std::fs::read_dir(out.path()).unwrap().count(), 0);
}

#[test]
fn a_result_that_is_there_is_kept() {
    let parent = tempfile::tempdir().unwrap();
    let case = |name| crate::case::small(name, &[], &[]);
    let (_, result, _) = consensus_of(parent.path(), &[case("a"), case("b")], settings(), 1);
    let sets = open(&[result], &[], None, View::default()).unwrap();
    let alignment = Alignment::new(&sets, None).unwrap();
    let consensus = Consensus::new(&alignment, None).unwrap();
    let error = consensus.write(&alignment, &parent.path().join("out"), false).unwrap_err();
    assert!(matches!(error, tributary_compare::CompareError::Result(ResultError::Occupied { .. })), "{error}");
    consensus.write(&alignment, &parent.path().join("out"), true).unwrap();
    assert!(ResultFolder::open(&parent.path().join("out")).unwrap().manifest().set("consensus_sets").is_some());
}
