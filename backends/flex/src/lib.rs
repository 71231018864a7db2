//! CPU backend over burn-flex, the maintained successor of burn-ndarray: pure Rust, SIMD and multi-threaded.

mod provider;

use burn_flex::FlexDevice;
use tributary_backend::Capabilities;
use tributary_burn::{BurnBackend, HostKernels};

pub use provider::Flex;

/// Name of this backend, as users choose it.
pub const NAME: &str = "flex";

const CAPABILITIES: Capabilities = Capabilities { deterministic: true };

/// The backend in `f32`.
pub type F32 = BurnBackend<burn_flex::Flex, f32, HostKernels>;

/// The backend in `f64`.
pub type F64 = BurnBackend<burn_flex::Flex, f64, HostKernels>;

/// The backend in `f32` on the CPU.
pub fn f32() -> F32 {
    BurnBackend::with_kernels(FlexDevice, NAME, "cpu", CAPABILITIES, HostKernels)
}

/// The backend in `f64` on the CPU.
pub fn f64() -> F64 {
    BurnBackend::with_kernels(FlexDevice, NAME, "cpu", CAPABILITIES, HostKernels)
}
