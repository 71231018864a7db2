//! This backend, to be chosen by name.

use tributary_backend::{BackendError, Devices, OpenOptions, Provider};

use crate::{F32, F64, Precision};

/// NVIDIA GPUs over burn-cuda.
#[derive(Clone, Copy, Debug)]
pub struct Cuda;

impl Provider for Cuda {
    const NAME: &'static str = crate::NAME;
    const DESCRIPTION: &'static str = "NVIDIA GPUs, over burn-cuda";
    const TF32: bool = true;
    type F32 = F32;
    type F64 = F64;

    fn devices() -> Result<Devices, String> {
        crate::devices().map(|usable| Devices { usable, note: None })
    }

    fn f32(options: &OpenOptions<'_>) -> Result<Self::F32, BackendError> {
        crate::f32(options.device, if options.allow_tf32 { Precision::Tf32 } else { Precision::Full })
    }

    fn f64(options: &OpenOptions<'_>) -> Result<Self::F64, BackendError> {
        crate::f64(options.device)
    }
}
