//! Metadata of sets: any JSON, but not any amount of it.
//!
//! A number of two bytes becomes a value of some dozens, and gzip makes a thousand of each byte, so that a file of a few
//! kilobytes could ask for all memory there is.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// The most values that the metadata of a file may have in all, keys included: far more than anyone looks at.
const VALUES: usize = 1 << 20;

/// The most bytes that their texts may have in all.
const TEXT: usize = 1 << 26;

/// What the metadata of a file may still take.
pub(crate) struct Room {
    values: Cell<usize>,
    text: Cell<usize>,
}

impl Default for Room {
    fn default() -> Self {
        Self { values: Cell::new(VALUES), text: Cell::new(TEXT) }
    }
}

impl Room {
    fn take<E: Error>(&self, text: usize) -> Result<(), E> {
        let left = self.values.get().checked_sub(1).zip(self.text.get().checked_sub(text));
        let too_much = || {
            let (values, text) = (VALUES, TEXT >> 20);
            E::custom(format!("there is more metadata than the {values} values and {text} MiB of text that are read"))
        };
        let (values, text) = left.ok_or_else(too_much)?;
        self.values.set(values);
        self.text.set(text);
        Ok(())
    }
}

/// Reads a value as [`Value`] reads itself.
#[derive(Clone, Copy)]
pub(crate) struct Metadata<'a>(pub(crate) &'a Room);

impl<'de> DeserializeSeed<'de> for Metadata<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Metadata<'_> {
    fn plain<E: Error>(self, value: impl Into<Value>) -> Result<Value, E> {
        self.0.take(0)?;
        Ok(value.into())
    }
}

impl<'de> Visitor<'de> for Metadata<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any valid JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        self.plain(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        self.plain(value)
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        self.plain(value)
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        self.plain(value)
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        self.plain(value)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Value, E> {
        self.0.take(text.len())?;
        Ok(text.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        self.0.take(0)?;
        let mut entries = Vec::new();
        while let Some(entry) = list.next_element_seed(self)? {
            entries.push(entry);
        }
        Ok(entries.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        self.0.take(0)?;
        let mut entries = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            self.0.take(key.len())?;
            entries.insert(key, map.next_value_seed(self)?);
        }
        Ok(entries.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> serde_json::Result<Value> {
        let room = Room::default();
        Metadata(&room).deserialize(&mut serde_json::Deserializer::from_str(json))
    }

    #[test]
    fn values_are_those_of_json() {
        let json =
            r#"{"z": [1, -1, 0.1, 1e300, 18446744073709551615, true, null, "\u00e9\ud83d\ude00"], "a": {"b": {}}}"#;
        let expected: Value = serde_json::from_str(json).unwrap();
        assert_eq!(read(json).unwrap(), expected);
        assert_eq!(read(json).unwrap().to_string(), expected.to_string());
    }

    #[test]
    fn there_is_an_end_to_them() {
        let list = |count: usize| format!("[{}0]", "0,".repeat(count - 1));
        assert!(read(&list(VALUES - 1)).is_ok());
        assert!(read(&list(VALUES)).unwrap_err().to_string().contains("more metadata than the 1048576 values"));
        assert!(read(&format!("\"{}\"", "x".repeat(TEXT))).is_ok());
        let long = "x".repeat(TEXT + 1);
        for json in [format!("\"{long}\""), format!("{{\"{long}\": 0}}")] {
            assert!(read(&json).unwrap_err().to_string().contains("64 MiB of text"), "{}", &json[..2]);
        }
    }
}
