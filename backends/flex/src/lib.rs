//! CPU backend over burn-flex, the maintained successor of burn-ndarray: pure Rust, SIMD and multi-threaded.

use burn_flex::{Flex, FlexDevice};
use tributary_backend::Capabilities;
use tributary_burn::BurnBackend;

/// Name of this backend, as `--backend` takes it.
pub const NAME: &str = "flex";

const CAPABILITIES: Capabilities = Capabilities { deterministic: true };

/// The backend in `f32`.
pub type F32 = BurnBackend<Flex, f32>;

/// The backend in `f64`.
pub type F64 = BurnBackend<Flex, f64>;

/// The backend in `f32` on the CPU.
pub fn f32() -> F32 {
    BurnBackend::new(FlexDevice, NAME, "cpu", CAPABILITIES)
}

/// The backend in `f64` on the CPU.
pub fn f64() -> F64 {
    BurnBackend::new(FlexDevice, NAME, "cpu", CAPABILITIES)
}
