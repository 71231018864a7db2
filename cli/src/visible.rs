//! Text from files, as a terminal may have it.

use std::fmt::Write as _;

use tributary_files::visible::is_hidden;
pub(crate) use tributary_files::visible::on_one_line;

/// Characters of a line of stderr at most: what fits on a small screen.
const SCREEN: usize = 1900;

/// JSON whose strings spell such characters as escapes: the same values.
pub(crate) fn json(document: &str) -> String {
    let mut spelled = String::with_capacity(document.len());
    for character in document.chars() {
        if character.is_ascii() || !is_hidden(character) {
            spelled.push(character);
        } else {
            for unit in character.encode_utf16(&mut [0; 2]) {
                // Writing to a string cannot fail.
                let _ = write!(spelled, "\\u{unit:04x}");
            }
        }
    }
    spelled
}

/// A line cut to what a screen holds.
pub(crate) fn cut(line: &str) -> String {
    match line.char_indices().nth(SCREEN) {
        None => line.to_owned(),
        Some((end, _)) => format!("{}... ({} more characters)", &line[..end], line[end..].chars().count()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_keeps_its_values() {
        let value = serde_json::json!({ "a\u{202e}": "\u{200b}\u{e0041}\u{1b}b\n", "b": "ä" });
        let spelled = json(&value.to_string());
        assert!(
            spelled.contains(r"\u202e") && spelled.contains(r"\u200b") && !spelled.chars().any(is_hidden),
            "{spelled}"
        );
        assert_eq!(serde_json::from_str::<serde_json::Value>(&spelled).unwrap(), value);
    }

    #[test]
    fn long_lines_are_cut() {
        assert_eq!(cut("short"), "short");
        let long = cut(&"ä".repeat(1_000_000));
        assert!(long.chars().count() < 2000 && long.ends_with("... (998100 more characters)"), "{}", long.len());
    }
}
