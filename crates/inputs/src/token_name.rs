//! Tokens as somebody names them: by text or by number.

use std::fmt;

use tributary_model::token_label;

use crate::Tokenizer;
use crate::error::shortened;

/// A token by its number or by its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenName {
    /// Its id: `#262`.
    Id(u64),
    /// What it is decoded to in the middle of a text, or how the vocabulary spells it, exactly.
    Text(String),
}

impl TokenName {
    /// Reads `#ID`, a text in double quotes (in which `\"`, `\\`, `\n`, `\t` and `\u00e9` are as in JSON), or any other text as it
    /// is. `Err` says what is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        match head(text)? {
            (name, "") => Ok(name),
            (_, rest) if text.starts_with('"') => Err(format!("{} follows the closing quote", shortened(rest))),
            _ => Ok(Self::Text(text.to_owned())),
        }
    }

    /// Reads two names with `-` between. A text with that sign has to be quoted.
    pub fn parse_two(text: &str) -> Result<(Self, Self), String> {
        const EXPECTED: &str = "expected two tokens with - between, each as #ID or as text; a text with that sign has to stand in \
                                double quotes";
        let (first, rest) = head(text)?;
        let second = rest.strip_prefix('-').filter(|_| first != Self::Text(String::new()));
        let Some(second) = second else { return Err(EXPECTED.to_owned()) };
        let (second, rest) = head(second)?;
        if rest.is_empty() { Ok((first, second)) } else { Err(EXPECTED.to_owned()) }
    }
}

/// The name that a text begins with, which ends at `-` where it is not quoted, and the rest.
fn head(text: &str) -> Result<(TokenName, &str), String> {
    if text.starts_with('"') {
        let mut texts = serde_json::Deserializer::from_str(text).into_iter::<String>();
        let quoted = texts.next().and_then(Result::ok);
        let quoted = quoted.ok_or_else(|| format!("{} is no text in double quotes", shortened(text)))?;
        return checked(quoted).map(|name| (name, &text[texts.byte_offset()..]));
    }
    let (name, rest) = text.split_at(text.find('-').unwrap_or(text.len()));
    match name.strip_prefix('#').filter(|id| !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit())) {
        Some(id) => Ok((TokenName::Id(id.parse().map_err(|_| format!("{id} is no token id"))?), rest)),
        None if name.is_empty() && rest.is_empty() => checked(String::new()).map(|name| (name, rest)),
        None => Ok((TokenName::Text(name.to_owned()), rest)),
    }
}

fn checked(text: String) -> Result<TokenName, String> {
    if text.is_empty() {
        Err("a token has no name here: give it as #ID or as text".to_owned())
    } else {
        Ok(TokenName::Text(text))
    }
}

impl fmt::Display for TokenName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => write!(f, "#{id}"),
            Self::Text(text) => write!(f, "{text:?}"),
        }
    }
}

impl Tokenizer {
    /// The one token of the first `vocab` that is meant; `Err` says why there is none, or which there are.
    pub fn token_named(&self, name: &TokenName, vocab: usize) -> Result<u32, String> {
        let text = match name {
            TokenName::Id(id) => {
                let known = u32::try_from(*id).ok().filter(|&id| (id as usize) < vocab);
                return known
                    .ok_or_else(|| format!("there is no token {name}: the vocabulary has {vocab}, numbered from 0"));
            }
            TokenName::Text(text) => text,
        };
        let spelt = |id: u32| (self.token_string(id), self.token_text(id));
        let all = || (0..vocab as u32).map(|id| (id, spelt(id)));
        let found: Vec<(u32, String)> = all()
            .filter(|(_, (spelling, decoded))| spelling == text || decoded == text)
            .map(|(id, (spelling, _))| (id, spelling))
            .collect();
        match &found[..] {
            [(id, _)] => Ok(*id),
            [] => {
                let near = all().filter(|(_, (_, decoded))| decoded.trim() == text.trim() && !text.trim().is_empty());
                let near: Vec<String> = near.take(3).map(|(id, (_, decoded))| format!("{decoded:?} (#{id})")).collect();
                let instead = if near.is_empty() { String::new() } else { format!("; there are {}", near.join(", ")) };
                Err(format!("no token is {name}, neither decoded nor as the vocabulary spells it{instead}"))
            }
            several => {
                let known = several.iter().take(5).map(|(id, spelling)| format!("#{id} ({})", token_label(spelling)));
                Err(format!(
                    "{name} may be any of {} tokens, such as {}: give one by its number",
                    several.len(),
                    known.collect::<Vec<_>>().join(", ")
                ))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> TokenName {
        TokenName::Text(text.to_owned())
    }

    #[test]
    fn a_name_is_a_number_or_a_text_as_it_is_or_in_quotes() {
        for (given, expected) in [
            ("#262", TokenName::Id(262)),
            ("the", text("the")),
            (" the", text(" the")),
            ("\" the\"", text(" the")),
            ("\"\\n\"", text("\n")),
            ("\"#5\"", text("#5")),
            ("#", text("#")),
            ("#a", text("#a")),
            ("-", text("-")),
            ("a-b", text("a-b")),
            ("#5-6", text("#5-6")),
            ("it\"s", text("it\"s")),
        ] {
            assert_eq!(TokenName::parse(given), Ok(expected), "{given}");
        }
        for given in ["", "\"", "\"\"", "\"a\" b", "\"a", "#99999999999999999999999"] {
            assert!(TokenName::parse(given).is_err(), "{given}");
        }
    }

    #[test]
    fn two_names_have_a_sign_between() {
        for (given, expected) in [
            ("#1-#2", (TokenName::Id(1), TokenName::Id(2))),
            (" the- a", (text(" the"), text(" a"))),
            ("\"-\"-\"--\"", (text("-"), text("--"))),
            ("\" a\"-b", (text(" a"), text("b"))),
        ] {
            assert_eq!(TokenName::parse_two(given), Ok(expected), "{given}");
        }
        for given in ["", "a", "a-", "-a", "a-b-c", "\"a\"", "\"a\"b-c", "a-\"b\"c"] {
            assert!(TokenName::parse_two(given).is_err(), "{given}");
        }
    }
}
