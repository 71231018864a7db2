//! What tokens are decoded to one by one, held to the library's own decoding of all of them.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::needless_pass_by_value, reason = "JSON is written where it is passed")]

use std::fs;
use std::sync::LazyLock;

use proptest::prelude::*;
use serde_json::{Map, Value, json};
use tributary_inputs::test_support::{RandomWeights, Style, write_run};
use tributary_inputs::{RunOptions, TrainedRun};
use tributary_testing::config;

/// A tokenizer, read by this library and by the one underneath.
struct Case {
    name: &'static str,
    run: TrainedRun,
    library: tokenizers::Tokenizer,
    vocab: u32,
}

impl Case {
    fn new(name: &'static str, tokenizer: Value) -> Self {
        let folder = tempfile::tempdir().unwrap();
        write_run(folder.path(), &RandomWeights::gpt2_simple(3).weights(), Style::Current);
        let file = folder.path().join("target/tokenizer.json");
        fs::write(&file, tokenizer.to_string()).unwrap();
        let run = TrainedRun::load(folder.path(), &RunOptions::default()).unwrap();
        let library = tokenizers::Tokenizer::from_file(&file).unwrap();
        let vocab = library.get_vocab_size(true) as u32;
        Self { name, run, library, vocab }
    }

    fn ids(&self, text: &str) -> Vec<u32> {
        self.library.encode(text, false).unwrap().get_ids().to_vec()
    }

    fn texts(&self, ids: &[u32]) -> Vec<String> {
        let texts = self.run.tokenizer.token_texts(ids);
        assert_eq!(texts.len(), ids.len(), "{}", self.name);
        texts
    }

    #[track_caller]
    fn check(&self, ids: &[u32]) -> String {
        let joined = self.texts(ids).concat();
        if ids.is_empty() {
            // At which a decoder of the library panics.
            return joined;
        }
        let bytes = bytes(&joined);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if self.name == "byte fallback" && str::from_utf8(&bytes).is_err() {
            // The library gives up all bytes beside one that makes no character.
            return text;
        }
        // The library puts one mark or several for bytes that make no character.
        assert_eq!(one_mark(&text), one_mark(&self.library.decode(ids, false).unwrap()), "{} of {ids:?}", self.name);
        text
    }
}

/// A text in which `⟨C3⟩` is the byte that it stands for.
fn bytes(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('⟨') {
        bytes.extend_from_slice(&rest.as_bytes()[..at]);
        let (digits, after) = rest[at + '⟨'.len_utf8()..].split_once('⟩').unwrap();
        bytes.push(u8::from_str_radix(digits, 16).unwrap());
        rest = after;
    }
    bytes.extend_from_slice(rest.as_bytes());
    bytes
}

fn one_mark(text: &str) -> String {
    let mut text = text.to_owned();
    while text.contains("\u{fffd}\u{fffd}") {
        text = text.replace("\u{fffd}\u{fffd}", "\u{fffd}");
    }
    text
}

fn vocab(tokens: impl IntoIterator<Item = String>) -> Map<String, Value> {
    let mut vocab = Map::new();
    for token in tokens {
        let id = vocab.len();
        vocab.entry(token).or_insert(id.into());
    }
    vocab
}

fn tokenizer(model: Value, normalizer: Value, pre_tokenizer: Value, decoder: Value) -> Value {
    json!({
        "version": "1.0", "added_tokens": [], "model": model, "normalizer": normalizer, "pre_tokenizer": pre_tokenizer,
        "decoder": decoder,
    })
}

/// With the bytes of GPT-2, as its authors' `bytes_to_unicode` spells them.
fn byte_level() -> Value {
    let mut bytes: Vec<u32> = (33..=126).chain(161..=172).chain(174..=255).collect();
    let mut characters = bytes.clone();
    for byte in 0..256 {
        if !bytes.contains(&byte) {
            characters.push(256 + bytes.len() as u32 - 188);
            bytes.push(byte);
        }
    }
    let merges = [["Ġ", "t"], ["h", "e"], ["Ġt", "he"], ["Ã", "©"], ["ð", "Ł"], ["Ċ", "Ċ"]];
    let tokens = characters.iter().map(|&character| char::from_u32(character).unwrap().to_string());
    let vocab = vocab(tokens.chain(merges.iter().map(|merge| merge.concat())));
    let step = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true});
    let mut json = tokenizer(json!({"type": "BPE", "vocab": vocab, "merges": merges}), Value::Null, step.clone(), step);
    let added = |id: usize, content: &str| {
        json!({"id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false,
               "special": true})
    };
    json["added_tokens"] = json!([added(262, "<|endoftext|>"), added(263, "two words")]);
    json
}

