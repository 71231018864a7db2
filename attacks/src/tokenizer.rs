//! `tokenizer.json`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::Attack;
use crate::attack::{refused, taken};
use crate::scene::{Scene, attribute, attribute_prompt};

const FILE: &str = "run/target/tokenizer.json";

fn edit(scene: &Scene, edit: impl FnOnce(&mut Value)) {
    scene.edit(FILE, edit);
}

/// With the text split where a regular expression says.
fn split(scene: &Scene, regex: &str) {
    edit(scene, |tokenizer| {
        tokenizer["pre_tokenizer"] =
            json!({ "type": "Split", "pattern": { "Regex": regex }, "behavior": "Isolated", "invert": false });
    });
}

/// With a model of byte pairs.
fn byte_pairs(scene: &Scene, merges: &Value) {
    edit(scene, |tokenizer| {
        let vocab = json!({ "w": 0, "1": 1, "w1": 2, "1w": 3, "w11": 4 });
        tokenizer["model"] = json!({ "type": "BPE", "vocab": vocab, "merges": merges, "unk_token": "w" });
    });
}

pub(crate) fn attacks() -> Vec<Attack> {
    [models(), around(), growing()].concat()
}

fn models() -> Vec<Attack> {
    vec![
        refused("empty-file", "a file of no bytes", FILE, |s| {
            s.write(FILE, "");
            attribute()
        }),
        refused("deep-lists", "100 000 lists in each other", FILE, |s| {
            s.write(FILE, "[".repeat(100_000));
            attribute()
        }),
        refused("deep-model", "a model of 100 000 objects in each other", FILE, |s| {
            s.write(FILE, format!("{{\"model\":{}", "{\"type\":".repeat(100_000)));
            attribute()
        }),
        refused("unknown-model", "a model of an unknown type", FILE, |s| {
            edit(s, |tokenizer| tokenizer["model"]["type"] = json!("Neural"));
            attribute()
        }),
        refused("model-type-of-a-million-characters", "a type to fill the screen with", FILE, |s| {
            edit(s, |tokenizer| tokenizer["model"]["type"] = json!("x".repeat(1_000_000)));
            attribute()
        }),
        refused("model-type-a-list", "a type that is a list of 100 000 entries", FILE, |s| {
            edit(s, |tokenizer| tokenizer["model"]["type"] = json!(vec![7; 100_000]));
            attribute()
        }),
        refused("no-vocabulary", "a model without vocabulary", FILE, |s| {
            edit(s, |tokenizer| drop(tokenizer["model"].as_object_mut().unwrap().remove("vocab")));
            attribute()
        }),
        refused("empty-vocabulary", "a vocabulary of nothing", FILE, |s| {
            edit(s, |tokenizer| tokenizer["model"]["vocab"] = json!({}));
            attribute()
        }),
        taken("two-tokens-of-one-id", "two words with one id", |s| {
            edit(s, |tokenizer| tokenizer["model"]["vocab"]["w2"] = json!(1));
            attribute()
        }),
        refused("id-beyond-u32", "an id of 2^32", FILE, |s| {
            edit(s, |tokenizer| tokenizer["model"]["vocab"]["w1"] = json!(1_u64 << 32));
            attribute()
        }),
        refused("id-negative", "an id of -1", FILE, |s| {
            edit(s, |tokenizer| tokenizer["model"]["vocab"]["w1"] = json!(-1));
            attribute()
        }),
        refused("id-of-no-embedding", "an id that is the largest of all", FILE, |s| {
            edit(s, |tokenizer| tokenizer["model"]["vocab"]["w1"] = json!(u32::MAX));
            attribute()
        }),
        refused("merge-of-nothing", "a merge of tokens that are not there", FILE, |s| {
            byte_pairs(s, &json!(["x y"]));
            attribute()
        }),
        refused("merge-of-one", "a merge of a single token", FILE, |s| {
            byte_pairs(s, &json!(["w"]));
            attribute()
        }),
        taken("merges-in-a-circle", "merges that lead to each other", |s| {
            byte_pairs(s, &json!(["w 1", "1 w", "w1 1", "w 1"]));
            attribute_prompt("w1")
        }),
        taken("merges-over-a-repeated-word", "a word that merges in more than one way", |s| {
            byte_pairs(s, &json!(["w 1", "1 w"]));
            attribute_prompt(&"w1".repeat(3))
        }),
        refused("scores-nan", "a unigram model whose scores are null", FILE, |s| {
            edit(s, |tokenizer| {
                tokenizer["model"] = json!({ "type": "Unigram", "unk_id": 0, "vocab": [["w1", null], ["w2", -1.0]] });
            });
            attribute()
        }),
        refused("unknown-id-outside", "a unigram model whose unknown token is not there", FILE, |s| {
            edit(s, |tokenizer| {
                tokenizer["model"] = json!({ "type": "Unigram", "unk_id": 99, "vocab": [["w1", -1.0]] });
            });
            attribute()
        }),
    ]
}

