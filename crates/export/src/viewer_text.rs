//! Text for circuit-tracer's viewer.
//!
//! The viewer puts labels and tokens into its page once as text and once, for tooltips, as HTML, so escaping them for
//! HTML would show the escapes elsewhere. It also cuts labels of logits at their first quotes and at `(p=`.

/// A text that the viewer shows as it is and never takes for HTML.
///
/// A word joiner (U+2060, invisible) parts `<` and `&` from what would make them markup. Line breaks, tabs and carriage
/// returns become what circuit-tracer shows for them, other control characters their picture (U+2400 and up).
pub(crate) fn shown(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\n' => shown.push('⏎'),
            '\t' => shown.push('→'),
            '\r' => shown.push('↵'),
            '\0'..='\u{1f}' => shown.extend(char::from_u32(0x2400 + character as u32)),
            '\u{7f}' => shown.push('␡'),
            _ => shown.push(character),
        }
        let markup = match character {
            '<' => |next: &char| next.is_ascii_alphabetic() || matches!(next, '/' | '!' | '?'),
            '&' => |next: &char| next.is_ascii_alphabetic() || *next == '#',
            _ => continue,
        };
        if characters.peek().is_some_and(markup) {
            shown.push('\u{2060}');
        }
    }
    shown
}

/// The label of a logit, from whose first quotes the viewer takes the token and from whose `(p=` the probability: a number
/// up to the next parenthesis. What the target model says stands after it.
pub(crate) fn logit_label(token: &str, probability: f32, target: Option<f32>) -> String {
    let token = shown(token).replace('"', "\u{ff02}").replace("(p=", "(\u{2060}p=");
    let target = target.map(|target| format!(" (target {target:.3})")).unwrap_or_default();
    format!("Output \"{token}\" (p={probability:.3}){target}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_markup() {
        assert_eq!(
            shown("a<b> </i> &lt; &#60; <!-- a < b & c <"),
            "a<\u{2060}b> <\u{2060}/i> &\u{2060}lt; &\u{2060}#60; <\u{2060}!-- a < b & c <"
        );
        assert_eq!(shown("a\n\t\r\0\u{1b}\u{7f}é"), "a⏎→↵␀␛␡é");
    }

    #[test]
    fn labels_of_logits_can_be_cut() {
        assert_eq!(logit_label(" the", 0.9, None), "Output \" the\" (p=0.900)");
        assert_eq!(logit_label("the", 0.86, Some(7e-4)), "Output \"the\" (p=0.860) (target 0.001)");
        let label = logit_label("\"(p=0.1)", 0.25, Some(0.5));
        // `+d.clerp.split('(p=')[1].split(')')[0]`
        assert_eq!(label.split("(p=").nth(1).unwrap().split(')').next(), Some("0.250"));
        assert_eq!(label.split('"').nth(1), Some("\u{ff02}(\u{2060}p=0.1)"));
    }
}
