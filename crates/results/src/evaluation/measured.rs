//! Probabilities and divergences, and how they are read: to two digits, or as many as their error leaves.

/// Numbers other than these and 0 have an exponent.
const PLAIN: std::ops::Range<f64> = 1e-4..1e5;

/// A number, or the mean of one over what is drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measured {
    /// The number, or its mean.
    pub mean: f64,
    /// Standard error of the mean.
    pub standard_error: Option<f64>,
    /// The least of what was drawn.
    pub least: Option<f64>,
    /// How often it was drawn.
    pub draws: Option<usize>,
}

impl Measured {
    /// As in `0.41 ± 0.02`.
    pub fn text(&self) -> String {
        match self.standard_error {
            None => number(self.mean),
            Some(error) => with_error(self.mean, error),
        }
    }

    /// The least as text, written as [`text`](Self::text) writes numbers.
    pub fn least_text(&self) -> Option<String> {
        self.least.map(number)
    }
}

/// Two significant digits, and no fewer than two decimals: `0.93`, `0.012`, `0.0005`, `5.2e-7`.
fn number(value: f64) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    if has_exponent(value) {
        return format!("{value:.1e}");
    }
    let text = format!("{value:.*}", (1 - exponent(value)).max(2).unsigned_abs() as usize);
    let end = text.trim_end_matches('0').len();
    // Two decimals stay.
    let least = text.find('.').map_or(text.len(), |point| point + 3);
    text[..end.max(least)].to_owned()
}

/// A mean to the first digit of its error: `0.41 ± 0.02`.
fn with_error(mean: f64, error: f64) -> String {
    if error == 0.0 || has_exponent(mean) || has_exponent(error) {
        let error = if error == 0.0 { "0".to_owned() } else { format!("{error:.0e}") };
        return format!("{} ± {error}", number(mean));
    }
    let first_digit = |value: f64| if value == 0.0 { 0 } else { -exponent(value) };
    let decimals = first_digit(mean).max(first_digit(error)).max(2).unsigned_abs() as usize;
    format!("{mean:.decimals$} ± {error:.decimals$}")
}

fn has_exponent(value: f64) -> bool {
    value != 0.0 && !PLAIN.contains(&value.abs())
}

fn exponent(value: f64) -> i32 {
    value.abs().log10().floor() as i32
}
