//! CI-set files in their formats, and those that must be refused.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use tempfile::TempDir;
use tributary_inputs::test_support::{RandomWeights, Style, write_run};
use tributary_inputs::{CiSetFile, CiSetFormat, InputError, RunOptions, TrainedRun};
use tributary_model::{CausalImportances, Layer, Role, Weights};

const Q: &str = "h.0.attn.q_proj";
const DOWN: &str = "h.1.mlp.down_proj";

/// A run with two decomposed layers, of 2 and 3 components, and a folder for CI-set files.
struct Fixture {
    folder: TempDir,
    run: TrainedRun,
}

impl Fixture {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        write_run(folder.path(), &weights(), Style::Current);
        let run = TrainedRun::load(folder.path(), &RunOptions::default()).unwrap();
        Self { folder, run }
    }

    fn read_for(&self, json: &str, prompts: &[&str]) -> Result<CiSetFile, InputError> {
        let file = self.folder.path().join("ci.json");
        fs::write(&file, json).unwrap();
        let prompts: Vec<String> = prompts.iter().map(ToString::to_string).collect();
        self.run.ci_sets(&file, &prompts)
    }

    fn read(&self, json: &str) -> Result<CiSetFile, InputError> {
        self.read_for(json, &[])
    }

    #[track_caller]
    fn assert_refused(&self, json: &str, parts: &[&str]) {
        assert_message(self.read(json), parts);
    }
}

#[track_caller]
fn assert_message(result: Result<CiSetFile, InputError>, parts: &[&str]) {
    let message = result.expect_err("the file is broken").to_string();
    for part in ["ci.json: "].iter().chain(parts) {
        assert!(message.contains(part), "{message:?} lacks {part:?}");
    }
}

fn weights() -> Weights {
    let mut random = RandomWeights::gpt2_simple(5);
    random.components =
        [(Layer::published(0, Role::Query), 2), (Layer::published(1, Role::MlpDown), 3)].into_iter().collect();
    random.weights()
}

/// Importances at two positions.
fn layers() -> String {
    format!("{{{Q:?}: [[0, 0.5], [1, 1e-3]], {DOWN:?}: [[0.0, 1e-20, 0.75], [0.1, 0.2, 0.3]]}}")
}

fn one_set() -> String {
    format!("{{\"prompt\": \"w1 w2\", \"ci_sets\": {{\"a\": {}}}}}", layers())
}

#[test]
fn several_sets_of_one_prompt() {
    let fixture = Fixture::new();
    let layers = layers();
    let (prompt, sets) =
        ("\"prompt\": \"w1 w2\"", format!("\"ci_sets\": {{\"z\": {layers}, \"a b\\u00e9\\\"\": {layers}}}"));
    for json in [format!("{{{prompt}, {sets}}}"), format!("{{{sets}, {prompt}}}")] {
        let file = fixture.read(&json).unwrap();
        assert_eq!(file.format, CiSetFormat::Sets);
        assert!(file.metadata.is_empty());
        assert_eq!(file.sets.iter().map(|set| &*set.name).collect::<Vec<_>>(), ["z", "a bé\""]);
        for set in &file.sets {
            assert_eq!(set.prompt, fixture.run.prompt("w1 w2").unwrap());
            assert_eq!(set.layers[&Q.parse().unwrap()].to_dense(), [0.0, 0.5, 1.0, 1e-3]);
            let down = &set.layers[&DOWN.parse().unwrap()];
            assert_eq!((down.components(), down.to_dense()), (3, vec![0.0, 1e-20, 0.75, 0.1, 0.2, 0.3]));
        }
    }
}

