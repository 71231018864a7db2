//! JSON of any kind, read with the place that it is at.

use std::fmt;

use serde_json::Value;

use super::measured::Measured;

/// Bytes of a value that an error shows.
const SHOWN: usize = 60;

/// A value and where it is.
#[derive(Clone, Debug)]
pub(super) struct At<'a> {
    value: &'a Value,
    place: String,
}

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.place)
    }
}

impl<'a> At<'a> {
    pub(super) fn new(value: &'a Value, place: &str) -> Self {
        Self { value, place: place.to_owned() }
    }

    /// A field of an object; `None` where it is missing or `null`.
    pub(super) fn field(&self, name: &str) -> Result<Option<At<'a>>, String> {
        let fields = self.value.as_object().ok_or_else(|| self.unexpected("an object"))?;
        let found = fields.get(name).filter(|value| !value.is_null());
        Ok(found.map(|value| At { value, place: format!("{self}.{name}") }))
    }

    pub(super) fn list(&self, name: &str) -> Result<Vec<At<'a>>, String> {
        let Some(found) = self.field(name)? else { return Ok(Vec::new()) };
        let items = found.value.as_array().ok_or_else(|| found.unexpected("a list"))?;
        Ok(items.iter().enumerate().map(|(i, value)| At { value, place: format!("{found}[{i}]") }).collect())
    }

    pub(super) fn text(&self, name: &str) -> Result<Option<String>, String> {
        self.scalar(name, "a text", |value| value.as_str().map(str::to_owned))
    }

    pub(super) fn flag(&self, name: &str) -> Result<Option<bool>, String> {
        self.scalar(name, "true or false", Value::as_bool)
    }

    pub(super) fn whole(&self, name: &str) -> Result<Option<usize>, String> {
        self.scalar(name, "a whole number", |value| value.as_u64()?.try_into().ok())
    }

    pub(super) fn token(&self, name: &str) -> Result<Option<u32>, String> {
        self.scalar(name, "the id of a token", |value| value.as_u64()?.try_into().ok())
    }

    pub(super) fn number(&self, name: &str) -> Result<Option<f64>, String> {
        self.scalar(name, "a number", |value| value.as_f64().filter(|number| number.is_finite()))
    }

    /// A number, or an object of the mean of what was drawn.
    pub(super) fn measured(&self, name: &str) -> Result<Option<Measured>, String> {
        let Some(found) = self.field(name)? else { return Ok(None) };
        if !found.value.is_object() {
            let alone = |mean| Measured { mean, standard_error: None, least: None, draws: None };
            return Ok(self.number(name)?.map(alone));
        }
        let (standard_error, least, draws) = (found.number("standard_error")?, found.number("min")?, found.whole("n")?);
        let of_mean = |mean| Measured { mean, standard_error, least, draws };
        Ok(found.number("mean")?.map(of_mean))
    }

    fn scalar<T>(&self, name: &str, expected: &str, read: impl Fn(&Value) -> Option<T>) -> Result<Option<T>, String> {
        let Some(found) = self.field(name)? else { return Ok(None) };
        read(found.value).map(Some).ok_or_else(|| found.unexpected(expected))
    }

    fn unexpected(&self, expected: &str) -> String {
        let mut found = self.value.to_string();
        if found.len() > SHOWN {
            let end = (0..=SHOWN).rev().find(|&end| found.is_char_boundary(end)).unwrap_or(0);
            found.truncate(end);
            found.push_str("...");
        }
        format!("{self} is {found}, expected {expected}")
    }
}