fn byte_tokens() -> impl Iterator<Item = String> {
    ["<unk>".to_owned()].into_iter().chain((0..256).map(|byte| format!("<0x{byte:02X}>")))
}

/// As of Llama: `SentencePiece`'s BPE with byte fallback.
fn byte_fallback() -> Value {
    let merges = [["▁", "t"], ["h", "e"], ["▁t", "he"]];
    let letters = ('a'..='z').chain(['▁', '.', ',']).map(String::from);
    let vocab = vocab(byte_tokens().chain(letters).chain(merges.iter().map(|merge| merge.concat())));
    let model = json!({"type": "BPE", "vocab": vocab, "merges": merges, "unk_token": "<unk>", "fuse_unk": true,
                       "byte_fallback": true});
    let normalizer = json!({"type": "Sequence", "normalizers": [
        {"type": "Prepend", "prepend": "▁"}, {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]});
    let decoder = json!({"type": "Sequence", "decoders": [
        {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"},
        {"type": "Strip", "content": " ", "start": 1, "stop": 0}]});
    tokenizer(model, normalizer, Value::Null, decoder)
}

/// As of T5: `SentencePiece`'s Unigram.
fn unigram() -> Value {
    let pieces = ["<unk>", "▁", "▁the", "t", "h", "e", "a", "n", "s", ".", ","].into_iter();
    let vocab: Vec<Value> = pieces.enumerate().map(|(at, piece)| json!([piece, -(at as f64)])).collect();
    let step = json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true});
    tokenizer(json!({"type": "Unigram", "unk_id": 0, "vocab": vocab}), Value::Null, step.clone(), step)
}

