//! Tokens as figures, pages and tables show them.

/// A token's text with everything in it that cannot be seen made visible: spaces as `·`, ends of lines as `↵`, tabs as `⇥`, other
/// control characters by their symbols, as `␀`.
pub fn token_label(text: &str) -> String {
    let visible = |character: char| match character {
        '\n' => '↵',
        '\t' => '⇥',
        '\u{7f}' => '␡',
        '\0'..='\u{1f}' => char::from_u32(0x2400 + character as u32).unwrap_or('\u{fffd}'),
        _ if character.is_whitespace() => '·',
        _ => character,
    };
    text.chars().map(visible).collect()
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
            ("\n\n\t\r\0\u{7f}", "↵↵⇥␍␀␡"),
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
