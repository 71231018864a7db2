//! libtorch backend, over tch: the CPU and NVIDIA GPUs, in `f32` and `f64`, with libtorch's own automatic
//! differentiation.
//!
//! Built with the feature `libtorch` alone, which needs libtorch; `cargo xtask` finds or fetches it. Without the feature
//! this package is empty, so that everything else builds anywhere.
//!
//! Products are in full f32 precision: libtorch multiplies in TF32 only when told to, and [`devices()`] refuses a GPU in
//! an environment that tells it to.

#[cfg(feature = "libtorch")]
mod backend;
#[cfg(feature = "libtorch")]
mod devices;
#[cfg(feature = "libtorch")]
mod provider;
#[cfg(feature = "libtorch")]
mod tensor;

#[cfg(feature = "libtorch")]
pub use crate::{
    backend::TchBackend,
    devices::{devices, open},
    provider::Tch,
    tensor::TchTensor,
};

/// Name of this backend, as users choose it.
pub const NAME: &str = "tch";