fn word_piece() -> Value {
    let letters = ('a'..='z').chain(['.', ',', '?', '!', '\'']);
    let pieces = letters.flat_map(|letter| [letter.to_string(), format!("##{letter}")]);
    let vocab = vocab(["[UNK]", "the", "walk", "##ed"].map(str::to_owned).into_iter().chain(pieces));
    let model = json!({"type": "WordPiece", "vocab": vocab, "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                       "max_input_chars_per_word": 100});
    let decoder = json!({"type": "WordPiece", "prefix": "##", "cleanup": true});
    tokenizer(model, json!({"type": "Lowercase"}), json!({"type": "BertPreTokenizer"}), decoder)
}

fn suffixed() -> Value {
    let letters = ('a'..='z').flat_map(|letter| [letter.to_string(), format!("{letter}</w>")]);
    let model = json!({"type": "BPE", "vocab": vocab(letters), "merges": [], "end_of_word_suffix": "</w>"});
    tokenizer(model, Value::Null, json!({"type": "Whitespace"}), json!({"type": "BPEDecoder", "suffix": "</w>"}))
}

fn words() -> Value {
    let model = json!({"type": "WordLevel", "vocab": vocab(["?", "the", "girl"].map(str::to_owned)), "unk_token": "?"});
    tokenizer(model, Value::Null, json!({"type": "Whitespace"}), Value::Null)
}

static CASES: LazyLock<Vec<Case>> = LazyLock::new(|| {
    vec![
        Case::new("byte-level", byte_level()),
        Case::new("byte fallback", byte_fallback()),
        Case::new("unigram", unigram()),
        Case::new("word pieces", word_piece()),
        Case::new("suffixed", suffixed()),
        Case::new("words", words()),
    ]
});

fn case(name: &str) -> &'static Case {
    CASES.iter().find(|case| case.name == name).unwrap()
}

fn text() -> impl Strategy<Value = String> {
    let parts = prop_oneof![
        Just(" the"),
        Just("\n"),
        Just("  "),
        Just("\t"),
        Just("é"),
        Just("😀"),
        Just("👩‍👩‍👧"),
        Just("日本"),
        Just("the "),
        Just("walked"),
        Just("."),
        Just(", "),
        Just("don't"),
        Just("two words"),
        Just("<|endoftext|>"),
        Just("\u{301}"),
    ];
    prop::collection::vec(prop_oneof![parts.prop_map(str::to_owned), any::<char>().prop_map(String::from)], 0..12)
        .prop_map(|parts| parts.concat().replace(['⟨', '⟩'], ""))
}

proptest! {
    #![proptest_config(config(256))]

    /// Of any text's tokens: together they are what the library decodes them to, and the text where nothing of it is lost.
    #[test]
    fn texts_of_tokens_make_up_the_text(text in text()) {
        for case in CASES.iter() {
            let joined = case.check(&case.ids(&text));
            if case.name == "byte-level" || case.name == "byte fallback" {
                prop_assert_eq!(&joined, &text, "{}", case.name);
            }
        }
    }

    /// Of tokens in any order, which no text need have.
    #[test]
    fn texts_of_any_tokens_make_up_what_they_are_decoded_to(
        draws in prop::collection::vec(any::<prop::sample::Index>(), 1..10),
    ) {
        for case in CASES.iter() {
            let ids: Vec<u32> = draws.iter().map(|draw| draw.index(case.vocab as usize) as u32).collect();
            case.check(&ids);
        }
    }
}

#[test]
fn tokens_are_split_as_their_vocabularies_do() {
    for (name, text, expected) in [
        ("byte-level", "the the\n\n", &["t", "he", " the", "\n\n"][..]),
        ("byte-level", "é😀", &["é", "⟨F0⟩⟨9F⟩", "⟨98⟩", "⟨80⟩"]),
        ("byte-level", "a<|endoftext|>two words", &["a", "<|endoftext|>", "two words"]),
        ("byte fallback", "the the\né", &["the", " the", "\n", "⟨C3⟩", "⟨A9⟩"]),
        ("byte fallback", " a", &["", " ", "a"]),
        ("unigram", "the the.", &["the", " the", "."]),
        ("word pieces", "The walked walk.", &["the", " walk", "ed", " walk", "."]),
        ("suffixed", "ab c", &["a", "b ", "c"]),
        ("words", "the girl", &["the", " girl"]),
    ] {
        let case = case(name);
        assert_eq!(case.texts(&case.ids(text)), expected, "{name}: {text:?}");
    }
}

/// Output nodes say what comes next in a text, so a word has its space.
#[test]
fn a_token_alone_is_as_in_the_middle_of_a_text() {
    for (name, spelling, expected) in [
        ("byte-level", "Ġthe", " the"),
        ("byte-level", "Ċ", "\n"),
        ("byte-level", "Ã", "⟨C3⟩"),
        ("byte fallback", "▁the", " the"),
        ("byte fallback", "<0x0A>", "\n"),
        ("unigram", "▁", " "),
        ("word pieces", "walk", " walk"),
        ("word pieces", "##ed", "ed"),
        ("suffixed", "a</w>", "a "),
        ("words", "girl", " girl"),
    ] {
        let case = case(name);
        let id = case.library.token_to_id(spelling).unwrap();
        assert_eq!(case.run.tokenizer.token_text(id), expected, "{name}: {spelling}");
        assert_eq!(case.run.tokenizer.token_string(id), spelling);
    }
}

/// What does not decode token by token keeps the vocabulary's spelling.
#[test]
fn other_decoders_leave_the_spelling() {
    let mut json = word_piece();
    for decoder in [
        json!({"type": "CTC", "pad_token": "<pad>", "word_delimiter_token": "|", "cleanup": true}),
        json!({"type": "Sequence", "decoders": [{"type": "Fuse"}, {"type": "WordPiece", "prefix": "##", "cleanup": true}]}),
        json!({"type": "Replace", "pattern": {"String": "#"}, "content": "x".repeat(1 << 24)}),
    ] {
        json["decoder"] = decoder;
        let case = Case::new("other", json.clone());
        let ids = case.ids("walked");
        assert_eq!(case.texts(&ids), ["walk", "##ed"]);
    }
    json["decoder"] = json!({"type": "Strip", "content": " ", "start": 9, "stop": 9});
    let case = Case::new("other", json);
    assert_eq!(case.texts(&case.ids("walked")), ["walk", "##ed"]);
    assert!(case.texts(&[]).is_empty());
    assert_eq!(case.texts(&[u32::MAX]), ["<4294967295>"]);
}
