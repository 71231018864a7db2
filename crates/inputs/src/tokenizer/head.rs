//! What is looked at in `tokenizer.json` before the library reads it: where it would take more memory or time than the file is
//! worth, panic, or name a type of its own in place of what it found.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::Deserialize;
use serde_json::Value;

use crate::error::shortened;

/// The models there are, by the names that `tokenizer.json` has for them.
const MODELS: [&str; 4] = ["BPE", "WordPiece", "WordLevel", "Unigram"];
/// Characters that a word may have for `WordPiece`, whose time grows with the cube of them. Usual are 100.
const WORD: u64 = 512;

#[derive(Deserialize)]
struct Head {
    normalizer: Option<Value>,
    model: Option<Model>,
}

#[derive(Deserialize)]
struct Model {
    #[serde(rename = "type")]
    kind: Option<Value>,
    unk_id: Option<Value>,
    dropout: Option<Value>,
    max_input_chars_per_word: Option<Value>,
}

/// Checks the head of a tokenizer. Gives the id that its model has for unknown text, where it has one.
pub(crate) fn check(bytes: &[u8]) -> Result<Option<u32>, String> {
    let head: Head = serde_json::from_slice(bytes).map_err(|error| format!("not JSON of a tokenizer: {error}"))?;
    if let Some(normalizer) = &head.normalizer {
        check_normalizer(normalizer)?;
    }
    let model = head.model.ok_or("it has no model; expected what tokenizer.save() writes")?;
    match model.kind {
        // Old files do not say.
        None => {}
        Some(Value::String(kind)) if MODELS.contains(&&*kind) => {}
        Some(other) => {
            let found = other.as_str().map_or_else(|| other.to_string(), shortened);
            return Err(format!(
                "its model is of type {found}, which is unknown; expected one of {}",
                MODELS.join(", ")
            ));
        }
    }
    if let Some(dropout) = model.dropout.and_then(|dropout| dropout.as_f64()).filter(|&dropout| dropout != 0.0) {
        return Err(format!(
            "its model has a dropout of {dropout}, with which a text has other tokens each time; it is for training: set it to null"
        ));
    }
    match model.max_input_chars_per_word.and_then(|most| most.as_u64()) {
        Some(most) if most > WORD => Err(format!(
            "max_input_chars_per_word of its model is {most}, more than the {WORD} that can be had in reasonable time"
        )),
        _ => Ok(model.unk_id.and_then(|id| u32::try_from(id.as_u64()?).ok())),
    }
}

/// Checks every table of characters in a normalizer. What a normalizer has tells what it does: the library guesses its type where
/// none is given.
fn check_normalizer(normalizer: &Value) -> Result<(), String> {
    normalizer["normalizers"].as_array().into_iter().flatten().try_for_each(check_normalizer)?;
    check_charsmap(&normalizer["precompiled_charsmap"])
}

/// As the library reads it.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// Checks that a table of characters holds the trie that it says it holds: room is made for it before it is read.
fn check_charsmap(charsmap: &Value) -> Result<(), String> {
    // What else may be wrong with it is for the library to say.
    let Some(bytes) = charsmap.as_str().and_then(|text| BASE64.decode(text).ok()) else { return Ok(()) };
    match bytes.split_first_chunk() {
        Some((size, rest)) if u32::from_le_bytes(*size) as usize > rest.len() => Err(format!(
            "the precompiled_charsmap of its normalizer has {} bytes, but its first part alone should have {}",
            rest.len(),
            u32::from_le_bytes(*size)
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_table_of_characters_is_as_long_as_it_says() {
        let check =
            |charsmap: &str| check_normalizer(&json!({ "normalizers": [{ "precompiled_charsmap": charsmap }] }));
        assert!(check(&BASE64.encode(b"\x04\0\0\0abcd")).is_ok());
        let error = check(&BASE64.encode(b"\x05\0\0\0abcd")).unwrap_err();
        assert!(error.contains("has 4 bytes, but its first part alone should have 5"), "{error}");
        // The library takes it without its padding, and without a type.
        assert!(check("BQAAAGFiY2Q").is_err());
    }

    #[test]
    fn words_are_as_long_as_can_be_looked_at() {
        let of = |most: u64| check(json!({ "model": { "max_input_chars_per_word": most } }).to_string().as_bytes());
        assert!(of(100).is_ok() && of(513).unwrap_err().contains("is 513, more than the 512"));
    }

    #[test]
    fn tokens_are_not_drawn_at_random() {
        let of = |dropout: Value| check(json!({ "model": { "dropout": dropout } }).to_string().as_bytes());
        assert!(of(Value::Null).is_ok() && of(json!(0.0)).is_ok());
        assert!(of(json!(0.5)).unwrap_err().contains("a dropout of 0.5"));
    }
}
