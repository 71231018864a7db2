//! CI-set files of all forms, whole and broken.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use tributary_fuzz::small;

use crate::{Seed, seed};

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text.as_bytes()).expect("memory can be written to");
    encoder.finish().expect("memory can be written to")
}

/// A frame of zstd with one block as it is, and without a checksum.
fn zstd(text: &str) -> Vec<u8> {
    let length = u8::try_from(text.len()).expect("a short text");
    let block = u32::from(length) << 3 | 1;
    let [first, second, third, _] = block.to_le_bytes();
    [b"\x28\xb5\x2f\xfd\x20".as_slice(), &[length, first, second, third], text.as_bytes()].concat()
}

pub(crate) fn seeds() -> Vec<Seed> {
    let counts = small::gpt2_simple().components;
    let with = |row: &str| {
        let rows = format!("[{row}, {row}]");
        let layers: Vec<String> = counts.keys().map(|layer| format!("\"{layer}\": {rows}")).collect();
        format!("{{{}}}", layers.join(", "))
    };
    let layers = with("[0.0, 1]");
    let sets = format!(
        r#"{{"prompt": "w1 w2", "tokens": [1, 2], "ci_sets": {{"a": {layers}, "b": {layers}}}, "metadata": {{"a": {{"x": [1, null, true, "y"]}}}}}}"#
    );
    let samples = format!(
        r#"{{"samples": {{"first": {{"prompt": "w1 w2", "ci_vals": {layers}, "metadata": 3}}, "second": {{"prompt": "w3 other", "tokens": [3, 0], "ci_vals": {layers}}}}}}}"#
    );
    let optimized = format!(r#"{{"prompt": "w1 w2", "optimized_ci": {layers}, "metadata": {{"loss": 1e-3}}}}"#);
    let nodes = r#"{"tokens": [1, 2], "node_ci_vals": {"0.attn.o:1:0": 0.5, "h.0.mlp.c_fc:0:1": 1, "output:1:3": 0.25}, "by": null}"#;
    let of = |layers: &str| format!(r#"{{"prompt": "w1 w2", "optimized_ci": {layers}}}"#);
    let metadata = |value: &str| format!(r#"{{"prompt": "w1 w2", "optimized_ci": {layers}, "metadata": {value}}}"#);
    vec![
        seed("sets", &sets),
        seed("samples", &samples),
        seed("optimized", &optimized),
        seed("nodes", nodes),
        seed(
            "node_sets",
            r#"{"prompt": "w1 w2", "node_ci_vals": {"a": {"0.mlp.up:0:0": 1}, "b": {}}, "metadata": {"b": 1}}"#,
        ),
        seed("nodes_twice", nodes.replace("h.0.mlp.c_fc:0:1", "0.attn.o:1:0")),
        seed("nodes.zst", zstd(nodes)),
        seed("sets.gz", gzip(&sets)),
        seed("samples.gz", gzip(&samples)),
        seed("two_streams.gz", [gzip(&sets[..40]), gzip(&sets[40..])].concat()),
        seed("twice.gz", gzip("\u{1f}\u{8b}")),
        seed("cut.gz", &gzip(&sets)[..60]),
        seed("many_zeros.gz", gzip(&metadata(&format!("[{}0]", "0,".repeat(50_000))))),
        seed("mark", format!("\u{feff}{sets}")),
        seed("mark.gz", gzip(&format!("\u{feff}{optimized}"))),
        seed("spaces", sets.replace(", ", " ,\r\n\t").replace(": ", "\n:\n")),
        seed("numbers", of(&with("[1E-400, 0.1e+0]"))),
        seed("rounding", of(&with("[-1e-9, 1.0000001]"))),
        seed("outside", of(&with("[-0.5, 1e39]"))),
        seed("not_finite", of(&with("[NaN, -Infinity]"))),
        seed("not_numbers", of(&with("[\"0\", null]"))),
        seed("deeper", of(&with("[[0, 0], [0, 0]]"))),
        seed("short_row", of(&with("[0]"))),
        seed("long_row", of(&with("[0, 0, 0]"))),
        seed("nan_metadata", metadata(r#"{"a": [NaN, -Infinity, "NaN \ud800 \ud83d\ude00 \u0000"]}"#)),
        seed("deep_metadata", metadata(&("[".repeat(200) + &"]".repeat(200)))),
        seed("wrong_metadata", sets.replace("\"metadata\": {\"a\"", "\"metadata\": {\"none\"")),
        seed("wrong_tokens", sets.replace("[1, 2]", "[1, 99999999999999999999]")),
        seed("wrong_prompt", sets.replace("w1 w2", "w1 w2 w3")),
        seed("unknown_word", sets.replace("w1 w2", "w1 caf\u{e9}").replace("[1, 2]", "[1, 0]")),
        seed("twice", sets.replace("\"b\"", "\"a\"")),
        seed("no_sets", r#"{"prompt": "w1", "ci_sets": {}}"#),
        seed("two_forms", r#"{"prompt": "w1", "ci_sets": 1, "samples": {}}"#),
        seed("cut", &sets[..sets.len() / 2]),
        seed("more", format!("{sets} {{}}")),
        seed("empty", ""),
        seed("list", "[]"),
        seed("page", "<!DOCTYPE html><html>"),
        seed("pointer", "version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 3\n"),
        seed("utf16", [b"\xff\xfe".as_slice(), &sets.bytes().flat_map(|byte| [byte, 0]).collect::<Vec<_>>()].concat()),
    ]
}
