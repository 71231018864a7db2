//! What libtorch can compute on here.

use std::sync::OnceLock;

use libloading::Library;
use tributary_backend::{AvailableDevice, BackendError, Capabilities, DeviceInfo, Devices, Element, cpu_device};

use crate::{NAME, TchBackend};

/// The GPUs, if libtorch can use them, and the CPU.
pub fn devices() -> Devices {
    let (mut usable, note) = match gpus() {
        Ok(gpus) => (gpus, None),
        Err(reason) => (Vec::new(), Some(format!("no GPU: {reason}"))),
    };
    usable.push(cpu_device());
    Devices { usable, note }
}

/// The backend on `cpu`, `cuda` or `cuda:N`.
pub fn open<E: Element + tch::kind::Element>(name: &str) -> Result<TchBackend<E>, BackendError> {
    let unknown = |message: String| BackendError::Device { operation: "open", device: name.to_owned(), message };
    let (device, deterministic) = if name == "cpu" {
        (tch::Device::Cpu, true)
    } else {
        let gpus = gpus().map_err(unknown)?;
        let full_name = if name == "cuda" { "cuda:0" } else { name };
        let index = gpus.iter().position(|gpu| gpu.name == full_name);
        let index = index.ok_or_else(|| {
            unknown(format!("there is no such device; there are cpu and cuda:0 to cuda:{}", gpus.len() - 1))
        })?;
        // Gradients of a selection are added up in whatever order the threads come.
        (tch::Device::Cuda(index), false)
    };
    let device_name = if name == "cuda" { "cuda:0" } else { name };
    let capabilities = Capabilities { deterministic };
    Ok(TchBackend::new(
        device,
        DeviceInfo { backend: NAME, device: device_name.to_owned(), dtype: E::DTYPE, capabilities },
    ))
}

/// Environment variables that make libtorch, or cuBLAS under it, multiply f32 numbers in TF32.
const TF32_SWITCHES: [(&str, &[&str]); 2] = [
    ("TORCH_ALLOW_TF32_CUBLAS_OVERRIDE", &["0", "n", "no", "N", "NO", "off", "OFF", "false", "FALSE", ""]),
    ("NVIDIA_TF32_OVERRIDE", &["0", ""]),
];

fn gpus() -> Result<Vec<AvailableDevice>, String> {
    let driver = tributary_nvidia::driver()?;
    load_cuda()?;
    let count = usize::try_from(tch::Cuda::device_count()).unwrap_or(0);
    if count == 0 {
        let (major, minor) = driver.cuda_version;
        return Err(format!(
            "libtorch finds none, though NVIDIA's driver has {}; the driver supports CUDA {major}.{minor} and libtorch may \
             need a newer one",
            driver.gpus.len()
        ));
    }
    for (variable, off) in TF32_SWITCHES {
        if let Ok(value) = std::env::var(variable)
            && !off.contains(&value.as_str())
        {
            return Err(format!(
                "the environment has {variable}={value}, with which f32 products are off by about 1e-3; unset it"
            ));
        }
    }
    Ok(driver.devices().into_iter().take(count).collect())
}

/// Brings in the part of libtorch that knows GPUs. It is not linked, so that a machine without CUDA's libraries can
/// compute on the CPU; libtorch finds it once it is loaded.
fn load_cuda() -> Result<(), String> {
    static LOADED: OnceLock<Result<Library, String>> = OnceLock::new();
    let load = || {
        let name = if cfg!(windows) { "torch_cuda.dll" } else { "libtorch_cuda.so" };
        // SAFETY: this library belongs to the libtorch that is loaded already, and stays loaded.
        #[expect(unsafe_code, reason = "loading a library runs its initialisation")]
        let library = unsafe { Library::new(name) };
        library.map_err(|error| {
            let said = std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
            format!(
                "libtorch's CUDA part cannot be loaded ({said}); install PyTorch with its CUDA libraries (pip install \
                 torch==2.11.0) and build the plugin against it"
            )
        })
    };
    LOADED.get_or_init(load).as_ref().map(|_| ()).map_err(Clone::clone)
}
