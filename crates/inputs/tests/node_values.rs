//! CI-set files of the fourth form: values of single nodes, as the published app exports them.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fs;

use proptest::prelude::*;
use tempfile::TempDir;
use tributary_inputs::test_support::{RandomWeights, Style, write_run};
use tributary_inputs::{CiSetFile, CiSetFormat, InputError, RunOptions, TrainedRun};
use tributary_testing::config;

struct Fixture {
    folder: TempDir,
    run: TrainedRun,
}

impl Fixture {
    fn new(random: &RandomWeights) -> Self {
        let folder = tempfile::tempdir().unwrap();
        write_run(folder.path(), &random.weights(), Style::Current);
        let run = TrainedRun::load(folder.path(), &RunOptions::default()).unwrap();
        Self { folder, run }
    }

    fn read(&self, json: &str) -> Result<CiSetFile, InputError> {
        let file = self.folder.path().join("ci.json");
        fs::write(&file, json).unwrap();
        self.run.ci_sets(&file, &[])
    }

    #[track_caller]
    fn assert_refused(&self, values: &str, part: &str) {
        let message = self.read(&one(values)).expect_err("the file is broken").to_string();
        assert!(message.contains("ci.json: ") && message.contains(part), "{message:?} lacks {part:?}");
    }
}

fn one(values: &str) -> String {
    format!("{{\"prompt\": \"w1 w2 w3\", \"node_ci_vals\": {{{values}}}}}")
}

/// What the app calls a layer, by the path that it has in a run.
fn short(path: &str) -> String {
    let parts: Vec<&str> = path.split('.').collect();
    let module = match parts[3] {
        "q_proj" => "q",
        "k_proj" => "k",
        "v_proj" => "v",
        "o_proj" => "o",
        "c_fc" | "up_proj" => "up",
        "gate_proj" => "gate",
        "down_proj" => "down",
        other => panic!("{other}"),
    };
    format!("{}.{}.{module}", parts[1], parts[2])
}

proptest! {
    #![proptest_config(config(32))]

    /// Whichever way layers are spelt and in whatever order, the sets are those of the dense form.
    #[test]
    fn values_are_those_of_the_dense_form(
        picks in prop::collection::vec((any::<prop::sample::Index>(), 0_u16..=1000, any::<bool>()), 0..40),
        is_llama in any::<bool>(),
    ) {
        let random = if is_llama { RandomWeights::llama_simple_mlp(3) } else { RandomWeights::gpt2_simple(3) };
        let fixture = Fixture::new(&random);
        let components = fixture.run.weights.component_counts();
        let nodes: Vec<(String, usize, usize)> = components
            .iter()
            .flat_map(|(layer, &count)| {
                let path = layer.path().to_owned();
                (0..3).flat_map(move |position| {
                    let path = path.clone();
                    (0..count).map(move |component| (path.clone(), position, component))
                })
            })
            .collect();
        let mut chosen = BTreeMap::new();
        for (at, value, is_short) in picks {
            chosen.insert(at.get(&nodes).clone(), (f32::from(value) / 1000.0, is_short));
        }
        let mut keys: Vec<String> = chosen
            .iter()
            .map(|((path, position, component), (value, is_short))| {
                let layer = if *is_short { short(path) } else { path.clone() };
                format!("\"{layer}:{position}:{component}\": {value:?}")
            })
            .collect();
        keys.reverse();
        let dense: Vec<String> = components
            .iter()
            .map(|(layer, &count)| {
                let value = |position, component| {
                    chosen.get(&(layer.path().to_owned(), position, component)).map_or(0.0, |(value, _)| *value)
                };
                let row = |position| (0..count).map(|component| value(position, component)).collect::<Vec<f32>>();
                format!("{:?}: {:?}", layer.path(), (0..3).map(row).collect::<Vec<_>>())
            })
            .collect();
        let sparse = fixture.read(&one(&keys.join(", "))).unwrap();
        let dense = format!("{{\"prompt\": \"w1 w2 w3\", \"optimized_ci\": {{{}}}}}", dense.join(", "));
        prop_assert_eq!(sparse.format, CiSetFormat::NodeValues);
        prop_assert_eq!(sparse.sets, fixture.read(&dense).unwrap().sets);
        prop_assert!(sparse.notes.is_empty(), "{:?}", sparse.notes);
    }
}

#[test]
fn several_sets_and_metadata() {
    let fixture = Fixture::new(&RandomWeights::gpt2_simple(3));
    let json =
        "{\"tokens\": [1, 2], \"metadata\": {\"b\": 7}, \"node_ci_vals\": {\"a\": {\"0.attn.q:1:0\": 0.5}, \"b\": {}}}";
    let file = fixture.read(json).unwrap();
    assert_eq!(file.sets.iter().map(|set| &*set.name).collect::<Vec<_>>(), ["a", "b"]);
    let values = |set: usize| -> Vec<(String, f32)> {
        let layers = file.sets[set].layers.iter();
        layers.flat_map(|(layer, ci)| ci.values().map(|value| (layer.to_string(), value)).collect::<Vec<_>>()).collect()
    };
    assert_eq!(values(0), [("h.0.attn.q_proj".to_owned(), 0.5)]);
    assert!(values(1).is_empty());
    assert_eq!(file.metadata["b"], 7);
    let message = fixture.read(&json.replace("{\"b\": 7}", "{\"c\": 7}")).unwrap_err().to_string();
    assert!(message.contains("metadata: there is no set \"c\""), "{message}");
    let single = one("\"0.attn.q:1:0\": 0.5").replacen('{', "{\"metadata\": {\"loss\": 1}, ", 1);
    assert_eq!(fixture.read(&single).unwrap().metadata["optimized"]["loss"], 1);
}

