//! Which numbers, metadata, tokens and encodings a CI-set file may have, and what is noted of those that are taken.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;
use tempfile::TempDir;
use tributary_inputs::test_support::{RandomWeights, Style, write_run};
use tributary_inputs::{CiSetFile, InputError, RunOptions, TrainedRun};
use tributary_model::{Layer, Role, Sigmoid};
use tributary_testing::config;

const Q: &str = "h.0.attn.q_proj";

/// A run of one decomposed layer of two components, and a folder for CI-set files.
struct Fixture {
    folder: TempDir,
    run: TrainedRun,
}

impl Fixture {
    fn new() -> Self {
        Self::with(Sigmoid::Hard)
    }

    fn with(sigmoid: Sigmoid) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut random = RandomWeights::gpt2_simple(5);
        random.components = [(Layer::published(0, Role::Query), 2)].into_iter().collect();
        random.sigmoid = sigmoid;
        write_run(folder.path(), &random.weights(), Style::Current);
        let run = TrainedRun::load(folder.path(), &RunOptions::default()).unwrap();
        Self { folder, run }
    }

    fn read(&self, bytes: impl AsRef<[u8]>) -> Result<CiSetFile, InputError> {
        let file = self.folder.path().join("ci.json");
        fs::write(&file, bytes).unwrap();
        self.run.ci_sets(&file, &[])
    }

    #[track_caller]
    fn assert_refused(&self, bytes: impl AsRef<[u8]>, parts: &[&str]) {
        let message = self.read(bytes).expect_err("the file is broken").to_string();
        for part in ["ci.json: "].iter().chain(parts) {
            assert!(message.contains(part), "{message:?} lacks {part:?}");
        }
        assert!(message.len() < 2000, "{} bytes: {message}", message.len());
    }
}

/// A file of one set whose last causal importance is `value`.
fn one_set(value: &str) -> String {
    format!("{{\"prompt\": \"w1 w2\", \"ci_sets\": {{\"a\": {{{Q:?}: [[0.0, 0.0], [0.25, {value}]]}}}}}}")
}

fn last(file: &CiSetFile) -> f32 {
    *file.sets[0].layers[&Q.parse().unwrap()].to_dense().last().unwrap()
}

#[track_caller]
fn only_note(file: &CiSetFile) -> &str {
    let [note] = file.notes.as_slice() else { panic!("{:?}", file.notes) };
    note
}

#[test]
fn values_out_of_range() {
    let place = "ci.json: set \"a\", layer h.0.attn.q_proj, position 1, component 1: ";
    for value in ["1.001", "-0.01", "-0.5", "1.5", "1000000.0", "1e30", "2.0", "-1.0"] {
        Fixture::new().assert_refused(
            one_set(value),
            &[
                place,
                &format!(": {value} is out of range; a causal importance of this run is from 0 to 1 (line 1, column"),
            ],
        );
    }
    let leaky = Fixture::with(Sigmoid::UpperLeakyHard);
    assert_eq!(last(&leaky.read(one_set("1.5")).unwrap()).to_bits(), 1.5_f32.to_bits());
    leaky.assert_refused(
        one_set("-0.01"),
        &[place, "-0.01 is out of range; a causal importance of this run is 0 or more"],
    );
    let swish = Fixture::with(Sigmoid::SwishHard);
    swish.read(one_set("-0.0278")).unwrap();
    swish.assert_refused(one_set("1.1"), &[place, "is from -0.0278323 to 1.0278323"]);
}

#[test]
fn rounding_is_taken_with_a_note() {
    let fixture = Fixture::new();
    for (value, expected) in [("1.0000001", 1.0_f32), ("-1e-9", 0.0), ("1.000001", 1.0)] {
        let file = fixture.read(one_set(value)).unwrap();
        assert_eq!(last(&file).to_bits(), expected.to_bits());
        let note = only_note(&file);
        assert!(note.contains("ci.json: set \"a\", layer h.0.attn.q_proj, position 1, component 1: "), "{note}");
        assert!(
            note.contains("is beyond the range of this run's causal importances, from 0 to 1, by rounding"),
            "{note}"
        );
        assert!(note.ends_with("1 such values in all"), "{note}");
    }
    assert!(fixture.read(one_set("1.0")).unwrap().notes.is_empty());
}

