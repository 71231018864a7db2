//! Adapter from any burn backend to [`AttributionBackend`](tributary_backend::AttributionBackend).
//!
//! Works on burn's primitives rather than its `Tensor<B, D>`, whose rank is a type parameter. A backend package names
//! the burn backend and the device; everything else is here:
//!
//! ```ignore
//! pub type Backend<E> = tributary_burn::BurnBackend<burn_ndarray::NdArray<E>, E>;
//! ```

mod backend;
mod host;
mod kernels;
mod matmul;
mod tensor;

pub use backend::BurnBackend;
pub use host::{HostKernels, tanh_on_host};
pub use kernels::{BurnKernels, Kernels};
pub use tensor::BurnTensor;
