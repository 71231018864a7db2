//! Numbers that are the same but for rounding.

use proptest::prelude::*;

/// Both sides are float64 and some hundred operations deep; a norm that divides by as little as sqrt(eps) = 1e-3 makes
/// numbers, and their roundings of 1e-16, a thousand times larger.
pub fn assert_close(found: &[f64], expected: &[f64]) -> Result<(), TestCaseError> {
    prop_assert_eq!(found.len(), expected.len());
    let scale = expected.iter().fold(1.0_f64, |scale, value| scale.max(value.abs()));
    for (found, expected) in found.iter().zip(expected) {
        prop_assert!((found - expected).abs() <= 1e-10 * scale, "{} against {}", found, expected);
    }
    Ok(())
}
