//! Text from files, as a terminal may have it.

/// Text that may hold anything, on one line: whatever would move the cursor, change colours, turn the direction of writing or
/// not be seen is escaped, so that a name reads as what it is.
pub fn on_one_line(text: &str) -> String {
    escaped(text, |character| character == '\n' || is_hidden(character))
}

/// The same of text that has lines.
pub fn in_lines(text: &str) -> String {
    escaped(text, is_hidden)
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

/// Control characters but the newline, marks of writing direction, characters of no width, and letters that look like none:
/// two names that look the same are the same.
pub fn is_hidden(character: char) -> bool {
    (character.is_control() && character != '\n')
        || matches!(
            character,
            '\u{ad}'
                | '\u{34f}'
                | '\u{61c}'
                | '\u{115f}'..='\u{1160}'
                | '\u{17b4}'..='\u{17b5}'
                | '\u{180b}'..='\u{180f}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{2800}'
                | '\u{3164}'
                | '\u{fe00}'..='\u{fe0f}'
                | '\u{feff}'
                | '\u{ffa0}'
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
        for text in ["a\u{1b}\\\n", "\u{202e}"] {
            assert_eq!(on_one_line(&on_one_line(text)), on_one_line(text));
        }
    }
}
