//! This backend for the command line.

use tributary::{Devices, OpenOptions, Provider};
use tributary_backend::BackendError;

use crate::{F32, F64, Precision};

/// burn-cuda as a backend of the command line.
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
