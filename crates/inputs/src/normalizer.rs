//! What a tokenizer does to a text before it is split, looked at before it is done: the library that does it takes any amount
//! of memory for it, and has no error for what it does not get.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
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

/// How many times as long a text becomes by replacements, at most.
fn growth(normalizer: &Value) -> Result<f64, String> {
    let length = |text: &Value| text.as_str().map_or(1, str::len).max(1) as f64;
    match normalizer["type"].as_str() {
        Some("Sequence") => normalizer["normalizers"]
            .as_array()
            .into_iter()
            .flatten()
            .try_fold(1.0, |product, inner| Ok(product * growth(inner)?)),
        Some("Replace") => match &normalizer["pattern"]["String"] {
            Value::Null => Ok(1.0 + length(&normalizer["content"])),
            pattern => Ok((length(&normalizer["content"]) / length(pattern)).max(1.0)),
        },
        Some("Precompiled") => check_charsmap(&normalizer["precompiled_charsmap"]).map(|()| 1.0),
        _ => Ok(1.0),
    }
}

/// Checks that a table of characters holds the trie that it says it holds: room is made for it before it is read.
fn check_charsmap(charsmap: &Value) -> Result<(), String> {
    // What else may be wrong with it is for the library to say.
    let Some(bytes) = charsmap.as_str().and_then(|text| STANDARD.decode(text).ok()) else { return Ok(()) };
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
    }

    #[test]
    fn a_table_of_characters_is_as_long_as_it_says() {
        let check =
            |bytes: &[u8]| check(&json!({ "type": "Precompiled", "precompiled_charsmap": STANDARD.encode(bytes) }));
        assert!(check(b"\x04\0\0\0abcd").is_ok());
        assert!(check(b"\x05\0\0\0abcd").unwrap_err().contains("has 4 bytes, but its first part alone should have 5"));
    }
}
