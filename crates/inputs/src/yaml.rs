//! YAML files as keys and values whose types are asked for one by one, so that an error can name the key.

use std::fmt;
use std::path::Path;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::options::NonFiniteFloatPolicy;

use crate::InputError;
use crate::error::{clipped, shortened};
use crate::guard::no_panic;

/// A value of a YAML file.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Yaml {
    /// Nothing: `null`, or no value at all.
    Null,
    Flag(bool),
    Whole(i128),
    Real(f64),
    Text(String),
    List(Vec<Yaml>),
    Mapping(Vec<(Yaml, Yaml)>),
}

impl fmt::Display for Yaml {
    /// As messages quote it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Flag(flag) => write!(f, "{flag}"),
            Self::Whole(number) => write!(f, "{number}"),
            Self::Real(number) => write!(f, "{number}"),
            Self::Text(text) => f.write_str(&shortened(text)),
            Self::List(_) => f.write_str("a list"),
            Self::Mapping(_) => f.write_str("keys with values"),
        }
    }
}

impl Yaml {
    /// A whole number; one that Python wrote as a float, `96.0`, too.
    pub(crate) fn count(&self) -> Result<usize, String> {
        let whole = match self {
            Self::Whole(number) => Some(*number),
            // Above, not every whole number is a float.
            Self::Real(number) if number.fract() == 0.0 && number.abs() < 2.0_f64.powi(53) => Some(*number as i128),
            _ => None,
        };
        whole
            .and_then(|number| usize::try_from(number).ok())
            .ok_or_else(|| format!("is {self}, expected a whole number, 0 or more"))
    }

    pub(crate) fn number(&self) -> Result<f64, String> {
        match self {
            Self::Whole(number) => Ok(*number as f64),
            Self::Real(number) => Ok(*number),
            _ => Err(format!("is {self}, expected a number")),
        }
    }

    pub(crate) fn flag(&self) -> Result<bool, String> {
        match self {
            Self::Flag(flag) => Ok(*flag),
            _ => Err(format!("is {self}, expected true or false")),
        }
    }

    pub(crate) fn text(&self) -> Result<String, String> {
        match self {
            Self::Text(text) => Ok(text.clone()),
            _ => Err(format!("is {self}, expected a text")),
        }
    }

    /// A list, whose entries are read by `entry`; the first is number 1.
    pub(crate) fn list<T>(&self, entry: impl Fn(&Yaml) -> Result<T, String>) -> Result<Vec<T>, String> {
        let Self::List(entries) = self else { return Err(format!("is {self}, expected a list")) };
        let numbered = entries.iter().enumerate();
        numbered
            .map(|(index, value)| entry(value).map_err(|problem| format!("entry {} {problem}", index + 1)))
            .collect()
    }

    /// The keys of a mapping, which must be texts, with their values as `value` reads them.
    pub(crate) fn entries<T>(&self, value: impl Fn(&Yaml) -> Result<T, String>) -> Result<Vec<(String, T)>, String> {
        let Self::Mapping(entries) = self else { return Err(format!("is {self}, expected keys with values")) };
        let entry = |(name, content): &(Yaml, Yaml)| {
            let Self::Text(name) = name else { return Err(format!("has the key {name}, expected a text")) };
            let read = value(content).map_err(|problem| format!("has {}, which {problem}", shortened(name)))?;
            Ok((name.clone(), read))
        };
        entries.iter().map(entry).collect()
    }

    /// The value of a key of a mapping; `None` where there is none.
    pub(crate) fn get(&self, key: &str) -> Result<Option<&Yaml>, String> {
        let Self::Mapping(entries) = self else { return Err(format!("is {self}, expected keys with values")) };
        let found = entries.iter().find(|(name, _)| matches!(name, Self::Text(name) if name == key));
        Ok(found.map(|(_, value)| value).filter(|value| **value != Self::Null))
    }
}

impl<'de> Deserialize<'de> for Yaml {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;