proptest! {
    #![proptest_config(config(256))]

    /// A small file is read row by row, a compressed one number by number: the result is the same.
    #[test]
    fn both_ways_of_reading_agree(
        value in prop_oneof![
            any::<f32>().prop_map(|value| format!("{value:?}")),
            (-40_i32..40).prop_map(|steps| format!("{:?}", 1.0 + f64::from(steps) * 1e-6)),
            (-40_i32..40).prop_map(|steps| format!("{:?}", f64::from(steps) * 1e-6)),
            (0_u32..=1).prop_map(|value| value.to_string()),
        ],
        sigmoid in prop::sample::select(vec![
            Sigmoid::Hard, Sigmoid::Normal, Sigmoid::UpperLeakyHard, Sigmoid::SwishHard,
        ]),
    ) {
        let fixture = Fixture::with(sigmoid);
        let words = |error: InputError| error.to_string();
        let plain = fixture.read(one_set(&value)).map_err(words);
        let streamed = fixture.read(gzip(one_set(&value).as_bytes())).map_err(words);
        let sets = |read: Result<CiSetFile, String>| read.map(of_content);
        prop_assert_eq!(sets(plain), sets(streamed), "{} under {:?}", value, sigmoid);
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// What does not depend on how the same text is stored.
fn of_content(file: CiSetFile) -> CiSetFile {
    CiSetFile { sha256: String::new(), ..file }
}

#[test]
fn encodings_of_the_text() {
    let fixture = Fixture::new();
    let expected = of_content(fixture.read(one_set("0.5")).unwrap());
    let marked = [b"\xef\xbb\xbf".as_slice(), one_set("0.5").as_bytes()].concat();
    assert_eq!(of_content(fixture.read(&marked).unwrap()), expected);
    assert_eq!(of_content(fixture.read(gzip(one_set("0.5").as_bytes())).unwrap()), expected);
    assert_eq!(of_content(fixture.read(gzip(&marked)).unwrap()), expected);
    // Members one after the other, as of `cat a.gz b.gz`.
    let (head, tail) = marked.split_at(20);
    assert_eq!(of_content(fixture.read([gzip(head), gzip(tail)].concat()).unwrap()), expected);
    let whole = gzip(one_set("0.5").as_bytes());
    fixture.assert_refused(&whole[..whole.len() - 12], &["its gzip stream cannot be read", "fetch it again"]);
    fixture.assert_refused(gzip(&whole), &["is compressed with gzip; and that once more"]);
    for (utf16, mark) in
        [(u16::to_le_bytes as fn(u16) -> [u8; 2], true), (u16::to_be_bytes, true), (u16::to_le_bytes, false)]
    {
        let text = format!("{}{}", if mark { "\u{feff}" } else { "" }, one_set("0.5"));
        let bytes: Vec<u8> = text.encode_utf16().flat_map(utf16).collect();
        fixture
            .assert_refused(bytes, &["is text in UTF-16; expected UTF-8: convert it, with iconv -f UTF-16 -t UTF-8"]);
    }
    fixture.assert_refused("<!doctype html>", &["is a web page"]);
    fixture.assert_refused("version https://git-lfs.github.com/spec/v1\n", &["run git lfs pull"]);
}

/// What `zstd -19` 1.5.4 makes of `one_set("0.5")`: one frame with a checksum.
const ZSTD: &str = "28b52ffd24555d0200d2041011a06fce32d8fa378641c5c26bad49fdcf1a39e773c88706647c300d4e83f0c1982eee22\
    95683eb4367d78961c77f16a57454d79031fb7c5f52e6ee58b543a0e0200a1c050ae420617a08b23";

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

#[test]
fn files_that_zstd_has_compressed() {
    let fixture = Fixture::new();
    let expected = of_content(fixture.read(one_set("0.5")).unwrap());
    let whole = bytes(ZSTD);
    assert_eq!(of_content(fixture.read(&whole).unwrap()), expected);
    // Frames one after the other, as of `cat a.zst b.zst`, and the ones to be skipped that `pzstd` puts before each of its own.
    let compress = |text: &[u8]| ruzstd::encoding::compress_to_vec(text, ruzstd::encoding::CompressionLevel::Fastest);
    let text = one_set("0.5");
    let (head, tail) = text.as_bytes().split_at(20);
    let skipped = b"\x50\x2a\x4d\x18\x04\0\0\0\xff\0\0\0".as_slice();
    let frames = [skipped, &compress(head), skipped, &compress(tail), &compress(b""), skipped].concat();
    assert_eq!(of_content(fixture.read(frames).unwrap()), expected);
    let long = text.replacen('{', &format!("{{\"metadata\": {{\"a\": \"{}\"}}, ", "abc".repeat(300_000)), 1);
    let (plain, compressed) = (fixture.read(&long).unwrap(), fixture.read(compress(long.as_bytes())).unwrap());
    assert_eq!(of_content(plain), of_content(compressed));

    let refused = ["its zstd stream cannot be read", "fetch it again"];
    for length in 4..whole.len() {
        fixture.assert_refused(&whole[..length], &refused[..1]);
    }
    // Some bits mean nothing; with another of the rest the content would be another.
    let read: Vec<_> = (4..whole.len())
        .flat_map(|at| (0..8).map(move |bit| (at, 1 << bit)))
        .filter_map(|(at, bit)| {
            let mut damaged = whole.clone();
            damaged[at] ^= bit;
            fixture.read(&damaged).ok()
        })
        .collect();
    assert!(read.len() < 16 && read.into_iter().all(|file| of_content(file) == expected));
    let mut damaged = whole.clone();
    *damaged.last_mut().unwrap() ^= 1;
    fixture.assert_refused(&damaged, &["its checksum is not that of its content", refused[1]]);
    fixture.assert_refused([&whole, skipped, &whole[..9]].concat(), &refused);
    fixture.assert_refused([&whole, &skipped[..10]].concat(), &refused);
    // A window of 2^31 bytes.
    fixture.assert_refused(b"\x28\xb5\x2f\xfd\0\xa8\x01\0\0", &["its window is larger than 128 MiB"]);
    fixture.assert_refused(b"\x28\xb5\x2f\xfd\x01\x50\x07\x01\0\0", &["it needs a dictionary"]);
    fixture.assert_refused(
        compress(&whole),
        &["is compressed with zstd; and that once more: decompress it once, with unzstd"],
    );
    fixture.assert_refused(gzip(&whole), &["is compressed with zstd; and that once more"]);
}

#[test]
fn unknown_keys_are_passed_over_with_a_note() {
    let fixture = Fixture::new();
    let expected = fixture.read(one_set("0.5")).unwrap();
    let with = |keys: &str| one_set("0.5").replacen('{', &format!("{{{keys}, "), 1);
    for compress in [false, true] {
        let text = with("\"seed\": [[1, {\"prompt\": 2}]], \"note\": \"x\"");
        let file = fixture.read(if compress { gzip(text.as_bytes()) } else { text.into_bytes() }).unwrap();
        let note = only_note(&file);
        let said = "ci.json: the unknown keys \"seed\", \"note\", with what they hold, are passed over; known are prompt, tokens, \
                    metadata, ci_sets, samples, optimized_ci and node_ci_vals";
        assert!(note.ends_with(said), "{note}");
        assert_eq!(file.sets, expected.sets);
    }
    let layers = format!("{{{Q:?}: [[0.0, 0.0]]}}");
    let sample = format!("{{\"loss\": 1, \"prompt\": \"w4\", \"ci_vals\": {layers}}}");
    let file = fixture.read(format!("{{\"samples\": {{\"s\": {sample}, \"t\": {sample}}}}}")).unwrap();
    let note = only_note(&file);
    let said = "ci.json: set \"s\": the unknown keys \"loss\" (2 in all), with what they hold, are passed over; known are prompt, \
                tokens, ci_vals and metadata";
    assert!(note.ends_with(said), "{note}");
    let many: Vec<String> = (0..1000).map(|key| format!("\"x{key}\": 0")).collect();
    let file = fixture.read(with(&many.join(", "))).unwrap();
    assert!(only_note(&file).contains("\"x11\" (1000 in all)"), "{:?}", file.notes);
    let deep = format!("\"deep\": {}{}", "[".repeat(100_000), "]".repeat(100_000));
    fixture.read(with(&deep)).unwrap();
    for number in ["NaN", "Infinity"] {
        let said = ["not JSON", "line 1 column", "are taken in metadata alone: write null in their place"];
        fixture.assert_refused(with(&format!("\"loss\": {number}")), &said);
        fixture.assert_refused(with(&format!("\"seed\": 0,\n \"loss\": {number}")), &said[..1]);
    }
}

#[test]
fn metadata_in_all_forms() {
    let fixture = Fixture::new();
    let layers = format!("{{{Q:?}: [[0.0, 0.0]]}}");
    let sets = |metadata: &str| {
        format!("{{\"metadata\": {metadata}, \"prompt\": \"w1\", \"ci_sets\": {{\"a\": {layers}, \"b\": {layers}}}}}")
    };
    let file = fixture.read(sets("{\"b\": {\"loss\": 0.5}}")).unwrap();
    assert_eq!(
        file.metadata.iter().map(|(name, value)| format!("{name} {value}")).collect::<Vec<_>>(),
        ["b {\"loss\":0.5}"]
    );
    assert!(fixture.read(sets("null")).unwrap().metadata.is_empty());
    fixture.assert_refused(sets("{\"loss\": 0.5}"), &["metadata: there is no set \"loss\"", "which are \"a\", \"b\""]);
    fixture.assert_refused(sets("[]"), &["metadata: expected an object from set names to the metadata of each"]);
    let optimized = format!("{{\"prompt\": \"w1\", \"optimized_ci\": {layers}, \"metadata\": [1]}}");
    assert_eq!(fixture.read(optimized).unwrap().metadata["optimized"].to_string(), "[1]");
    let samples =
        format!("{{\"metadata\": {{}}, \"samples\": {{\"a\": {{\"prompt\": \"w1\", \"ci_vals\": {layers}}}}}}}");
    fixture.assert_refused(samples, &["the key \"metadata\" belongs into each of the samples"]);
}

#[test]
fn what_python_writes_into_metadata() {
    let fixture = Fixture::new();
    let with = |metadata: &str, value: &str| {
        one_set(value).replacen('{', &format!("{{\"metadata\": {{\"a\": {metadata}}}, "), 1)
    };
    let metadata = "{\"loss\": NaN, \"best\": [-Infinity, 1], \"text\": \"x\\ud800y\"}";
    for compress in [false, true] {
        let text = with(metadata, "0.5");
        let file = fixture.read(if compress { gzip(text.as_bytes()) } else { text.into_bytes() }).unwrap();
        assert_eq!(file.metadata["a"].to_string(), "{\"loss\":null,\"best\":[null,1],\"text\":\"x\u{fffd}y\"}");
        let note = only_note(&file);
        assert!(
            note.contains("ci.json: metadata: NaN and Infinity, which JSON lacks, are kept as null (2 of them)"),
            "{note}"
        );
        assert!(note.ends_with("as U+FFFD (1); the first is at line 1, column 29"), "{note}");
    }
    fixture.assert_refused(
        with(metadata, "NaN"),
        &["set \"a\", layer h.0.attn.q_proj, position 1, component 1: not JSON", "must be a finite number"],
    );
    fixture.assert_refused(with("{\"loss\": NaX}", "0.5"), &["not JSON", "line 1 column"]);
}

#[test]
fn tokens_must_be_those_of_the_prompt() {
    let fixture = Fixture::new();
    let with = |tokens: &str| one_set("0.5").replacen('{', &format!("{{\"tokens\": {tokens}, "), 1);
    fixture.read(with("[1, 2]")).unwrap();
    fixture.assert_refused(
        with("[1, 3]"),
        &["set \"a\": its tokens are 1, 3, but this run's tokenizer makes 1 (\"w1\"), 2 (\"w2\") of the prompt \"w1 w2\"; they \
           differ first at position 1"],
    );
    fixture.assert_refused(with("[1]"), &["its tokens are 1, but", "they differ first at position 1"]);
    fixture.assert_refused(with("[1, 2, 3]"), &["they differ first at position 2"]);
    let layers = format!("{{{Q:?}: [[0.0, 0.0]]}}");
    let sample = |tokens| {
        format!("{{\"samples\": {{\"s\": {{\"tokens\": [{tokens}], \"prompt\": \"w4\", \"ci_vals\": {layers}}}}}}}")
    };
    fixture.read(sample(4)).unwrap();
    fixture.assert_refused(sample(5), &["set \"s\": its tokens are 5, but"]);
}

#[test]
fn tokens_may_stand_in_place_of_the_prompt() {
    let fixture = Fixture::new();
    let text = one_set("0.5").replace("\"prompt\": \"w1 w2\"", "\"tokens\": [1, 2]");
    assert_eq!(fixture.read(&text).unwrap().sets, fixture.read(one_set("0.5")).unwrap().sets);
    let file = fixture.folder.path().join("ci.json");
    fixture.run.ci_sets(&file, &["w1 w2".to_owned()]).unwrap();
    let message = fixture.run.ci_sets(&file, &["w1".to_owned()]).unwrap_err().to_string();
    assert!(message.contains("those of the file \"w1 w2\"; they must be equal"), "{message}");
    let layers = format!("{{{Q:?}: [[0.0, 0.0]]}}");
    let sample =
        |tokens: &str| format!("{{\"samples\": {{\"s\": {{\"tokens\": [{tokens}], \"ci_vals\": {layers}}}}}}}");
    let prompt = &fixture.read(sample("4")).unwrap().sets[0].prompt;
    assert_eq!((&*prompt.text, &*prompt.tokens), ("w4", &[4][..]));
    fixture.assert_refused(sample(""), &["set \"s\": tokens []: there are none; a prompt needs at least one"]);
    fixture.assert_refused(
        sample("11"),
        &["set \"s\": tokens [11]: 11 at position 0 is outside the model's vocabulary of 11; expected ids from 0 to 10"],
    );
    fixture.assert_refused(sample("4294967297"), &["4294967297 at position 0 is outside the model's vocabulary"]);
    fixture.assert_refused(sample("4, 4"), &["there are 1 rows, but the prompt \"w4 w4\" has 2 tokens"]);
}

#[test]
fn one_dimension_too_many() {
    let fixture = Fixture::new();
    let text = one_set("0.5").replace("[[", "[[[").replace("]]", "]]]");
    fixture.assert_refused(
        text,
        &[
            "set \"a\", layer h.0.attn.q_proj, position 0, component 0: found an array",
            "there is one dimension too many",
        ],
    );
}

#[test]
fn unknown_words_are_noted() {
    let fixture = Fixture::new();
    let file = fixture.read(one_set("0.5").replace("w1 w2", "w1 вода")).unwrap();
    let note = only_note(&file);
    let expected = "ci.json: prompt \"w1 вода\": 1 of its 2 tokens are \"w0\", which stands for what the vocabulary lacks; the \
                    first of them for \"вода\"";
    assert!(note.ends_with(expected), "{note}");
    let prompt = fixture.run.prompt("w1 w2").unwrap();
    assert!(fixture.run.prompt_notes(&prompt).is_empty());
}

#[test]
fn characters_that_a_tokenizer_drops_are_noted() {
    let fixture = Fixture::new();
    let tokenizer = serde_json::json!({
        "version": "1.0",
        "added_tokens": [],
        "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": [["a", "b"]]},
    });
    let path = fixture.folder.path().join("target/tokenizer.json");
    fs::write(path, tokenizer.to_string()).unwrap();
    let run = TrainedRun::load(fixture.folder.path(), &RunOptions::default()).unwrap();
    let prompt = run.prompt("abяb жa").unwrap();
    assert_eq!(prompt.tokens, [2, 1, 0]);
    let [note] = &*run.prompt_notes(&prompt) else { panic!() };
    assert_eq!(
        note,
        "prompt \"abяb жa\": 2 of its characters, the first of them 'я', are in none of its 3 tokens: the tokenizer drops them"
    );
}

#[test]
fn messages_stay_short() {
    let fixture = Fixture::new();
    let long = "a".repeat(1_000_000);
    let many: Vec<String> = (0..100_000).map(|word| format!("x{word}")).collect();
    fixture.assert_refused(one_set("0.5").replace("w1 w2", &long), &["(1000000 characters)"]);
    fixture.assert_refused(
        one_set("0.5").replace("w1 w2", &many.join(" ")),
        &["has 100000 tokens, more than the 6 positions"],
    );
    fixture.assert_refused(
        one_set("0.5").replace("\"a\"", &format!("{long:?}")).replace("0.5", "5"),
        &["is out of range"],
    );
    fixture.assert_refused(one_set("0.5").replace(Q, &long), &["is not a decomposed layer"]);
    fixture.assert_refused(one_set("0.5").replace("prompt", &long), &["unknown key"]);
    fixture.assert_refused(one_set(&format!("{long:?}")), &["expected a finite number", "(line 1, column"]);
    fixture.assert_refused(format!("{{{long:?}: 1}}"), &["unknown key"]);
    let prompts = vec![long; 3];
    let file = fixture.folder.path().join("ci.json");
    fs::write(&file, one_set("0.5")).unwrap();
    let message = fixture.run.ci_sets(&file, &prompts).unwrap_err().to_string();
    assert!(message.len() < 1000 && message.contains("they must be equal"), "{message}");
}

#[cfg(unix)]
#[test]
fn pipes_and_devices_are_not_waited_for() {
    let fixture = Fixture::new();
    let fifo = fixture.folder.path().join("fifo");
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let message = fixture.run.ci_sets(&fifo, &[]).unwrap_err().to_string();
    assert!(message.ends_with("fifo\" is a pipe, expected a regular file; write what comes out of it to a file first"));
    let message = fixture.run.ci_sets(std::path::Path::new("/dev/zero"), &[]).unwrap_err().to_string();
    assert_eq!(message, "\"/dev/zero\" is a device, expected a regular file; give a file");
}