#[test]
fn samples_of_unequal_length() {
    let fixture = Fixture::new();
    let row = |positions: usize| {
        format!("{{{Q:?}: {:?}, {DOWN:?}: {:?}}}", vec![[0.5; 2]; positions], vec![[0.5; 3]; positions])
    };
    let json = format!(
        "{{\"samples\": {{\"s2\": {{\"metadata\": {{\"n\": [1, 2.5], \"b\": null}}, \"ci_vals\": {}, \"prompt\": \"w1 w2 w3\"}}, \
         \"s1\": {{\"prompt\": \"w4\", \"ci_vals\": {}}}, \"s3\": {{\"prompt\": \"w4\", \"ci_vals\": {}, \"metadata\": {{}}}}}}}}",
        row(3),
        row(1),
        row(1)
    );
    let file = fixture.read(&json).unwrap();
    assert_eq!(file.format, CiSetFormat::Samples);
    let found: Vec<_> = file.sets.iter().map(|set| (&*set.name, &*set.prompt.tokens)).collect();
    assert_eq!(found, [("s2", &[1, 2, 3][..]), ("s1", &[4]), ("s3", &[4])]);
    assert_eq!(file.metadata["s2"].to_string(), "{\"n\":[1,2.5],\"b\":null}");
    assert_eq!(file.metadata.keys().collect::<Vec<_>>(), ["s2", "s3"]);

    fixture.read_for(&json, &["w1 w2 w3", "w4"]).unwrap();
    for prompts in [&["w4", "w1 w2 w3"][..], &["w4"], &["w1 w2 w3", "w4", "w5"]] {
        assert_message(
            fixture.read_for(&json, prompts),
            &["those of the file \"w1 w2 w3\", \"w4\"; they must be equal"],
        );
    }
    fixture.assert_refused(
        &json.replace("\"prompt\": \"w4\", ", ""),
        &["set \"s1\": the key \"prompt\" is missing, and \"tokens\" too"],
    );
    fixture.assert_refused(
        &json.replace("ci_vals", "ci"),
        &["set \"s2\": the key \"ci_vals\" is missing; unknown key \"ci\""],
    );
}

#[test]
fn one_optimised_set() {
    let fixture = Fixture::new();
    let json = format!("{{\"prompt\": \"w1 w2\", \"optimized_ci\": {}}}", layers());
    let file = fixture.read(&json).unwrap();
    assert_eq!((file.format, file.sets.len(), &*file.sets[0].name), (CiSetFormat::Optimized, 1, "optimized"));
    assert_eq!(file.sets[0].layers, fixture.read(&one_set()).unwrap().sets[0].layers);
}

#[test]
fn numbers_are_read_to_the_nearest_single() {
    // Python wrote float32 values as float64; these are written back as the same float32.
    let fixture = Fixture::new();
    let mut state = 1_u32;
    let mut numbers = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        f32::from_bits(0x3000_0000 | (state >> 5))
    };
    let values: Vec<f32> = (0..5).map(|_| numbers()).collect();
    let text = |values: &[f32]| {
        values.iter().fold(String::new(), |mut text, &value| {
            write!(text, "{}{:?}", if text.is_empty() { "" } else { ", " }, f64::from(value)).unwrap();
            text
        })
    };
    let json = format!(
        "{{\"prompt\": \"w1\", \"optimized_ci\": {{{Q:?}: [[{}]], {DOWN:?}: [[{}]]}}}}",
        text(&values[..2]),
        text(&values[2..])
    );
    let file = fixture.read(&json).unwrap();
    let found: Vec<f32> = file.sets[0].layers.values().flat_map(CausalImportances::to_dense).collect();
    assert_eq!(found, values);
}

#[test]
fn prompts_must_match() {
    let fixture = Fixture::new();
    fixture.read_for(&one_set(), &["w1 w2"]).unwrap();
    fixture.read_for(&one_set(), &["w1 w2", "w1 w2"]).unwrap();
    for prompts in [&["w1 w3"][..], &["w1 w2", "w1 w3"], &[""]] {
        assert_message(fixture.read_for(&one_set(), prompts), &["those of the file \"w1 w2\"; they must be equal"]);
    }
}

