//! Tokens as figures, pages and tables show them.

use std::fmt::Write as _;

/// A token's text with everything in it that cannot be seen made visible: spaces as `·`, ends of lines as `↵`, tabs as `⇥`, other
/// control characters by their numbers, `⟨0D⟩`, as bytes are that are no character by themselves.
pub fn token_label(text: &str) -> String {
    let mut label = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\n' => label.push('↵'),
            '\t' => label.push('⇥'),
            '\0'..='\u{1f}' | '\u{7f}' => {
                // Writing to a string cannot fail.
                let _ = write!(label, "⟨{:02X}⟩", u32::from(character));
            }
            _ if character.is_whitespace() => label.push('·'),
            _ => label.push(character),
        }
    }
    label
}

/// A label that stands alone, in quotes where it is so small that it could be taken for a speck of dust: `“.”`, `“·,”`.
pub fn token_heading(label: &str) -> String {
    const SMALL: &str = ".,'`´’‘:;-–_~^·…°¨˙";
    let is_small = !label.is_empty() && label.chars().count() <= 3 && label.chars().all(|c| SMALL.contains(c));
    if is_small { format!("“{label}”") } else { label.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_seen_is_shown() {
        for (text, label) in [
            ("girl", "girl"),
            (" girl", "·girl"),
            ("\n\n\t\r\0\u{7f}", "↵↵⇥⟨0D⟩⟨00⟩⟨7F⟩"),
            ("a\u{a0}b\u{3000}", "a·b·"),
            ("⟨C3⟩", "⟨C3⟩"),
            ("", ""),
        ] {
            assert_eq!(token_label(text), label);
        }
    }

    #[test]
    fn specks_stand_in_quotes() {
        let headings = [".", "·,", "...", "....", "a.", "↵", "", "·\""].map(token_heading);
        assert_eq!(headings, ["“.”", "“·,”", "“...”", "....", "a.", "↵", "", "·\""]);
    }
}
