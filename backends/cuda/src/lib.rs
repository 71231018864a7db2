//! NVIDIA GPU backend over burn-cuda, in f32.
//!
//! Matrices are multiplied by [`kernels`] of our choosing: burn's own choice rounds the factors of f32 products to TF32
//! wherever the GPU can. What the GPU's libraries lack is found by [`devices()`] before burn, which would panic, is
//! touched; what fails on the GPU later comes back as an error.

mod device;
mod failure;
pub mod kernels;
mod provider;
mod toolkit;

pub use device::{F32, F64, devices, f32, f64};
pub use kernels::Precision;
pub use provider::Cuda;

/// Name of this backend, as users choose it.
pub const NAME: &str = "cuda";
