//! This backend, to be chosen by name.

use tributary_backend::{BackendError, Devices, OpenOptions, Provider};

use crate::TchBackend;

/// libtorch on the CPU and on NVIDIA GPUs.
#[derive(Clone, Copy, Debug)]
pub struct Tch;

impl Provider for Tch {
    const NAME: &'static str = crate::NAME;
    const DESCRIPTION: &'static str = "libtorch on the CPU and on NVIDIA GPUs, over tch";
    type F32 = TchBackend<f32>;
    type F64 = TchBackend<f64>;

    fn devices() -> Result<Devices, String> {
        Ok(crate::devices())
    }

    fn f32(options: &OpenOptions<'_>) -> Result<Self::F32, BackendError> {
        crate::open(options.device)
    }

    fn f64(options: &OpenOptions<'_>) -> Result<Self::F64, BackendError> {
        crate::open(options.device)
    }

    fn set_threads(threads: usize) {
        tch::set_num_threads(i32::try_from(threads).unwrap_or(i32::MAX));
    }
}
