//! Kernels for backends whose tensors lie in the host's memory.

use burn_backend::tensor::FloatTensor;
use burn_backend::{Backend, TensorMetadata};

use crate::kernels::Kernels;

/// burn's own choices, but for a function that burn leaves to the standard library, number by number.
#[derive(Clone, Copy, Debug)]
pub struct HostKernels;

impl<B: Backend> Kernels<B> for HostKernels {
    fn tanh(&self, x: FloatTensor<B>) -> FloatTensor<B> {
        tanh_on_host::<B>(self, x)
    }
}

/// Hyperbolic tangent of every element, where `kernels` can read them.
pub fn tanh_on_host<B: Backend>(kernels: &impl Kernels<B>, x: FloatTensor<B>) -> FloatTensor<B> {
    let device = B::float_device(&x);
    if x.dtype() != burn_backend::DType::F32 {
        return B::float_tanh(x);
    }
    let Ok(mut data) = kernels.read(x.clone()) else { return B::float_tanh(x) };
    let Ok(values) = data.as_mut_slice::<f32>() else { return B::float_tanh(x) };
    each_tanh(values);
    B::float_from_data(data, &device)
}

/// Puts `tanh(x)` in place of each; compiled once more for machines with wider registers.
#[multiversion::multiversion(targets("x86_64+avx2"))]
fn each_tanh(values: &mut [f32]) {
    for value in values {
        *value = tanh(*value);
    }
}

/// 1.5 * 2^23: numbers of moderate size added to it are rounded to integers, which then stand in its last bits.
const ROUNDER: f32 = 12_582_912.0;

/// `tanh(x)` within 1.5 units in the last place, without a branch, so that a compiler can compute several at once.
///
/// Near zero a polynomial, elsewhere `1 - 2 / (exp(2 |x|) + 1)`; both polynomials are those of Moshier's Cephes library
/// (`tanhf.c`, `expf.c`).
#[expect(clippy::excessive_precision, reason = "the coefficients as they were published")]
#[expect(clippy::inline_always, reason = "it has to become part of functions that are compiled for wider registers")]
#[inline(always)]
fn tanh(x: f32) -> f32 {
    let (size, square) = (x.abs(), x * x);
    let series = ((-5.704_988_7e-3 * square + 2.063_908_9e-2) * square - 5.373_971_6e-2) * square + 1.333_144_2e-1;
    let near = x + x * ((series * square - 3.333_328_2e-1) * square);
    // Past 20 it is 1.
    let doubled = if size > 20.0 { 40.0 } else { 2.0 * size };
    // exp(doubled) = 2^n exp(r), |r| <= ln(2) / 2, with ln(2) in two parts.
    let shifted = doubled * std::f32::consts::LOG2_E + ROUNDER;
    let n = shifted - ROUNDER;
    let r = (doubled - n * 0.693_359_4) + n * 2.121_944_4e-4;
    let series = ((1.987_569_1e-4 * r + 1.398_2e-3) * r + 8.333_452e-3) * r + 4.166_579_6e-2;
    let series = (series * r + 1.666_666_5e-1) * r + 0.5;
    let power = f32::from_bits((shifted.to_bits() << 23).wrapping_add(1.0_f32.to_bits()));
    let exponential = (1.0 + (r + r * r * series)) * power;
    let far = (1.0 - 2.0 / (exponential + 1.0)).copysign(x);
    if size < 0.625 { near } else { far }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tanh_is_that_of_float64() {
        let every_so_many = (0x2000_0000_u32..0x4200_0000).step_by(1009).map(f32::from_bits);
        for x in every_so_many.flat_map(|x| [x, -x]) {
            let expected = f64::from(x).tanh();
            let error = (f64::from(tanh(x)) - expected).abs() / expected.abs();
            assert!(error <= 1.5 * f64::from(f32::EPSILON), "{x}: {error:e}");
        }
        assert_eq!((tanh(f32::INFINITY), tanh(f32::NEG_INFINITY), tanh(0.0), tanh(-1e30)), (1.0, -1.0, 0.0, -1.0));
        assert!(tanh(f32::NAN).is_nan());
    }
}
