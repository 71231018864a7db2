//! What a backend tells of itself before it is opened, and how it is opened.

use crate::{AttributionBackend, AvailableDevice, BackendError, Dtype, Work};

/// A backend that can be chosen by name: both its element types, and the devices it has here.
///
/// It is a type, of which no value is ever made; lists of them are [`Providers`](crate::Providers).
pub trait Provider {
    /// The name it is chosen by: small letters, digits, `-` and `_`.
    const NAME: &'static str;
    /// What it is, in a few words.
    const DESCRIPTION: &'static str;
    /// Whether it has faster f32 products, in TF32.
    const TF32: bool = false;
    /// The backend computing in `f32`; [`Absent`](crate::Absent) if there is none.
    type F32: AttributionBackend<Element = f32>;
    /// The backend computing in `f64`; [`Absent`](crate::Absent) if there is none.
    type F64: AttributionBackend<Element = f64>;

    /// The devices it can compute on here, at least one, the default first; or why there are none. Asked before
    /// anything else; must not panic.
    fn devices() -> Result<Devices, String>;

    /// The backend in `f32` on one of its devices.
    fn f32(options: &OpenOptions<'_>) -> Result<Self::F32, BackendError>;

    /// The backend in `f64` on one of its devices.
    fn f64(options: &OpenOptions<'_>) -> Result<Self::F64, BackendError>;

    /// Makes the library compute with this many CPU threads. Called before anything is computed, if at all. rayon's
    /// pool is set already; this is for libraries with threads of their own.
    fn set_threads(_threads: usize) {}

    /// Opens the backend and does `work` on it.
    fn run<W: Work>(dtype: Dtype, options: &OpenOptions<'_>, work: W) -> Result<W::Output, BackendError> {
        Ok(match dtype {
            Dtype::F32 => work.run(Self::f32(options)?),
            Dtype::F64 => work.run(Self::f64(options)?),
        })
    }
}

/// The devices of a backend on this machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Devices {
    /// Those it can compute on, the default first.
    pub usable: Vec<AvailableDevice>,
    /// Why devices that a user might expect are not among them.
    pub note: Option<String>,
}

/// How a backend is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenOptions<'a> {
    /// Name of the device, one of [`Provider::devices`].
    pub device: &'a str,
    /// Whether f32 products may be taken in TF32. Only ever set for a backend that [has them](Provider::TF32).
    pub allow_tf32: bool,
}

impl<'a> OpenOptions<'a> {
    /// A device, in full precision.
    pub fn on(device: &'a str) -> Self {
        Self { device, allow_tf32: false }
    }
}

/// The machine itself as a device: what every backend that computes on the CPU can give.
pub fn cpu_device() -> AvailableDevice {
    let mut system = sysinfo::System::new();
    system.refresh_memory();
    let total = system.total_memory();
    // Where there is no /proc, the limits of a group of processes cannot be asked for either.
    let limits = (total > 0).then(|| system.cgroup_limits()).flatten();
    let memory = limits.map_or(total, |limits| limits.total_memory);
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    AvailableDevice {
        name: "cpu".to_owned(),
        description: format!("{}, {cores} threads", std::env::consts::ARCH),
        memory: (memory > 0).then_some(memory),
        dtypes: vec![Dtype::F32, Dtype::F64],
    }
}