fn around() -> Vec<Attack> {
    vec![
        taken("regex-that-never-ends", "a pattern that goes back 2^n times, and is given up", |s| {
            split(s, "((a|aa)+)\\1\\1x");
            attribute_prompt(&format!("{}!", "a".repeat(60)))
        }),
        refused("regex-that-grows", "a pattern of 10^9 states", FILE, |s| {
            split(s, "((a{1000}){1000}){1000}");
            attribute()
        }),
        refused("regex-broken", "a pattern that is none", FILE, |s| {
            split(s, "(((");
            attribute()
        }),
        refused("regex-deep", "a pattern of 100 000 groups in each other", FILE, |s| {
            split(s, &format!("{}a{}", "(".repeat(100_000), ")".repeat(100_000)));
            attribute()
        }),
        taken("regex-of-nothing", "a pattern that matches everywhere", |s| {
            split(s, "");
            attribute_prompt("w1")
        }),
        taken("deep-normalizers", "60 sequences of normalizers in each other", |s| {
            let mut inner = json!({ "type": "NFC" });
            (0..60).for_each(|_| inner = json!({ "type": "Sequence", "normalizers": [inner.take()] }));
            edit(s, |tokenizer| tokenizer["normalizer"] = inner);
            attribute()
        }),
        refused("charsmap-broken", "a table of characters that is cut short", FILE, |s| {
            edit(s, |tokenizer| {
                tokenizer["normalizer"] = json!({ "type": "Precompiled", "precompiled_charsmap": "/////w==" });
            });
            attribute()
        }),
        taken("added-token-of-nothing", "an added token that is empty", |s| {
            edit(s, |tokenizer| tokenizer["added_tokens"] = json!([added(11, "")]));
            attribute()
        }),
        refused("added-token-beyond-u32", "an added token with the id 2^32", FILE, |s| {
            edit(s, |tokenizer| tokenizer["added_tokens"] = json!([added(1 << 32, "w4")]));
            attribute()
        }),
        refused("added-token-of-another-id", "an added token of an id that the model lacks", FILE, |s| {
            edit(s, |tokenizer| tokenizer["added_tokens"] = json!([added(500, "q4")]));
            s.replace("sets.json", "w1 w4 w2", "w1 q4 w2");
            attribute()
        }),
        taken("post-processor-of-nothing", "a template that names a token that is not there", |s| {
            edit(s, |tokenizer| {
                tokenizer["post_processor"] = json!({
                    "type": "BertProcessing", "sep": ["[SEP]", 4_000_000_000_u64], "cls": ["[CLS]", 4_000_000_000_u64],
                });
            });
            attribute()
        }),
        taken("truncation-to-nothing", "a truncation to 0 tokens", |s| {
            edit(s, |tokenizer| {
                tokenizer["truncation"] =
                    json!({ "max_length": 0, "strategy": "LongestFirst", "stride": 0, "direction": "Right" });
            });
            attribute()
        }),
        taken("padding-to-a-billion", "padding to a billion tokens", |s| {
            edit(s, |tokenizer| {
                tokenizer["padding"] = json!({
                    "strategy": { "Fixed": 1_000_000_000 }, "direction": "Right", "pad_to_multiple_of": null,
                    "pad_id": 0, "pad_type_id": 0, "pad_token": "w0",
                });
            });
            attribute()
        }),
        taken("stride-beyond-the-truncation", "a truncation whose stride is longer than itself", |s| {
            edit(s, |tokenizer| {
                tokenizer["truncation"] =
                    json!({ "max_length": 2, "strategy": "LongestFirst", "stride": 9, "direction": "Right" });
            });
            attribute()
        }),
    ]
}

