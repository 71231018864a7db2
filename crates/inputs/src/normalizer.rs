//! What a tokenizer does to a text before it is split, looked at before it is done: the library that does it takes any amount
//! of memory for it, and has no error for what it does not get.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde_json::Value;

/// How many times as long a text may become: far more than the spelling of any character.
const MOST: f64 = 1024.0;

/// Checks the normalizer of `tokenizer.json`.
pub(crate) fn check(normalizer: &Value) -> Result<(), String> {
    let growth = growth(normalizer)?;
    if growth > MOST {
        return Err(format!(
            "its normalizer can make a text {growth:.3e} times as long, more than the {MOST} times that one may"
        ));
    }
    Ok(())
}

/// How many times as long a text becomes, at most. What a normalizer has tells what it does: the library guesses its type where
/// none is given.
fn growth(normalizer: &Value) -> Result<f64, String> {
    let length = |text: &str| text.len().max(1) as f64;
    let inner = normalizer["normalizers"].as_array().into_iter().flatten();
    let mut product = inner.map(growth).try_fold(1.0, |product, growth| Ok::<_, String>(product * growth?))?;
    if let Some(content) = normalizer["content"].as_str() {
        product *= match normalizer["pattern"]["String"].as_str() {
            Some(pattern) if !pattern.is_empty() => (length(content) / length(pattern)).max(1.0),
            // What matches nothing does so beside every byte.
            _ => 1.0 + length(content),
        };
    }
    if normalizer["type"] == "ByteLevel" {
        // A byte becomes a character of up to two.
        product *= 2.0;
    }
    check_charsmap(&normalizer["precompiled_charsmap"])?;
    Ok(product)
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
    fn replacements_multiply() {
        let replace = |content: &str| json!({ "type": "Replace", "pattern": { "String": "ab" }, "content": content });
        let sequence = |inner: Value, count| json!({ "type": "Sequence", "normalizers": vec![inner; count] });
        assert!(check(&sequence(replace("a"), 1000)).is_ok());
        assert!(check(&sequence(replace("abab"), 10)).is_ok());
        assert!(check(&sequence(replace("abab"), 11)).unwrap_err().contains("2.048e3 times as long"));
        assert!(check(&sequence(sequence(replace("abab"), 6), 2)).is_err());
        assert!(check(&json!({ "type": "NFC" })).is_ok() && check(&Value::Null).is_ok());
        let bytes = |count| sequence(json!({ "type": "ByteLevel" }), count);
        assert!(check(&bytes(10)).is_ok() && check(&bytes(11)).is_err());
        let mut untagged = sequence(replace("abab"), 11);
        untagged.as_object_mut().unwrap().remove("type");
        assert!(check(&untagged).is_err());
    }

    #[test]
    fn a_table_of_characters_is_as_long_as_it_says() {
        let check =
            |bytes: &[u8]| check(&json!({ "type": "Precompiled", "precompiled_charsmap": BASE64.encode(bytes) }));
        assert!(check(b"\x04\0\0\0abcd").is_ok());
        // The library takes it without its padding, and without a type.
        assert!(super::check(&json!({ "precompiled_charsmap": "BQAAAGFiY2Q" })).is_err());
        assert!(check(b"\x05\0\0\0abcd").unwrap_err().contains("has 4 bytes, but its first part alone should have 5"));
    }
}