#[test]
fn numbers_that_are_not_finite() {
    let fixture = Fixture::new();
    let place = "set \"a\", layer h.1.mlp.down_proj, position 1, component 2: ";
    for (number, part) in [
        ("NaN", "not JSON"),
        ("NaN", "must be a finite number"),
        ("Infinity", "line 1 column"),
        ("-Infinity", "line 1 column"),
        ("1e999", "number out of range"),
        ("1e39", "is beyond the range of single precision"),
        ("-1e39", "is beyond the range of single precision"),
        ("null", "expected a finite number"),
        ("\"1\"", "expected a finite number"),
        ("true", "expected a finite number"),
        (
            "[0.3]",
            "found an array, expected a finite number: there is one dimension too many; a layer has a row for each",
        ),
        ("", "line 1 column"),
    ] {
        fixture.assert_refused(&one_set().replace("0.3]", &format!("{number}]")), &[place, part]);
    }
}

#[test]
fn rows_and_positions_that_do_not_fit() {
    let fixture = Fixture::new();
    let place = "set \"a\", layer h.1.mlp.down_proj, position 1, component ";
    fixture.assert_refused(
        &one_set().replace(", 0.3]", "]"),
        &[place, "2: the row ends here, but the layer has 3 components; the file may belong to another run"],
    );
    fixture.assert_refused(
        &one_set().replace("0.3]", "0.3, 0.4]"),
        &[place, "3: the row goes on, but the layer has 3 components; the file may belong to another run"],
    );
    fixture.assert_refused(&one_set().replace("[0.1, 0.2, 0.3]", "[]"), &[place, "0: the row ends here"]);
    fixture.assert_refused(
        &one_set().replace("[0.1, 0.2, 0.3]", "0.1"),
        &["position 1: ", "expected an array of numbers"],
    );
    let place = "set \"a\", layer h.1.mlp.down_proj: ";
    fixture.assert_refused(
        &one_set().replace(", [0.1, 0.2, 0.3]", ""),
        &[place, "there are 1 rows, but the prompt \"w1 w2\" has 2 tokens: \"w1\", \"w2\""],
    );
    fixture
        .assert_refused(&one_set().replace("w1 w2", "w1"), &["there are 2 rows, but the prompt \"w1\" has 1 tokens"]);
    let many = format!("[{}]", vec!["[0, 0]"; 1000].join(","));
    fixture.assert_refused(
        &one_set().replace("[[0, 0.5], [1, 1e-3]]", &many),
        &["set \"a\", layer h.0.attn.q_proj, position 6: there are more rows than the 6 positions of the model"],
    );
    fixture.assert_refused(&one_set().replace("w1 w2", ""), &["prompt \"\": it has no tokens"]);
}

#[test]
fn layers_that_do_not_fit() {
    let fixture = Fixture::new();
    let known = "is not a decomposed layer; those are h.0.attn.q_proj, h.1.mlp.down_proj";
    for name in ["h.0.attn.k_proj", "wte", "h.9.mlp.c_fc", "", "h.0.attn"] {
        fixture.assert_refused(&one_set().replace(Q, name), &["set \"a\": ", &format!("{name:?} {known}")]);
    }
    fixture.assert_refused(
        &one_set().replace(DOWN, Q).replace("1e-20, 0.75", "1"),
        &["layer h.0.attn.q_proj is given twice"],
    );
    let down = format!(", {DOWN:?}: [[0.0, 1e-20, 0.75], [0.1, 0.2, 0.3]]");
    fixture.assert_refused(&one_set().replace(&down, ""), &["set \"a\": missing decomposed layers: h.1.mlp.down_proj"]);
}