fn growing() -> Vec<Attack> {
    vec![
        refused("text-that-doubles", "40 replacements, each of which doubles the text", FILE, |s| {
            normalized(s, &vec![replace("ww"); 40]);
            attribute()
        }),
        refused(
            "prefix-that-is-replaced",
            "a megabyte before the text, then a kilobyte for each of its letters",
            FILE,
            |s| {
                normalized(s, &[prepend(1_000_000), replace(&"b".repeat(1000))]);
                attribute()
            },
        ),
        refused("prefix-of-a-file", "ten megabytes before the text", FILE, |s| {
            normalized(s, &vec![prepend(1_000_000); 10]);
            attribute()
        }),
        refused("steps-by-the-thousand", "100 000 steps of a normalizer", FILE, |s| {
            normalized(s, &vec![json!({ "type": "Lowercase" }); 100_000]);
            attribute()
        }),
        refused("charsmap-of-a-megabyte", "a table that has a megabyte for a letter", FILE, |s| {
            normalized(s, &[json!({ "type": "Precompiled", "precompiled_charsmap": charsmap(b'w', 1_000_000) })]);
            attribute()
        }),
        refused("added-tokens-that-grow", "1 000 added tokens of 100 kB each when they are normalized", FILE, |s| {
            normalized(s, &[prepend(100_000)]);
            edit(s, |tokenizer| {
                let mut tokens: Vec<_> = (11..1011).map(|id| added(id, &format!("w{id}"))).collect();
                for token in &mut tokens {
                    token["normalized"] = json!(true);
                }
                tokenizer["added_tokens"] = json!(tokens);
            });
            attribute()
        }),
        refused("bytes-of-bytes", "36 times each byte becomes a character of two", FILE, |s| {
            let bytes =
                json!({ "type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": false });
            pre_tokenized(s, &vec![bytes; 36]);
            attribute()
        }),
        refused(
            "parts-that-grow",
            "20 times the text is taken apart, and each part begun with another letter",
            FILE,
            |s| {
                let apart =
                    json!({ "type": "Split", "pattern": { "Regex": "." }, "behavior": "Isolated", "invert": false });
                let begun =
                    |letter: &str| json!({ "type": "Metaspace", "replacement": letter, "prepend_scheme": "always" });
                pre_tokenized(
                    s,
                    &[apart.clone(), begun("x"), apart, begun("y")]
                        .iter()
                        .cycle()
                        .take(40)
                        .cloned()
                        .collect::<Vec<_>>(),
                );
                attribute()
            },
        ),
        refused("parts-of-nothing", "parts of length 0", FILE, |s| {
            pre_tokenized(s, &[json!({ "type": "FixedLength", "length": 0 })]);
            attribute()
        }),
        refused("piece-of-any-length", "a piece of 20 000 letters, each of which begins another", FILE, |s| {
            edit(s, |tokenizer| {
                let vocab = json!([["w0", 0.0], ["w", -1.0], ["w".repeat(20_000), -1.0]]);
                tokenizer["model"] = json!({ "type": "Unigram", "unk_id": 0, "vocab": vocab });
                tokenizer["pre_tokenizer"] = Value::Null;
            });
            attribute_prompt(&"w".repeat(20_000))
        }),
        refused("tokens-at-random", "pairs of letters that are merged half of the times", FILE, |s| {
            byte_pairs(s, &json!(["w 1", "1 w"]));
            edit(s, |tokenizer| tokenizer["model"]["dropout"] = json!(0.5));
            attribute_prompt("w1")
        }),
        refused("word-of-any-length", "pieces of words of up to a billion characters", FILE, |s| {
            edit(s, |tokenizer| {
                tokenizer["model"] = json!({
                    "type": "WordPiece", "unk_token": "w0", "continuing_subword_prefix": "##",
                    "max_input_chars_per_word": 1_000_000_000, "vocab": { "w0": 0, "w": 1 },
                });
                tokenizer["pre_tokenizer"] = Value::Null;
            });
            attribute_prompt(&"w".repeat(20_000))
        }),
    ]
}

fn normalized(scene: &Scene, steps: &[Value]) {
    edit(scene, |tokenizer| tokenizer["normalizer"] = json!({ "type": "Sequence", "normalizers": steps }));
}

fn pre_tokenized(scene: &Scene, steps: &[Value]) {
    edit(scene, |tokenizer| tokenizer["pre_tokenizer"] = json!({ "type": "Sequence", "pretokenizers": steps }));
}

fn replace(content: &str) -> Value {
    json!({ "type": "Replace", "pattern": { "String": "w" }, "content": content })
}

fn prepend(length: usize) -> Value {
    json!({ "type": "Prepend", "prepend": "w".repeat(length) })
}

/// A table that has `length` letters for a byte: a trie of that byte, in the form of the library darts-clone, and the letters.
fn charsmap(byte: u8, length: usize) -> String {
    const ROOT: usize = 0x100;
    let node = ROOT ^ usize::from(byte);
    let mut trie = [0_u32; 0x200];
    trie[0] = (ROOT as u32) << 10;
    trie[node] = u32::from(byte) | 1 << 8 | 1 << 10;
    // The leaf, one beside the node, is where the letters begin.
    trie[node ^ 1] = 0;
    let size = size_of_val(&trie) as u32;
    let bytes: Vec<u8> = [size].iter().chain(&trie).flat_map(|unit| unit.to_le_bytes()).collect();
    STANDARD.encode([bytes, vec![b'x'; length]].concat())
}

fn added(id: u64, content: &str) -> Value {
    json!({
        "id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false,
        "special": true,
    })
}
