//! What a backend package may decide over a burn backend.

use std::fmt;

use burn_backend::tensor::FloatTensor;
use burn_backend::{Backend, TensorData, try_read_sync};

/// How a burn backend does what burn leaves open.
pub trait Kernels<B: Backend>: Clone + fmt::Debug + Send + 'static {
    /// `[.., m, k] x [.., k, n] -> [.., m, n]` for two tensors of equal rank, neither empty, whose leading axes are equal
    /// or 1. `Err` is what the device said.
    fn matmul(&self, lhs: FloatTensor<B>, rhs: FloatTensor<B>) -> Result<FloatTensor<B>, String> {
        Ok(B::float_matmul(lhs, rhs))
    }

    /// Largest element along `axis`, which stays with length 1, of a tensor that is not empty.
    fn max(&self, x: FloatTensor<B>, axis: usize) -> FloatTensor<B> {
        B::float_max_dim(x, axis)
    }

    /// Hyperbolic tangent of every element of a tensor that is not empty.
    fn tanh(&self, x: FloatTensor<B>) -> FloatTensor<B> {
        B::float_tanh(x)
    }

    /// The elements of a tensor that is not empty, in row-major order. `Err` says why they cannot be had.
    fn read(&self, x: FloatTensor<B>) -> Result<TensorData, String> {
        let read = self.guard(|| try_read_sync(B::float_into_data(x)))?;
        read.ok_or("the device cannot be read synchronously")?.map_err(|error| error.to_string())
    }

    /// Calls what panics where the device has failed; `Err` says how.
    fn guard<T>(&self, call: impl FnOnce() -> T) -> Result<T, String> {
        Ok(call())
    }

    /// What has failed on the device without an error coming back, since the last call. Asked after every download.
    fn take_failure(&self) -> Option<String> {
        None
    }
}

/// burn's own choices.
#[derive(Clone, Copy, Debug)]
pub struct BurnKernels;

impl<B: Backend> Kernels<B> for BurnKernels {}