        impl<'de> Visitor<'de> for Any {
            type Value = Yaml;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value")
            }

            fn visit_unit<E>(self) -> Result<Yaml, E> {
                Ok(Yaml::Null)
            }

            fn visit_none<E>(self) -> Result<Yaml, E> {
                Ok(Yaml::Null)
            }

            fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Yaml, D::Error> {
                Yaml::deserialize(deserializer)
            }

            fn visit_bool<E>(self, flag: bool) -> Result<Yaml, E> {
                Ok(Yaml::Flag(flag))
            }

            fn visit_i64<E>(self, number: i64) -> Result<Yaml, E> {
                Ok(Yaml::Whole(number.into()))
            }

            fn visit_u64<E>(self, number: u64) -> Result<Yaml, E> {
                Ok(Yaml::Whole(number.into()))
            }

            fn visit_i128<E>(self, number: i128) -> Result<Yaml, E> {
                Ok(Yaml::Whole(number))
            }

            fn visit_u128<E>(self, number: u128) -> Result<Yaml, E> {
                Ok(i128::try_from(number).map_or(Yaml::Real(number as f64), Yaml::Whole))
            }

            fn visit_f64<E>(self, number: f64) -> Result<Yaml, E> {
                Ok(Yaml::Real(number))
            }

            fn visit_str<E>(self, text: &str) -> Result<Yaml, E> {
                Ok(Yaml::Text(text.to_owned()))
            }

            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Yaml, E> {
                Ok(Yaml::Text(String::from_utf8_lossy(bytes).into_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Yaml, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = list.next_element()? {
                    entries.push(entry);
                }
                Ok(Yaml::List(entries))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Yaml, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Yaml::Mapping(entries))
            }
        }

        deserializer.deserialize_any(Any)
    }
}

/// The keys of a config file.
pub(crate) struct Keys<'a> {
    file: &'a Path,
    /// What stands before their names in messages: that of the section they are in, and a dot.
    prefix: String,
    root: Yaml,
}

impl<'a> Keys<'a> {
    /// Parses the text of `file`, which must be keys with values. A key that is given twice is an error.
    pub(crate) fn parse(file: &'a Path, bytes: &[u8]) -> Result<Self, InputError> {
        let fail = |message: &str| InputError::Yaml { file: file.to_owned(), message: clipped(message) };
        // What a training config says of something else, such as a bound of `.inf`, is not to be refused.
        let options = serde_saphyr::options! { non_finite_float_policy: NonFiniteFloatPolicy::PassThrough };
        let parsed = no_panic(|| serde_saphyr::from_slice_with_options::<Yaml>(bytes, options));
        let parsed = parsed.map_err(|message| fail(&message))?;
        let root = parsed.map_err(|error| fail(&for_users(&error.without_snippet().to_string())))?;
        match root {
            Yaml::Mapping(_) => Ok(Self { file, prefix: String::new(), root }),
            other => Err(fail(&format!("it holds {other}, expected keys with values, such as C: 96"))),
        }
    }

    /// The value of a key, as `read` understands it; `None` where the key is missing or null.
    pub(crate) fn get<T>(&self, key: &str, read: impl Fn(&Yaml) -> Result<T, String>) -> Result<Option<T>, InputError> {
        let value = self.root.get(key).unwrap_or_default();
        value.map(read).transpose().map_err(|problem| self.fail(key, problem))
    }

    /// The error of a key.
    pub(crate) fn fail(&self, key: &str, problem: impl Into<String>) -> InputError {
        InputError::config(self.file, format!("{}{key}", self.prefix), problem)
    }

    /// The keys of a section, where there is one.
    pub(crate) fn section(&self, key: &str) -> Result<Option<Self>, InputError> {
        let section = self.get(key, |section| match section {
            Yaml::Mapping(_) => Ok(section.clone()),
            other => Err(format!("is {other}, expected keys with values")),
        })?;
        Ok(section.map(|root| Self { file: self.file, prefix: format!("{}{key}.", self.prefix), root }))
    }

