//! What of the output was asked for whatever its probability.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tributary_model::Contrast;

/// What of the output was asked for whatever its probability: a node of every set that the position takes part in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputTargets {
    /// Tokens.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tokens: Vec<OutputToken>,
    /// Differences of two logits.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub contrasts: Vec<OutputContrast>,
}

/// A token at a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputToken {
    /// Where.
    pub position: At,
    /// Token id.
    pub token: u32,
}

/// A difference of two logits at a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputContrast {
    /// Where.
    pub position: At,
    /// Id of the token.
    pub token: u32,
    /// Id of the token it is compared with.
    pub against: u32,
}

/// A position of a set. Written as a number, or as `"last"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// From 0.
    Position(usize),
    /// The last that takes part.
    Last,
}

impl At {
    /// The position in a set of which `last` is the last that takes part.
    pub fn of(self, last: usize) -> usize {
        match self {
            Self::Position(position) => position,
            Self::Last => last,
        }
    }
}

impl std::fmt::Display for At {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Position(position) => position.fmt(f),
            Self::Last => f.write_str("last"),
        }
    }
}

impl Serialize for At {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Position(position) => position.serialize(serializer),
            Self::Last => "last".serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for At {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let stored = serde_json::Value::deserialize(deserializer)?;
        let position = stored.as_u64().and_then(|position| usize::try_from(position).ok()).map(Self::Position);
        let last = (stored.as_str() == Some("last")).then_some(Self::Last);
        let expected = || D::Error::custom(format!("{stored} is no position; expected a number from 0, or \"last\""));
        position.or(last).ok_or_else(expected)
    }
}

impl OutputTargets {
    /// Whether nothing was asked for.
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty() && self.contrasts.is_empty()
    }

    /// The differences of logits, each once: number `i` is component `vocab + i` of the output.
    pub fn contrasts(&self) -> Vec<Contrast> {
        let mut distinct = Vec::new();
        for contrast in self.contrasts.iter().map(OutputContrast::contrast) {
            if !distinct.contains(&contrast) {
                distinct.push(contrast);
            }
        }
        distinct
    }

    /// The entries of the output, (position, component), of a set of which `last` is the last position that takes part; those
    /// after it are left out.
    pub fn entries(&self, vocab: usize, last: usize) -> Vec<(usize, usize)> {
        let contrasts = self.contrasts();
        let number = |of: &OutputContrast| contrasts.iter().position(|contrast| *contrast == of.contrast());
        let tokens = self.tokens.iter().map(|of| (of.position.of(last), of.token as usize));
        let differences = self.contrasts.iter().filter_map(|of| Some((of.position.of(last), vocab + number(of)?)));
        tokens.chain(differences).filter(|&(position, _)| position <= last).collect()
    }

    /// Whether all is of a vocabulary; `Err` says what is not.
    pub(crate) fn check(&self, vocab: usize) -> Result<(), String> {
        let of_contrasts = self.contrasts.iter().flat_map(|contrast| [contrast.token, contrast.against]);
        let mut tokens = self.tokens.iter().map(|token| token.token).chain(of_contrasts);
        match tokens.find(|&token| token as usize >= vocab) {
            Some(token) => {
                Err(format!("settings.output_targets has token {token}, expected one of the vocabulary of {vocab}"))
            }
            None => Ok(()),
        }
    }
}

impl OutputContrast {
    fn contrast(&self) -> Contrast {
        Contrast { token: self.token, against: self.against }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_has_one_number_wherever_it_is_asked_for() {
        let contrast = |position, token, against| OutputContrast { position, token, against };
        let targets = OutputTargets {
            tokens: vec![
                OutputToken { position: At::Position(3), token: 7 },
                OutputToken { position: At::Last, token: 1 },
            ],
            contrasts: vec![contrast(At::Position(1), 5, 6), contrast(At::Last, 6, 5), contrast(At::Position(0), 5, 6)],
        };
        assert_eq!(targets.entries(10, 2), [(2, 1), (1, 10), (2, 11), (0, 10)]);
        assert_eq!(targets.entries(10, 4), [(3, 7), (4, 1), (1, 10), (4, 11), (0, 10)]);
        assert!(targets.check(8).is_ok() && targets.check(7).is_err());
        let json = serde_json::to_string(&targets).unwrap();
        assert!(json.contains("{\"position\":\"last\",\"token\":6,\"against\":5}"), "{json}");
        assert_eq!(serde_json::from_str::<OutputTargets>(&json).unwrap(), targets);
        assert!(serde_json::from_str::<At>("\"first\"").is_err());
    }
}
