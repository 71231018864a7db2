//! Text from files, as a terminal may have it.

use std::fmt::Write as _;

/// Characters of a line of stderr at most: what fits on a small screen.
const SCREEN: usize = 1900;

/// Text that may hold anything, on one line: whatever would move the cursor, change colours, turn the direction of writing or
/// not be seen is escaped, so that a name reads as what it is.
pub(crate) fn on_one_line(text: &str) -> String {
    escaped(text, |character| character == '\n' || is_hidden(character))
}

/// The same of text that has lines.
pub(crate) fn in_lines(text: &str) -> String {
    escaped(text, is_hidden)
}

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

fn escaped(text: &str, is_escaped: impl Fn(char) -> bool) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        if is_escaped(character) {
            escaped.extend(character.escape_default());
        } else {
            escaped.push(character);
        }
    }
    escaped
}

/// Control characters but the newline, marks of writing direction, and characters of no width.
fn is_hidden(character: char) -> bool {
    (character.is_control() && character != '\n')
        || matches!(
            character,
            '\u{ad}'
                | '\u{61c}'
                | '\u{180e}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e0fff}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_hides_is_shown() {
        assert_eq!(on_one_line("a\u{1b}[31mRED\u{7}\n"), r"a\u{1b}[31mRED\u{7}\n");
        assert_eq!(
            on_one_line("seed\u{202e}0\u{2066}\u{200b}\u{2028}\u{feff}"),
            r"seed\u{202e}0\u{2066}\u{200b}\u{2028}\u{feff}"
        );
        assert_eq!(in_lines("one\r\ntwo\n"), "one\\r\ntwo\n");
        let plain = "日本 café ▁ä \u{1f600} 0.5";
        assert_eq!(on_one_line(plain), plain);
    }

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
