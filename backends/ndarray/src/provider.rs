//! This backend, to be chosen by name.

use tributary_backend::{BackendError, Devices, OpenOptions, Provider, cpu_device};

use crate::{F32, F64};

/// The CPU, over burn-ndarray.
#[derive(Clone, Copy, Debug)]
pub struct NdArray;

impl Provider for NdArray {
    const NAME: &'static str = crate::NAME;
    const DESCRIPTION: &'static str = "CPU, over burn-ndarray";
    type F32 = F32;
    type F64 = F64;

    fn devices() -> Result<Devices, String> {
        Ok(Devices { usable: vec![cpu_device()], note: None })
    }

    fn f32(_options: &OpenOptions<'_>) -> Result<Self::F32, BackendError> {
        Ok(crate::f32())
    }

    fn f64(_options: &OpenOptions<'_>) -> Result<Self::F64, BackendError> {
        Ok(crate::f64())
    }
}
