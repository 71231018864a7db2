//! Tokenizers of every model, normalizer and pre-tokenizer that runs are likely to have, and some that they are not.

use serde_json::{Value, json};

use crate::{Seed, seed};

fn with(model: Value, parts: Value) -> String {
    let mut tokenizer = json!({"version": "1.0", "truncation": null, "padding": null, "added_tokens": []});
    for (key, value) in parts.as_object().expect("parts are an object") {
        tokenizer[key] = value.clone();
    }
    tokenizer["model"] = model;
    tokenizer.to_string()
}

pub(crate) fn seeds() -> Vec<Seed> {
    let words = json!({"type": "WordLevel", "vocab": {"w0": 0, "w1": 1, "w2": 2, "w3": 3}, "unk_token": "w0"});
    let pieces = json!({"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
        "max_input_chars_per_word": 100, "vocab": {"[UNK]": 0, "w": 1, "##1": 2, "they": 3, "##s": 4}});
    let pairs = json!({"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
        "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
        "vocab": {"t": 0, "h": 1, "e": 2, "th": 3, "the": 4, "\u{120}": 5}, "merges": [["t", "h"], ["th", "e"]]});
    let spaced = json!({"type": "BPE", "unk_token": "<unk>", "fuse_unk": true, "byte_fallback": true,
        "vocab": {"<unk>": 0, "a": 1, "b": 2, "ab": 3, "<0x20>": 4}, "merges": ["a b"]});
    let unigram = json!({"type": "Unigram", "unk_id": 0, "byte_fallback": false,
        "vocab": [["<unk>", 0.0], ["\u{2581}w", -1.5], ["1", -2.0], ["h", -3.0], ["and", -2.5]]});
    let added = |content: &str, special: bool| {
        json!({"id": 3, "content": content, "single_word": false, "lstrip": true, "rstrip": true, "normalized": !special,
            "special": special})
    };
    vec![
        seed("words", with(words.clone(), json!({"pre_tokenizer": {"type": "WhitespaceSplit"}}))),
        seed(
            "bert",
            with(
                pieces.clone(),
                json!({
            "normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
                "strip_accents": null, "lowercase": true},
            "pre_tokenizer": {"type": "BertPreTokenizer"},
            "post_processor": {"type": "TemplateProcessing",
                "single": [{"SpecialToken": {"id": "[UNK]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
                "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
                "special_tokens": {"[UNK]": {"id": "[UNK]", "ids": [0], "tokens": ["[UNK]"]}}},
            "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": true},
            "added_tokens": [added("[UNK]", true)]}),
            ),
        ),
        seed(
            "bytes",
            with(
                pairs.clone(),
                json!({
            "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
            "post_processor": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": false, "use_regex": true},
            "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
            "truncation": {"direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 0},
            "padding": {"strategy": {"Fixed": 8}, "direction": "Right", "pad_to_multiple_of": null, "pad_id": 0,
                "pad_type_id": 0, "pad_token": "t"},
            "added_tokens": [added("<|end|>", true)]}),
            ),
        ),
        seed(
            "sentences",
            with(
                unigram,
                json!({
            "normalizer": {"type": "Sequence", "normalizers": [{"type": "Nmt"}, {"type": "NFKC"},
                {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}]},
            "pre_tokenizer": {"type": "Metaspace", "replacement": "\u{2581}", "prepend_scheme": "always", "split": true},
            "decoder": {"type": "Metaspace", "replacement": "\u{2581}", "prepend_scheme": "always", "split": true}}),
            ),
        ),
        seed(
            "fallback",
            with(
                spaced,
                json!({
            "normalizer": {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "_"},
                {"type": "Replace", "pattern": {"String": " "}, "content": "\u{2581}"}]},
            "decoder": {"type": "Sequence", "decoders": [{"type": "ByteFallback"}, {"type": "Fuse"},
                {"type": "Strip", "content": " ", "start": 1, "stop": 0}]}}),
            ),
        ),
        seed(
            "splits",
            with(
                pieces.clone(),
                json!({
            "normalizer": {"type": "Sequence", "normalizers": [{"type": "NFD"}, {"type": "StripAccents"},
                {"type": "Lowercase"}, {"type": "Strip", "strip_left": true, "strip_right": true}]},
            "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
                {"type": "Split", "pattern": {"Regex": "\\p{L}+|(?=\\d)\\d{1,3}|(?<!x)\\S"}, "behavior": "Isolated",
                    "invert": false},
                {"type": "Punctuation", "behavior": "Contiguous"}, {"type": "Digits", "individual_digits": true},
                {"type": "UnicodeScripts"}, {"type": "Whitespace"},
                {"type": "CharDelimiterSplit", "delimiter": "x"}]}}),
            ),
        ),
        seed(
            "roberta",
            with(
                pairs,
                json!({
            "normalizer": {"type": "NFC"}, "pre_tokenizer": {"type": "Whitespace"},
            "post_processor": {"type": "RobertaProcessing", "sep": ["e", 2], "cls": ["t", 0], "trim_offsets": true,
                "add_prefix_space": false}}),
            ),
        ),
        seed(
            "backtracking",
            with(
                words.clone(),
                json!({
            "pre_tokenizer": {"type": "Split", "pattern": {"Regex": "(?=(a+)+$)|(\\w|\\w\\w)*\\1\u{4e2d}"},
                "behavior": "MergedWithPrevious", "invert": true}}),
            ),
        ),
        seed("old", json!({"model": {"vocab": {"a": 0}, "merges": []}}).to_string()),
        seed("mark", format!("\u{feff}{}", with(words.clone(), json!({})))),
        seed("unknown_model", with(json!({"type": "Other"}), json!({}))),
        seed("no_unknown", with(json!({"type": "WordLevel", "vocab": {}, "unk_token": "x"}), json!({}))),
        seed(
            "precompiled",
            with(
                words.clone(),
                json!({
            "normalizer": {"type": "Precompiled", "precompiled_charsmap": "ALQCAACEAAAAAACAAQAAgMz8AgC4BQAA"}}),
            ),
        ),
        seed("wrong_merge", with(json!({"type": "BPE", "vocab": {"a": 0}, "merges": [["a", "b"]]}), json!({}))),
        seed(
            "far_ids",
            with(
                json!({"type": "WordLevel", "vocab": {"w1": 4_294_967_295_u32, "w2": 1}, "unk_token": "w2"}),
                json!({"pre_tokenizer": {"type": "Whitespace"}}),
            ),
        ),
        seed("cut", &with(words, json!({}))[..40]),
        seed("empty", ""),
        seed("list", "[]"),
    ]
}
