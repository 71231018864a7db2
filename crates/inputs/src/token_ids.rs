//! Prompts that are given as token ids, not as text: on a line, or in a file.

use std::path::Path;

use tributary_model::Prompt;

use crate::error::{clipped, shortened};
use crate::{InputError, TrainedRun, text};

/// The most bytes a file of token ids may have: a thousand prompts of some thousand tokens each.
const LARGEST: u64 = 16 << 20;

/// The ids in a text, separated by commas, spaces or both; `Err` says what is none.
pub fn parse_token_ids(text: &str) -> Result<Vec<u64>, String> {
    let parts = text.split(|c: char| c == ',' || c.is_whitespace()).filter(|part| !part.is_empty());
    let id = |part: &str| {
        let is_plain = part.bytes().all(|byte| byte.is_ascii_digit());
        part.parse().ok().filter(|_| is_plain).ok_or_else(|| {
            format!("{} is no token id; expected whole numbers from 0, separated by commas or spaces", shortened(part))
        })
    };
    let ids = parts.map(id).collect::<Result<Vec<u64>, _>>()?;
    if ids.is_empty() { Err("there are no token ids; a prompt needs at least one".to_owned()) } else { Ok(ids) }
}

impl TrainedRun {
    /// Reads a file of prompts as token ids: one prompt a line, its ids separated by commas or spaces; or JSON, an array of ids
    /// or an array of such arrays.
    pub fn prompts_of_token_file(&self, file: &Path) -> Result<Vec<Prompt>, InputError> {
        let fail = |place: String, problem: String| InputError::TokenFile {
            file: file.to_owned(),
            place,
            problem: clipped(&problem),
        };
        let bytes = text::read(file, "a file of token ids", LARGEST)?;
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
        let text = str::from_utf8(bytes).map_err(|error| {
            fail(String::new(), format!("is not UTF-8 text: {error}; expected token ids, one prompt a line, or JSON"))
        })?;
        let mut prompts = Vec::new();
        for (place, ids) in places(text).map_err(|(place, problem)| fail(place, problem))? {
            let prompt = self.prompt_of_tokens(&ids).map_err(|error| fail(format!("{place}: "), error.to_string()))?;
            prompts.push(prompt);
        }
        Ok(prompts)
    }
}

/// A place in a file, and the ids of a prompt that stand there.
type Placed = (String, Vec<u64>);

/// The ids of each prompt; `Err` has the place and what is wrong there.
fn places(text: &str) -> Result<Vec<Placed>, (String, String)> {
    if let Some(rest) = text.trim_start().strip_prefix('[') {
        let is_nested = rest.trim_start().starts_with('[');
        let read = if is_nested { serde_json::from_str(text) } else { serde_json::from_str(text).map(|ids| vec![ids]) };
        let prompts: Vec<Vec<u64>> = read.map_err(|error| {
            (String::new(), format!("{error}; expected JSON: an array of token ids, or an array of such arrays"))
        })?;
        return Ok(prompts.into_iter().enumerate().map(|(at, ids)| (format!("prompt {at}"), ids)).collect());
    }
    let lines = text.trim_end();
    if lines.is_empty() {
        return Err((String::new(), "the file is empty; expected token ids, one prompt a line, or JSON".to_owned()));
    }
    let ids = |(at, line): (usize, &str)| {
        let place = format!("line {}", at + 1);
        match parse_token_ids(line) {
            Ok(ids) => Ok((place, ids)),
            Err(problem) => Err((format!("{place}: "), problem)),
        }
    };
    lines.lines().enumerate().map(ids).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_separated_by_commas_or_spaces() {
        for text in ["762,1,32", " 762 1\t32 ", "762, 1 , 32,"] {
            assert_eq!(parse_token_ids(text).unwrap(), [762, 1, 32]);
        }
        for (text, part) in [
            ("", "there are no token ids"),
            (" , ", "there are no token ids"),
            ("1,-2", "\"-2\" is no token id"),
            ("1,+2", "\"+2\" is no token id"),
            ("1.0", "\"1.0\" is no token id"),
            ("a", "\"a\" is no token id; expected whole numbers from 0, separated by commas or spaces"),
            ("99999999999999999999999", "is no token id"),
        ] {
            let problem = parse_token_ids(text).unwrap_err();
            assert!(problem.contains(part), "{problem}");
        }
    }
}
