//! Files of CI sets.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use crate::Attack;
use crate::attack::{refused, taken};
use crate::scene::{Scene, attribute};

const FILE: &str = "sets.json";
const Q: &str = "h.0.attn.q_proj";

/// With one causal importance spelt like this.
fn number(scene: &Scene, spelling: &str) {
    scene.replace(FILE, "0.25", spelling);
}

fn edit(scene: &Scene, edit: impl FnOnce(&mut Value)) {
    scene.edit(FILE, edit);
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// The text with the rest of its document left out.
fn document(scene: &Scene, text: &str) {
    scene.write(FILE, text);
}

pub(crate) fn attacks() -> Vec<Attack> {
    [malformed(), values(), shapes(), names()].concat()
}

fn malformed() -> Vec<Attack> {
    vec![
        refused("empty-file", "a file of no bytes", FILE, |s| {
            document(s, "");
            attribute()
        }),
        refused("deep-lists", "100 000 lists in each other overflow the stack", FILE, |s| {
            document(s, &"[".repeat(100_000));
            attribute()
        }),
        refused("deep-objects-in-a-set", "100 000 objects in place of a layer's rows", FILE, |s| {
            document(s, &format!("{{\"prompt\":\"w1\",\"ci_sets\":{{\"a\":{{\"{Q}\":{}", "{\"a\":".repeat(100_000)));
            attribute()
        }),
        refused("deep-metadata", "metadata, which may be anything, 100 000 lists deep", FILE, |s| {
            let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
            s.replace(FILE, "{", format!("{{\"metadata\":{{\"low\":{deep}}},"));
            attribute()
        }),
        refused("text-after-the-end", "a second document after the first", FILE, |s| {
            s.append(FILE, "{\"prompt\": \"w2\"}");
            attribute()
        }),
        refused("cut-short", "a file that ends in the middle", FILE, |s| {
            s.cut(FILE, |length| length / 2);
            attribute()
        }),
        refused("comments", "JSON with comments", FILE, |s| {
            s.replace(FILE, "{", "{ // sets\n");
            attribute()
        }),
        taken("byte-order-mark", "UTF-8 with a byte order mark", |s| {
            let text = s.read(FILE);
            s.write(FILE, [b"\xef\xbb\xbf".as_slice(), &text].concat());
            attribute()
        }),
        refused("utf-16", "UTF-16 with a byte order mark", FILE, |s| {
            let text = String::from_utf8(s.read(FILE)).unwrap();
            let units = text.encode_utf16().flat_map(u16::to_le_bytes);
            s.write(FILE, [b"\xff\xfe".to_vec(), units.collect()].concat());
            attribute()
        }),
        refused("not-utf-8", "a set name of bytes that are no UTF-8", FILE, |s| {
            s.replace(FILE, "\"low\"", b"\"l\xff\xfew\"");
            attribute()
        }),
        refused("raw-control-characters", "raw ESC and NUL in a set name", FILE, |s| {
            s.replace(FILE, "\"low\"", b"\"l\x1b[31m\0w\"");
            attribute()
        }),
        refused("gzip-bomb", "a megabyte that becomes several gigabytes of spaces", FILE, |s| {
            let spaces = gzip(&vec![b' '; 64 << 20]);
            s.write(FILE, spaces.repeat(64));
            attribute()
        }),
        refused("gzip-bomb-in-a-name", "a set name of a gigabyte, compressed", FILE, |s| {
            let start = gzip(b"{\"prompt\":\"w1\",\"ci_sets\":{\"");
            let letters = gzip(&vec![b'a'; 64 << 20]);
            s.write(FILE, [start, letters.repeat(16)].concat());
            attribute()
        }),
        refused("gzip-bomb-in-metadata", "metadata of 32 million numbers, compressed", FILE, |s| {
            let start = gzip(b"{\"metadata\":{\"low\":[0");
            let numbers = gzip(&b",0".repeat(4 << 20));
            s.write(FILE, [start, numbers.repeat(8)].concat());
            attribute()
        }),
        refused("gzip-cut-short", "a gzip stream that ends in the middle", FILE, |s| {
            let bytes = gzip(&s.read(FILE));
            s.write(FILE, &bytes[..bytes.len() / 2]);
            attribute()
        }),
        refused("gzip-in-gzip", "a gzip stream of a gzip stream", FILE, |s| {
            s.write(FILE, gzip(&gzip(&s.read(FILE))));
            attribute()
        }),
        refused("gzip-of-a-wrong-checksum", "a gzip stream whose checksum is another's", FILE, |s| {
            let mut bytes = gzip(&s.read(FILE));
            let end = bytes.len() - 8;
            bytes[end] ^= 1;
            s.write(FILE, bytes);
            attribute()
        }),
    ]
}

fn values() -> Vec<Attack> {
    vec![
        refused("number-1e999", "a number that is infinite as a float", FILE, |s| {
            number(s, "1e999");
            attribute()
        }),
        refused("number-nan", "NaN, which Python writes", FILE, |s| {
            number(s, "NaN");
            attribute()
        }),
        refused("number-infinity", "Infinity, which Python writes", FILE, |s| {
            number(s, "Infinity");
            attribute()
        }),
        refused("number-as-text", "a number in quotes", FILE, |s| {
            number(s, "\"0.25\"");
            attribute()
        }),
        refused("number-true", "a truth value in place of a number", FILE, |s| {
            number(s, "true");
            attribute()
        }),
        refused("number-in-hexadecimal", "0x1p-2 in place of 0.25", FILE, |s| {
            number(s, "0x1p-2");
            attribute()
        }),
        refused("number-with-leading-zeros", "00.25, which JSON forbids", FILE, |s| {
            number(s, "00.25");
            attribute()
        }),
        taken("number-negative-zero", "-0.0, whose bits are not those of zero", |s| {
            number(s, "-0.0");
            attribute()
        }),
        taken("number-below-all-floats", "1e-400, which is zero as a float", |s| {
            number(s, "1e-400");
            attribute()
        }),
        taken("number-of-100000-decimals", "0.2500... with 100 000 digits", |s| {
            number(s, &format!("0.25{}", "0".repeat(100_000)));
            attribute()
        }),
        refused("number-of-100000-digits", "a whole number with 100 000 digits", FILE, |s| {
            number(s, &"9".repeat(100_000));
            attribute()
        }),
        refused("number-of-a-huge-exponent", "an exponent of 100 000 digits", FILE, |s| {
            number(s, &format!("1e{}", "9".repeat(100_000)));
            attribute()
        }),
        refused("number-negative", "-0.25, which no CI function of the run gives", FILE, |s| {
            number(s, "-0.25");
            attribute()
        }),
    ]
}

fn shapes() -> Vec<Attack> {
    vec![
        refused("one-dimension-too-many", "the tolist() of a tensor with a batch dimension", FILE, |s| {
            edit(s, |sets| {
                let rows = sets["ci_sets"]["low"][Q].take();
                sets["ci_sets"]["low"][Q] = json!([rows]);
            });
            attribute()
        }),
        refused("one-dimension-too-few", "a flat list in place of rows", FILE, |s| {
            edit(s, |sets| sets["ci_sets"]["low"][Q] = json!([0.5, 0.5, 0.5]));
            attribute()
        }),
        refused("ragged-rows", "rows of different lengths", FILE, |s| {
            edit(s, |sets| drop(sets["ci_sets"]["low"][Q][1].as_array_mut().unwrap().pop()));
            attribute()
        }),
        refused("no-rows", "a layer without rows", FILE, |s| {
            edit(s, |sets| sets["ci_sets"]["low"][Q] = json!([]));
            attribute()
        }),
        refused("a-million-rows", "a million empty rows", FILE, |s| {
            edit(s, |sets| sets["ci_sets"]["low"][Q] = json!(vec![Vec::<f64>::new(); 1_000_000]));
            attribute()
        }),
        refused("a-million-columns", "a row of a million numbers", FILE, |s| {
            edit(s, |sets| sets["ci_sets"]["low"][Q][0] = json!(vec![0.5; 1_000_000]));
            attribute()
        }),
        refused("sets-as-a-list", "a list in place of the sets by name", FILE, |s| {
            edit(s, |sets| sets["ci_sets"] = json!([sets["ci_sets"]["low"]]));
            attribute()
        }),
        refused("no-sets", "an empty object of sets", FILE, |s| {
            edit(s, |sets| sets["ci_sets"] = json!({}));
            attribute()
        }),
        refused("a-set-without-layers", "an empty set", FILE, |s| {
            edit(s, |sets| sets["ci_sets"]["low"] = json!({}));
            attribute()
        }),
        refused("100000-empty-sets", "100 000 sets without a layer", FILE, |s| {
            let sets: serde_json::Map<_, _> = (0..100_000).map(|n| (format!("s{n}"), json!({}))).collect();
            edit(s, |document| document["ci_sets"] = sets.into());
            attribute()
        }),
        refused("two-formats-at-once", "sets and an optimized one in one file", FILE, |s| {
            edit(s, |sets| sets["optimized_ci"] = sets["ci_sets"]["low"].clone());
            attribute()
        }),
        refused("wrong-tokens", "tokens that are not those of the prompt", FILE, |s| {
            edit(s, |sets| sets["tokens"] = json!([1, 4, 3]));
            attribute()
        }),
        refused("tokens-beyond-u32", "a token id of 2^40", FILE, |s| {
            edit(s, |sets| sets["tokens"] = json!([1, 4, 1_u64 << 40]));
            attribute()
        }),
        refused("a-million-tokens", "a million tokens", FILE, |s| {
            edit(s, |sets| sets["tokens"] = json!(vec![1; 1_000_000]));
            attribute()
        }),
    ]
}

fn names() -> Vec<Attack> {
    vec![
        refused("two-sets-of-one-name", "a set that is given twice", FILE, |s| {
            s.replace(FILE, "\"high\"", "\"low\"");
            attribute()
        }),
        refused("two-sets-of-one-name-escaped", "the same name, once with an escape", FILE, |s| {
            s.replace(FILE, "\"high\"", "\"\\u006cow\"");
            attribute()
        }),
        refused("two-layers-of-one-name", "a layer that is given twice", FILE, |s| {
            s.replace(FILE, "h.0.attn.k_proj", Q);
            attribute()
        }),
        refused("two-prompts", "the key prompt twice, with different values", FILE, |s| {
            s.replace(FILE, "{", "{\"prompt\":\"w2 w2 w2\",");
            attribute()
        }),
        refused("two-objects-of-sets", "the key ci_sets twice", FILE, |s| {
            s.replace(FILE, "{", "{\"ci_sets\":{},");
            attribute()
        }),
        refused("unknown-layer", "a layer that the model lacks", FILE, |s| {
            s.replace(FILE, Q, "h.99.attn.q_proj");
            attribute()
        }),
        refused("layer-name-of-a-million-characters", "a layer name to fill the screen with", FILE, |s| {
            s.replace(FILE, Q, "x".repeat(1_000_000));
            attribute()
        }),
        refused("lone-surrogate-in-a-name", "half of a surrogate pair in a set name", FILE, |s| {
            s.replace(FILE, "\"low\"", "\"l\\ud800w\"");
            attribute()
        }),
        refused("lone-surrogate-in-the-prompt", "half of a surrogate pair in the prompt", FILE, |s| {
            s.replace(FILE, "w1 w4 w2", "w1 w4 \\udc00");
            attribute()
        }),
        taken("set-name-of-a-million-characters", "a set name longer than any file name", |s| {
            s.replace(FILE, "\"low\"", format!("\"{}\"", "x".repeat(1_000_000)));
            attribute()
        }),
        taken("set-names-that-are-paths", "set names that lead out of the output folder", |s| {
            s.replace(FILE, "\"low\"", "\"../../outside/precious\"");
            s.replace(FILE, "\"high\"", "\"/tmp/high\"");
            attribute()
        }),
        taken("set-name-manifest", "a set that would be the manifest's file", |s| {
            s.replace(FILE, "\"low\"", "\"manifest.json\"");
            attribute()
        }),
        refused("metadata-of-no-set", "metadata of a set that is not there", FILE, |s| {
            edit(s, |sets| sets["metadata"] = json!({ "other": 1 }));
            attribute()
        }),
        taken("unknown-key", "a key that nothing is known of", |s| {
            edit(s, |sets| sets["__proto__"] = json!({ "ci_sets": 1 }));
            attribute()
        }),
    ]
}
