//! CPU backend over burn-ndarray: pure Rust.

mod kernels;
mod provider;

use burn_ndarray::NdArrayDevice;
use tributary_backend::Capabilities;
use tributary_burn::BurnBackend;

pub use kernels::NdArrayKernels;
pub use provider::NdArray;

/// Name of this backend, as users choose it.
pub const NAME: &str = "ndarray";

const CAPABILITIES: Capabilities = Capabilities { deterministic: true };

/// The backend in `f32`.
pub type F32 = BurnBackend<burn_ndarray::NdArray<f32>, f32, NdArrayKernels>;

/// The backend in `f64`.
pub type F64 = BurnBackend<burn_ndarray::NdArray<f64>, f64, NdArrayKernels>;

/// The backend in `f32` on the CPU.
pub fn f32() -> F32 {
    BurnBackend::with_kernels(NdArrayDevice::Cpu, NAME, "cpu", CAPABILITIES, NdArrayKernels)
}

/// The backend in `f64` on the CPU.
pub fn f64() -> F64 {
    BurnBackend::with_kernels(NdArrayDevice::Cpu, NAME, "cpu", CAPABILITIES, NdArrayKernels)
}