#[test]
fn objects_that_do_not_fit() {
    let fixture = Fixture::new();
    let layers = layers();
    let both = format!("{{\"prompt\": \"w1 w2\", \"ci_sets\": {{\"a\": {layers}, \"a\": {layers}}}}}");
    fixture.assert_refused(&both, &["there are two sets named \"a\""]);
    for (json, part) in [
        ("{\"prompt\": \"w1\", \"ci_sets\": {}}", "there are no sets"),
        ("{\"samples\": {}}", "there are no sets"),
        ("{\"prompt\": \"w1\"}", "one of the keys ci_sets, samples, optimized_ci and node_ci_vals is needed"),
        ("{\"prompt\": \"w1\", \"prompt\": \"w1\"}", "the key \"prompt\" is given twice"),
        ("{\"prompt\": 1}", "invalid type: integer `1`, expected a string"),
        (
            "{\"token\": []}",
            "one of the keys ci_sets, samples, optimized_ci and node_ci_vals is needed; unknown key \"token\"",
        ),
        ("{\"token\": [], \"promt\": {}}", "is needed; unknown keys \"token\", \"promt\""),
        ("{\"prompt\": \"w1\", \"tokens\": 1}", "expected an array of token ids"),
        (
            "{\"prompt\": \"w1\", \"tokens\": [\"a\"]}",
            "found the text \"a\", expected a token id, a whole number: several tokens may have one text; give their ids, or the text of the prompt as \"prompt\" in place of \"tokens\"",
        ),
        ("{\"prompt\": \"w1\", \"tokens\": [-1]}", "expected a token id, a whole number"),
        (
            "{\"prompt\": \"w1\", \"tokens\": [1,1,1,1,1,1,1]}",
            "there are more tokens than the 6 positions of the model",
        ),
        ("{\"prompt\": \"w1\", \"ci_sets\": []}", "expected an object from set names to sets"),
        (
            "{\"prompt\": \"w1\", \"ci_sets\": {\"a\": []}}",
            "set \"a\": invalid type: sequence, expected an object from layer",
        ),
        ("[]", "expected an object with the keys"),
        ("{\"prompt\": \"w1\", \"ci_sets\": {\"\": {}}}", "a set has an empty name"),
    ] {
        fixture.assert_refused(json, &[part, "line 1, column"]);
    }
    let no_prompt = one_set().replace("\"prompt\": \"w1 w2\", ", "");
    fixture.assert_refused(&no_prompt, &["the key \"prompt\" is missing"]);
    let two = one_set().replace("\"ci_sets\"", &format!("\"optimized_ci\": {layers}, \"ci_sets\""));
    fixture.assert_refused(&two, &["only one of the keys"]);
    let misplaced =
        format!("{{\"prompt\": \"w1 w2\", \"samples\": {{\"a\": {{\"prompt\": \"w1 w2\", \"ci_vals\": {layers}}}}}}}");
    fixture.assert_refused(&misplaced, &["the key \"prompt\" belongs into each of the samples"]);
}

#[test]
fn files_that_are_not_json() {
    let fixture = Fixture::new();
    fixture.assert_refused("", &["the file is empty"]);
    fixture.assert_refused("prompt: w1", &["not JSON", "line 1 column 1"]);
    fixture.assert_refused("{\n \"prompt\" \"w1\"}", &["not JSON", "line 2 column"]);
    fixture.assert_refused(&format!("{}x", one_set()), &["not JSON: trailing characters"]);
    fixture.assert_refused("{\"samples\": {\"a\": {\"metadata\": \u{0}", &["line 1 column"]);
    let deep = format!("{{\"samples\": {{\"a\": {{\"metadata\": {}", "[".repeat(100_000));
    fixture.assert_refused(&deep, &["recursion limit"]);
    let json = one_set();
    for length in 1..json.len() {
        fixture.assert_refused(&json[..length], &[]);
    }
    let message = fixture.run.ci_sets(fixture.folder.path(), &[]).unwrap_err().to_string();
    assert!(message.ends_with(" is a folder, expected a regular file; give the file itself"), "{message}");
    let message = fixture.run.ci_sets(Path::new("no/such.json"), &[]).unwrap_err().to_string();
    assert!(message.starts_with("no/such.json: cannot be read: No such file"), "{message}");
    fs::write(fixture.folder.path().join("ci.json"), b"{\"prompt\": \"\xff\"}").unwrap();
    assert_message(fixture.run.ci_sets(&fixture.folder.path().join("ci.json"), &[]), &["line 1 column"]);
}
