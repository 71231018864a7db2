//! Elements of tensors as numbers.

use tributary_model::Values;

/// Turns the bytes of a tensor, in native byte order, into the same numbers; and tells whether all are finite as `f32`.
pub(super) type Decoder = fn(&[u8]) -> (Values, bool);

/// The type whose elements float32 cannot hold without rounding.
pub(super) const WIDE: &str = "F64";

/// How tensors of an element type are decoded; `None` where that would not be exact.
pub(super) fn decoder(dtype: &str) -> Option<Decoder> {
    fn each<const N: usize, E>(
        bytes: &[u8],
        decode: impl Fn([u8; N]) -> E,
        is_finite: impl Fn(&E) -> bool,
    ) -> (Values, bool)
    where
        Values: From<Vec<E>>,
    {
        /// Numbers that are looked at while a cache still has them.
        const BLOCK: usize = 1 << 12;
        let encoded = bytes.as_chunks::<N>().0;
        let (mut values, mut are_finite) = (Vec::with_capacity(encoded.len()), true);
        for encoded in encoded.chunks(BLOCK) {
            let start = values.len();
            values.extend(encoded.iter().map(|&bytes| decode(bytes)));
            // No early end, so that several are compared at once.
            are_finite &= values[start..].iter().fold(true, |all, value| all & is_finite(value));
        }
        (values.into(), are_finite)
    }
    fn pairs(bytes: &[u8], decode: impl Fn(u16) -> f32) -> (Values, bool) {
        each(bytes, |pair| decode(u16::from_ne_bytes(pair)), |value| value.is_finite())
    }
    match dtype {
        "F32" => Some(|bytes| each(bytes, f32::from_ne_bytes, |value| value.is_finite())),
        WIDE => Some(|bytes| each(bytes, f64::from_ne_bytes, |&value| (value as f32).is_finite())),
        "BF16" => Some(|bytes| pairs(bytes, |bits| f32::from_bits(u32::from(bits) << 16))),
        "F16" => Some(|bytes| pairs(bytes, f16_value)),
        _ => None,
    }
}

/// The value of an IEEE 754 binary16 number.
fn f16_value(bits: u16) -> f32 {
    let sign = u32::from(bits & 0x8000) << 16;
    let magnitude = u32::from(bits & 0x7fff);
    let value = if magnitude >= 0x7c00 {
        f32::from_bits(0x7f80_0000 | (magnitude << 13))
    } else {
        // The bits of a binary32 whose exponent is 112 too low, subnormal where the binary16 is; the product is exact.
        f32::from_bits(magnitude << 13) * 2.0_f32.powi(112)
    };
    f32::from_bits(value.to_bits() | sign)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_precision_values_are_exact() {
        // Bit patterns and values from the table of examples of IEEE 754 binary16.
        let cases = [
            (0x0000, 0.0),
            (0x0001, 2.0_f32.powi(-24)),
            (0x03ff, 1023.0 * 2.0_f32.powi(-24)),
            (0x0400, 2.0_f32.powi(-14)),
            (0x3555, 1365.0 / 4096.0),
            (0x3c00, 1.0),
            (0x3c01, 1.0 + 2.0_f32.powi(-10)),
            (0x7bff, 65504.0),
            (0x7c00, f32::INFINITY),
            (0xc000, -2.0),
        ];
        for (bits, value) in cases {
            assert_eq!(f16_value(bits).to_bits(), f32::to_bits(value), "{bits:#06x}");
        }
        assert_eq!(f16_value(0x8000).to_bits(), (-0.0_f32).to_bits());
        assert!(f16_value(0x7e00).is_nan());
    }
}
