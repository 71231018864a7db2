//! Text of any kind, made fit for a figure.

use std::sync::LazyLock;

use ttf_parser::Face;

/// As in `font-family`: where a figure is shown, the fonts after the first stand in for it.
pub(crate) const FONT_FAMILY: &str = "DejaVu Sans, Verdana, sans-serif";

/// The font that widths are measured in and pictures are made with.
pub(crate) fn font() -> &'static [u8] {
    dejavu::sans::regular()
}

static FACE: LazyLock<Face<'static>> = LazyLock::new(|| {
    Face::parse(font(), 0).unwrap_or_else(|error| unreachable!("the font is part of the program: {error}"))
});

/// Whether the font has every character.
pub(crate) fn has_all_glyphs(text: &str) -> bool {
    text.chars().all(|c| c.is_whitespace() || FACE.glyph_index(c).is_some())
}

/// Width of a line of text in pixels. Characters that the font lacks are taken for full-width ones.
pub(crate) fn width(text: &str, size: f64) -> f64 {
    let advance = |c| FACE.glyph_index(c).and_then(|glyph| FACE.glyph_hor_advance(glyph));
    let per_em = f64::from(FACE.units_per_em());
    text.chars().map(|c| advance(c).map_or(size, |advance| f64::from(advance) / per_em * size)).sum()
}

/// As much of a text as fits in `width` pixels, with an ellipsis where something is cut off.
pub(crate) fn fit(text: &str, size: f64, available: f64) -> String {
    let text = visible(text);
    if width(&text, size) <= available {
        return text;
    }
    let mut kept = String::new();
    let mut used = width("…", size);
    for c in text.chars() {
        used += width(c.encode_utf8(&mut [0; 4]), size);
        if used > available {
            break;
        }
        kept.push(c);
    }
    kept + "…"
}

/// The text with everything spelt out that XML forbids or that moves other text around: control characters, line
/// breaks, marks of direction, characters that are none.
pub(crate) fn visible(text: &str) -> String {
    let hidden = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
            || matches!(c, '\u{fff0}'..='\u{fffb}' | '\u{fffe}' | '\u{ffff}')
    };
    text.chars().flat_map(|c| if hidden(c) { c.escape_default().collect() } else { vec![c] }).collect()
}

/// A number as figures give it: three significant digits.
pub(crate) fn number(value: f64) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    match value.abs() {
        1e-3..1e-2 => format!("{value:.5}"),
        1e-2..1e-1 => format!("{value:.4}"),
        1e-1..1.0 => format!("{value:.3}"),
        1.0..10.0 => format!("{value:.2}"),
        10.0..100.0 => format!("{value:.1}"),
        100.0..1e5 => format!("{value:.0}"),
        _ => format!("{value:.2e}"),
    }
}

/// A count with its thousands apart.
pub(crate) fn count(count: usize) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_to_their_room() {
        assert_eq!(fit("girl", 10.0, 100.0), "girl");
        for available in [5.0, 20.0, 41.0] {
            let cut = fit("a rather long token", 10.0, available);
            assert!(cut.ends_with('…') && (width(&cut, 10.0) <= available || cut == "…"), "{cut}");
        }
        assert_eq!(visible("a\u{0}\n\u{202e}é日</text>"), "a\\u{0}\\n\\u{202e}é日</text>");
    }

    /// Those that stand for what cannot be seen in a token.
    #[test]
    fn the_font_has_the_signs_of_labels() {
        assert!(has_all_glyphs("·↵⇥⟨0123456789ABCDEF⟩“.”…"));
        assert!(!has_all_glyphs("日"));
    }

    #[test]
    fn numbers_are_short() {
        let numbers = [0.0, 0.123_456, -12.345, 1234.5, 1e-9, 2e7].map(number);
        assert_eq!(numbers, ["0", "0.123", "-12.3", "1234", "1.00e-9", "2.00e7"]);
        assert_eq!([5, 1234, 1_234_567].map(count), ["5", "1,234", "1,234,567"]);
    }
}
