//! Finding and opening GPUs.

use std::sync::OnceLock;

use burn_backend::{Backend, DType};
use burn_cuda::CudaDevice;
use cubecl::config::{CubeClRuntimeConfig, RuntimeConfig};
use tributary_backend::{AvailableDevice, BackendError, Capabilities, Dtype};
use tributary_burn::BurnBackend;

use crate::kernels::{CubeKernels, Precision};
use crate::{NAME, failure, toolkit};

/// The backend in `f32`.
pub type F32 = BurnBackend<burn_cuda::Cuda<f32, i32>, f32, CubeKernels>;

/// The backend in `f64`, where burn-cuda has it.
pub type F64 = BurnBackend<burn_cuda::Cuda<f64, i32>, f64, CubeKernels>;

/// burn-cuda's sums and products add in a fixed order, and its gradients of selections too. Not promised all the same: a
/// kernel is chosen by the GPU's own measures.
const CAPABILITIES: Capabilities = Capabilities { deterministic: false };

/// The GPUs that burn-cuda can compute on; `Err` names what is missing, where it was looked for and what to do.
pub fn devices() -> Result<Vec<AvailableDevice>, String> {
    let mut devices = tributary_nvidia::driver()?.devices();
    toolkit::check()?;
    configure()?;
    for (index, device) in devices.iter_mut().enumerate() {
        let index = CudaDevice::new(index);
        let has_f64 = failure::catch(move || burn_cuda::Cuda::<f64, i32>::supports_dtype(&index, DType::F64))?;
        device.dtypes = if has_f64 { vec![Dtype::F32, Dtype::F64] } else { vec![Dtype::F32] };
    }
    Ok(devices)
}

/// Sets cubecl up, before it is first used.
fn configure() -> Result<(), String> {
    static CONFIGURED: OnceLock<Result<(), String>> = OnceLock::new();
    let configure = || {
        let mut config = CubeClRuntimeConfig::default();
        // An error is kept with the stream it happened in, and a download reports those of its own stream alone; streams
        // go by threads. With one stream for all, no download misses an error.
        config.streaming.max_streams = 1;
        // Panics where cubecl is in use already, in a program that computes with it itself.
        failure::catch(|| CubeClRuntimeConfig::set(config))
    };
    CONFIGURED.get_or_init(configure).clone()
}

/// The backend in `f32` on `cuda` or `cuda:N`.
pub fn f32(name: &str, precision: Precision) -> Result<F32, BackendError> {
    let (device, name) = open(name, Dtype::F32)?;
    Ok(BurnBackend::with_kernels(device, NAME, &name, CAPABILITIES, CubeKernels { precision }))
}

/// The backend in `f64` on `cuda` or `cuda:N`.
pub fn f64(name: &str) -> Result<F64, BackendError> {
    let (device, name) = open(name, Dtype::F64)?;
    let kernels = CubeKernels { precision: Precision::Full };
    Ok(BurnBackend::with_kernels(device, NAME, &name, CAPABILITIES, kernels))
}

fn open(name: &str, dtype: Dtype) -> Result<(CudaDevice, String), BackendError> {
    let failed = |message: String| BackendError::Device { operation: "open", device: name.to_owned(), message };
    let devices = devices().map_err(failed)?;
    let name = if name == "cuda" { "cuda:0" } else { name };
    let index = devices.iter().position(|device| device.name == name).ok_or_else(|| {
        let known = devices.iter().map(|device| device.name.as_str()).collect::<Vec<_>>().join(", ");
        failed(format!("there is no such device; there are {known}"))
    })?;
    if !devices[index].dtypes.contains(&dtype) {
        return Err(BackendError::Unsupported {
            backend: NAME,
            capability: format!("compute in {dtype}; burn-cuda has f32 alone here, and the backend tch has both"),
        });
    }
    Ok((CudaDevice::new(index), name.to_owned()))
}
