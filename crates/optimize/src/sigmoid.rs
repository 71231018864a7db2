//! From a parameter to a causal importance, and to what is counted as one.
//!
//! Both are `clamp(x, 0, 1)` with a leak where that has no slope, so that a parameter which has left the interval finds back:
//! the first in its gradient alone, the second in its value too. (`lower_leaky_hard` and `upper_leaky_hard` of SPD,
//! `spd/models/sigmoids.py`.)

/// What leaks.
const LEAK: f64 = 0.01;

/// The causal importance: `clamp(x, 0, 1)`.
pub fn lower_leaky(x: f64) -> f64 {
    x.clamp(0.0, 1.0)
}

/// The gradient by `x` of what has the gradient `by_value` by its [causal importance](lower_leaky). Not above 0 it is no
/// derivative: a hundredth of what would raise `x`, and nothing of what would lower it further.
pub fn lower_leaky_gradient(x: f64, by_value: f64) -> f64 {
    if x <= 0.0 {
        LEAK * by_value.min(0.0)
    } else if x <= 1.0 {
        by_value
    } else {
        0.0
    }
}

/// What importance minimality counts: `clamp(x, 0, 1)`, and `1 + (x - 1) / 100` above 1.
pub fn upper_leaky(x: f64) -> f64 {
    if x > 1.0 { 1.0 + LEAK * (x - 1.0) } else { x.max(0.0) }
}

/// Its derivative.
pub fn upper_leaky_slope(x: f64) -> f64 {
    if x > 1.0 {
        LEAK
    } else if x >= 0.0 {
        1.0
    } else {
        0.0
    }
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "numbers that come out exactly")]
mod tests {
    use super::*;

    /// The middle of a quotient over 1e-6 of functions that are piecewise linear: exact but for rounding, of 1e-16 by 1e-6.
    fn quotient(function: fn(f64) -> f64, x: f64) -> f64 {
        (function(x + 1e-6) - function(x - 1e-6)) / 2e-6
    }

    #[test]
    fn slopes_are_difference_quotients() {
        for x in [-1.5, -0.25, 0.001, 0.25, 0.5, 0.999, 1.001, 1.5, 7.0] {
            assert!((quotient(upper_leaky, x) - upper_leaky_slope(x)).abs() < 1e-9, "{x}");
            if x > 0.0 {
                assert!((quotient(lower_leaky, x) - lower_leaky_gradient(x, 1.0)).abs() < 1e-9, "{x}");
            }
        }
        assert_eq!([upper_leaky(3.0), upper_leaky(1.0), upper_leaky(-1.0)], [1.02, 1.0, 0.0]);
    }

    #[test]
    fn below_0_only_what_raises_passes() {
        assert_eq!([lower_leaky_gradient(-0.5, -3.0), lower_leaky_gradient(-0.5, 3.0)], [-0.03, 0.0]);
        assert_eq!([lower_leaky_gradient(0.0, -1.0), lower_leaky_gradient(0.0, 1.0)], [-0.01, 0.0]);
        // What raises is a gradient below 0, as a descent goes against it.
        assert_eq!(lower_leaky_gradient(0.5, -3.0), -3.0);
    }
}
