//! The driver's own account of its GPUs, over the CUDA driver API.

use std::ffi::{CStr, c_char, c_int, c_uint};

use libloading::Library;
use tributary_backend::{AvailableDevice, Dtype};

use crate::library::find;

/// NVIDIA's driver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Driver {
    /// The newest CUDA version it supports, major and minor.
    pub cuda_version: (u32, u32),
    /// Its GPUs, in the order of their numbers; at least one.
    pub gpus: Vec<Gpu>,
}

/// A GPU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gpu {
    /// Product name.
    pub name: String,
    /// Memory in bytes.
    pub memory: u64,
    /// Compute capability, major and minor.
    pub compute_capability: (u32, u32),
}

impl Driver {
    /// The GPUs as devices `cuda:0`, `cuda:1`, ... that compute in `f32` and `f64`.
    pub fn devices(&self) -> Vec<AvailableDevice> {
        let device = |(index, gpu): (usize, &Gpu)| AvailableDevice {
            name: format!("cuda:{index}"),
            description: format!("{}, compute {}.{}", gpu.name, gpu.compute_capability.0, gpu.compute_capability.1),
            memory: Some(gpu.memory),
            dtypes: vec![Dtype::F32, Dtype::F64],
        };
        self.gpus.iter().enumerate().map(device).collect()
    }
}

/// Asks the driver; `Err` says why there is nothing to compute on, and what to do.
pub fn driver() -> Result<Driver, String> {
    let names: &[&str] = if cfg!(windows) { &["nvcuda.dll"] } else { &["libcuda.so.1", "libcuda.so"] };
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let remedy = "it comes with NVIDIA's driver: install that on a machine with an NVIDIA GPU, and give a container access \
                  to it (docker run --gpus all)";
    let library = find("NVIDIA's driver library libcuda", &names, remedy).map_err(|missing| missing.to_string())?;
    Api { library: &library }.ask()
}

/// The functions of the driver library; all return 0 for success.
struct Api<'a> {
    library: &'a Library,
}

const COMPUTE_CAPABILITY_MAJOR: c_int = 75;
const COMPUTE_CAPABILITY_MINOR: c_int = 76;

#[expect(unsafe_code, reason = "the driver's interface is C")]
impl Api<'_> {
    fn ask(&self) -> Result<Driver, String> {
        let init: unsafe extern "C" fn(c_uint) -> c_int = self.symbol("cuInit")?;
        // SAFETY: the signatures here are those of cuda.h, and every pointer is to a local of the right type.
        self.check("cuInit", unsafe { init(0) })?;
        let version: unsafe extern "C" fn(*mut c_int) -> c_int = self.symbol("cuDriverGetVersion")?;
        let cuda_version = self.number("cuDriverGetVersion", |out| unsafe { version(out) })?;
        let count: unsafe extern "C" fn(*mut c_int) -> c_int = self.symbol("cuDeviceGetCount")?;
        let count = self.number("cuDeviceGetCount", |out| unsafe { count(out) })?;
        let gpus = (0..count).map(|index| self.gpu(index as c_int)).collect::<Result<Vec<_>, _>>()?;
        if gpus.is_empty() {
            return Err(
                "NVIDIA's driver is installed but shows no GPU; see CUDA_VISIBLE_DEVICES and nvidia-smi".to_owned()
            );
        }
        Ok(Driver { cuda_version: (cuda_version / 1000, cuda_version % 1000 / 10), gpus })
    }

    fn gpu(&self, index: c_int) -> Result<Gpu, String> {
        let get: unsafe extern "C" fn(*mut c_int, c_int) -> c_int = self.symbol("cuDeviceGet")?;
        let device = self.number("cuDeviceGet", |out| unsafe { get(out, index) })? as c_int;
        let get_name: unsafe extern "C" fn(*mut c_char, c_int, c_int) -> c_int = self.symbol("cuDeviceGetName")?;
        let mut name = [0_u8; 256];
        self.check("cuDeviceGetName", unsafe { get_name(name.as_mut_ptr().cast(), 255, device) })?;
        let total: unsafe extern "C" fn(*mut usize, c_int) -> c_int = self.symbol("cuDeviceTotalMem_v2")?;
        let mut memory = 0_usize;
        self.check("cuDeviceTotalMem_v2", unsafe { total(&raw mut memory, device) })?;
        let attribute: unsafe extern "C" fn(*mut c_int, c_int, c_int) -> c_int = self.symbol("cuDeviceGetAttribute")?;
        let attribute = |which| self.number("cuDeviceGetAttribute", |out| unsafe { attribute(out, which, device) });
        let name = CStr::from_bytes_until_nul(&name).unwrap_or_default().to_string_lossy().into_owned();
        Ok(Gpu {
            name,
            memory: memory as u64,
            compute_capability: (attribute(COMPUTE_CAPABILITY_MAJOR)?, attribute(COMPUTE_CAPABILITY_MINOR)?),
        })
    }

    fn symbol<T: Copy>(&self, name: &str) -> Result<T, String> {
        // SAFETY: each caller names the type that cuda.h gives the function; the library outlives the call.
        let symbol = unsafe { self.library.get::<T>(name) };
        symbol.map(|symbol| *symbol).map_err(|error| format!("NVIDIA's driver library has no {name}: {error}"))
    }

    fn check(&self, function: &str, status: c_int) -> Result<(), String> {
        match status {
            0 => Ok(()),
            100 => Err("NVIDIA's driver is installed but there is no GPU (CUDA error 100); see nvidia-smi".to_owned()),
            _ => Err(format!(
                "NVIDIA's driver failed: {function} returned CUDA error {status}{}; see nvidia-smi, and whether the kernel \
                 module fits the library",
                self.error_name(status).map_or_else(String::new, |name| format!(" ({name})"))
            )),
        }
    }

    fn number(&self, function: &str, call: impl FnOnce(*mut c_int) -> c_int) -> Result<u32, String> {
        let mut value: c_int = 0;
        self.check(function, call(&raw mut value))?;
        u32::try_from(value).map_err(|_| format!("NVIDIA's driver failed: {function} gave {value}"))
    }

    fn error_name(&self, status: c_int) -> Option<String> {
        let get: unsafe extern "C" fn(c_int, *mut *const c_char) -> c_int = self.symbol("cuGetErrorName").ok()?;
        let mut name: *const c_char = std::ptr::null();
        // SAFETY: the driver gives a pointer to a string that lives as long as the library, or null.
        unsafe {
            (get(status, &raw mut name) == 0 && !name.is_null())
                .then(|| CStr::from_ptr(name).to_string_lossy().into_owned())
        }
    }
}
