//! The exponential function, written so that a compiler can compute several at once.

/// `log2(e)`.
const LOG2_E: f64 = std::f64::consts::LOG2_E;
/// `ln(2)`, its leading bits: times any exponent of float64 it is exact.
const LN_2_HIGH: f64 = 6.931_471_803_691_238e-1;
/// The rest of `ln(2)`.
const LN_2_LOW: f64 = 1.908_214_929_270_587_7e-10;
/// 1.5 * 2^52: numbers of moderate size added to it are rounded to integers, which then stand in its last bits.
const ROUNDER: f64 = 6_755_399_441_055_744.0;
/// Below this, `exp` is less than any normal number of float64 (but for the last thousandth before `ln(2^-1022)`).
const UNDERFLOWS: f64 = -708.396;

/// `exp(x)` for `x` up to 700, within two units in the last place; 0 below -708.396.
///
/// With `n` the integer next to `x / ln 2` and `r = x - n ln 2`, it is `2^n exp(r)`, where `|r| <= ln(2) / 2`: there the
/// Taylor polynomial of degree 13 is off by less than 2^-57.
#[expect(clippy::inline_always, reason = "it has to become part of functions that are compiled for wider registers")]
#[inline(always)]
pub(crate) fn exp(x: f64) -> f64 {
    let shifted = x * LOG2_E + ROUNDER;
    let n = shifted - ROUNDER;
    let r = (x - n * LN_2_HIGH) - n * LN_2_LOW;
    // Pairs of terms, then pairs of pairs (Estrin): fewer steps wait for one another than in Horner's scheme.
    let (r2, term) = (r * r, |k: usize| INVERSE_FACTORIALS[k] + r * INVERSE_FACTORIALS[k + 1]);
    let r4 = r2 * r2;
    let low = (term(2) + r2 * term(4)) + r4 * (term(6) + r2 * term(8));
    let high = term(10) + r2 * term(12);
    let polynomial = 1.0 + (r + r2 * (low + r4 * r4 * high));
    // 2^n, from its bits; nonsense where n is out of range, which is not used.
    let power = f64::from_bits((shifted.to_bits() << 52).wrapping_add(1.0_f64.to_bits()));
    if x < UNDERFLOWS { 0.0 } else { polynomial * power }
}

/// `1 / k!`
const INVERSE_FACTORIALS: [f64; 14] = {
    let mut inverse = [1.0; 14];
    let mut factorial = 1.0;
    let mut k = 1;
    while k < 14 {
        factorial *= k as f64;
        inverse[k] = 1.0 / factorial;
        k += 1;
    }
    inverse
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equals_that_of_the_standard_library() {
        let spread = (1..1_000_000).map(|i| -720.0 * (f64::from(i) * 1e-6).powi(4));
        for x in spread.chain([
            1e-9,
            0.1,
            1.0,
            20.0,
            700.0,
            -0.0,
            0.0,
            -1e-300,
            -1e-9,
            -708.0,
            -708.2,
            -708.396,
            -708.397,
            -0.5 * std::f64::consts::LN_2,
        ]) {
            let (got, expected) = (exp(x), x.exp());
            // What is taken as 0 is below the next number, 2^-1022 e^0.0005.
            let allowed = if x < UNDERFLOWS { 1.001 * f64::MIN_POSITIVE } else { 2.0 * f64::EPSILON * expected };
            assert!((got - expected).abs() <= allowed, "{x}: {got:e} against {expected:e}");
        }
        assert_eq!((exp(0.0), exp(f64::NEG_INFINITY), exp(f64::MIN)), (1.0, 0.0, 0.0));
        assert!(exp(f64::NAN).is_nan());
    }
}