#[test]
fn layers_of_gated_and_fused_models_have_the_names_of_the_app() {
    for (class, names) in [
        ("LlamaSimple", &["0.glu.gate", "0.glu.up", "0.glu.down", "0.attn.o", "0.mlp.down"][..]),
        ("GPT2", &["0.attn_fused.qkv", "0.attn_fused.o", "0.mlp.up", "0.mlp.down"]),
    ] {
        let fixture = Fixture::new(&RandomWeights::of_class(class, 4));
        for name in names {
            let file = fixture.read(&one(&format!("\"{name}:1:0\": 0.5"))).unwrap();
            let mut with_any = file.sets[0].layers.iter().filter(|(_, ci)| ci.values().count() > 0);
            let (layer, ci) = with_any.next().unwrap();
            assert!(layer.is_canonically(name) && with_any.next().is_none(), "{layer} for {name}");
            assert_eq!(ci.get(1, 0).to_bits(), 0.5_f32.to_bits());
        }
    }
}

#[test]
fn nodes_that_are_no_components_are_counted() {
    let fixture = Fixture::new(&RandomWeights::gpt2_simple(3));
    let values = "\"embed:0:0\": 1.0, \"output:2:8\": 0.3, \"wte:1:0\": 1.0, \"0.attn.q:1:0\": 0.5";
    let file = fixture.read(&one(values)).unwrap();
    let [note] = file.notes.as_slice() else { panic!("{:?}", file.notes) };
    assert!(note.ends_with("ci.json: 3 values of embed and output are left out: these are no components"), "{note}");
    assert_eq!(file.sets[0].layers.values().flat_map(|ci| ci.values().collect::<Vec<_>>()).collect::<Vec<_>>(), [0.5]);
}

#[test]
fn keys_and_values_that_do_not_fit() {
    let fixture = Fixture::new(&RandomWeights::gpt2_simple(3));
    for (values, part) in [
        ("\"0.attn.q\": 1", "the key \"0.attn.q\": expected LAYER:POSITION:COMPONENT, such as 0.attn.q:3:17"),
        ("\"0.attn.q:0\": 1", "expected LAYER:POSITION:COMPONENT"),
        ("\"0.attn.q:x:0\": 1", "the key \"0.attn.q:x:0\": its position is \"x\", expected a whole number from 0"),
        ("\"0.attn.q:0:-1\": 1", "its component is \"-1\", expected a whole number from 0"),
        ("\"0.attn.q:0:+1\": 1", "its component is \"+1\""),
        ("\"0.attn.q:0:99999999999999999999\": 1", "its component is \"99999999999999999999\""),
        ("\"output:a:0\": 1", "its position is \"a\""),
        (
            "\"0.attn.z:0:0\": 1",
            "the key \"0.attn.z:0:0\": \"0.attn.z\" is not a decomposed layer; those are h.0.attn.q_proj",
        ),
        ("\"9.attn.q:0:0\": 1", "is not a decomposed layer"),
        ("\"00.attn.q:0:0\": 1", "is not a decomposed layer"),
        ("\"0.attn.q:0:1000\": 1", "the key \"0.attn.q:0:1000\": layer h.0.attn.q_proj has "),
        ("\"0.attn.q:1000:0\": 1", "the key \"0.attn.q:1000:0\": the model has "),
        (
            "\"0.attn.q:3:0\": 1",
            "set \"optimized\": h.0.attn.q_proj:3:0: there is no position 3; the prompt has 3 tokens",
        ),
        ("\"0.attn.q:0:0\": 1, \"h.0.attn.q_proj:0:0\": 0", "set \"optimized\": h.0.attn.q_proj:0:0 is given twice"),
        ("\"0.attn.q:0:0\": 1, \"0.attn.q:0:0\": 1", "h.0.attn.q_proj:0:0 is given twice"),
        ("\"0.attn.q:1:0\": 1.5", "layer h.0.attn.q_proj, position 1, component 0: 1.5 is out of range"),
        ("\"0.attn.q:1:0\": 1e39", "is beyond the range of single precision"),
        ("\"0.attn.q:1:0\": NaN", "position 1, component 0: not JSON"),
        ("\"0.attn.q:1:0\": \"1\"", "expected a finite number"),
        ("\"0.attn.q:1:0\": [1]", "found an array, expected a finite number"),
        (
            "\"a\": {\"0.attn.q:1:0\": 2}",
            "set \"a\", layer h.0.attn.q_proj, position 1, component 0: 2.0 is out of range",
        ),
        ("\"a\": {}, \"0.attn.q:1:0\": 1", "there are sets by name and causal importances beside each other"),
        ("\"a\": {}, \"a\": {}", "there are two sets named \"a\""),
        ("\"\": {}", "a set has an empty name"),
    ] {
        fixture.assert_refused(values, part);
    }
    let many = vec!["\"0.attn.q:0:0\": 1"; 10_000].join(", ");
    fixture.assert_refused(&many, "there are more keys than nodes");
}