    /// The same of a key that must be there.
    pub(crate) fn require<T>(&self, key: &str, read: impl Fn(&Yaml) -> Result<T, String>) -> Result<T, InputError> {
        self.get(key, read)?.ok_or_else(|| self.fail(key, "is missing; the config must have it"))
    }

    /// The first key that is not among these.
    pub(crate) fn other_than(&self, known: &[&[&str]]) -> Option<String> {
        let Yaml::Mapping(entries) = &self.root else { return None };
        let is_known =
            |key: &Yaml| matches!(key, Yaml::Text(key) if known.iter().any(|keys| keys.contains(&key.as_str())));
        entries.iter().map(|(key, _)| key).find(|key| !is_known(key)).map(|key| match key {
            Yaml::Text(text) => text.clone(),
            other => other.to_string(),
        })
    }
}

/// The parser's message without the advice it has for programmers.
fn for_users(message: &str) -> String {
    message
        .replace(", set DuplicateKeyPolicy in Options if acceptable", "; give it once")
        .replace("; use from_str_multiple or from_str_multiple_with_options", "; expected one")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_for_users() {
        let message = |text: &str| match Keys::parse(Path::new("f"), text.as_bytes()) {
            Ok(_) => panic!("{text:?} is refused"),
            Err(error) => error.to_string(),
        };
        assert_eq!(message("a: 1\na: 2\n"), "f: duplicate mapping key: a; give it once at line 2, column 1");
        let two = message("a: 1\n---\nb: 2\n");
        assert!(two.starts_with("f: multiple YAML documents detected; expected one at line "), "{two}");
        assert_eq!(message(""), "f: it holds null, expected keys with values, such as C: 96");
        assert_eq!(message("- a"), "f: it holds a list, expected keys with values, such as C: 96");
    }

    #[test]
    fn values_are_what_they_are_asked_to_be() {
        let text =
            "whole: 96.0\nm: -3\nx: 1.5\nt: yes it is\nl: [a, null]\nz: ~\nb: true\nnan: .nan\ni: {a: 1}\n1: 2\n";
        let keys = Keys::parse(Path::new("f"), text.as_bytes()).unwrap();
        assert_eq!(keys.get("whole", Yaml::count).unwrap(), Some(96));
        assert_eq!(keys.get("z", Yaml::count).unwrap(), None);
        assert_eq!(keys.get("none", Yaml::text).unwrap(), None);
        assert!(keys.get("nan", Yaml::number).unwrap().unwrap().is_nan());
        let refused = [
            (keys.get("m", Yaml::count).map(drop), "f: m: is -3, expected a whole number, 0 or more"),
            (keys.get("x", Yaml::count).map(drop), "f: x: is 1.5, expected a whole number, 0 or more"),
            (keys.get("t", Yaml::count).map(drop), "f: t: is \"yes it is\", expected a whole number, 0 or more"),
            (keys.get("b", Yaml::number).map(drop), "f: b: is true, expected a number"),
            (keys.get("whole", Yaml::flag).map(drop), "f: whole: is 96, expected true or false"),
            (keys.get("l", Yaml::text).map(drop), "f: l: is a list, expected a text"),
            (keys.get("l", |list| list.list(Yaml::text)).map(drop), "f: l: entry 2 is null, expected a text"),
            (keys.get("i", |list| list.list(Yaml::text)).map(drop), "f: i: is keys with values, expected a list"),
            (keys.require("z", Yaml::text).map(drop), "f: z: is missing; the config must have it"),
        ];
        for (result, message) in refused {
            assert_eq!(result.unwrap_err().to_string(), message);
        }
        assert_eq!(keys.other_than(&[&["whole", "m", "x", "t"], &["l", "z", "b", "nan"]]), Some("i".to_owned()));
    }
}
