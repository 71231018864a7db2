//! The token and the position that are looked at.

use serde_json::Value;
use tributary_optimize::likeliest;
use tributary_results::At;

use super::subject::Subject;
use crate::Error;

/// The token and the position that are looked at.
#[derive(Clone, Copy, Debug)]
pub(super) struct LookedAt {
    pub(super) label: u32,
    pub(super) position: usize,
}

impl LookedAt {
    /// What is asked for, else what the metadata of a set say, else the likeliest token of the last position. `target` are
    /// logarithms of the target model's probabilities, by position.
    pub(super) fn of(
        asked_label: Option<u32>,
        asked_position: Option<At>,
        subject: &Subject<'_>,
        target: &[Vec<f64>],
    ) -> Result<Self, Error> {
        let set = || Some(subject.name.to_owned());
        let said = |name: &str| match subject.metadata.and_then(|metadata| metadata.get(name)) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => match value.as_u64() {
                Some(number) => Ok(Some(number as usize)),
                None => Err(Error::Evaluation {
                    set: set(),
                    problem: format!("{name} in its metadata is {value}, expected a whole number"),
                }),
            },
        };
        let last = target.len() - 1;
        let position = match asked_position {
            Some(at) => at.of(last),
            None => said("position")?.or(said("until")?).or(subject.until).unwrap_or(last),
        };
        if position > last {
            let problem = format!(
                "the position {position} is looked at, but its prompt has {} tokens, numbered from 0",
                last + 1
            );
            return Err(Error::LookedAtPosition { set: subject.name.to_owned(), problem });
        }
        let label = match asked_label {
            Some(label) => label as usize,
            None => said("label_token")?.unwrap_or_else(|| likeliest(&target[position])),
        };
        let vocab = target[position].len();
        if label >= vocab {
            let problem = format!(
                "label_token in its metadata is {label}, but the vocabulary has {vocab} tokens, numbered from 0"
            );
            return Err(Error::Label { set: set(), problem });
        }
        Ok(Self { label: label as u32, position })
    }
}
