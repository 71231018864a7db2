//! Backends as the command line sees them: by name, chosen at run time.

use tributary_backend::{AttributionBackend, BackendError, Dtype};

use crate::CliError;
use crate::attribute::{Computed, Job};

/// A backend that the command line can be given.
pub trait Provider {
    /// Name, as `--backend` takes it.
    const NAME: &'static str;
    /// What it is, in a few words.
    const DESCRIPTION: &'static str;
    /// The backend computing in `f32`.
    type F32: AttributionBackend<Element = f32>;
    /// The backend computing in `f64`.
    type F64: AttributionBackend<Element = f64>;

    /// The devices it can compute on here, at least one, the default first; or why there are none.
    fn devices() -> Result<Vec<String>, String>;

    /// The backend in `f32` on one of its devices.
    fn f32(device: &str) -> Result<Self::F32, BackendError>;

    /// The backend in `f64` on one of its devices.
    fn f64(device: &str) -> Result<Self::F64, BackendError>;
}

/// A backend in the command line's list.
pub struct BackendEntry {
    /// Name, as `--backend` takes it.
    pub name: &'static str,
    /// What it is, in a few words.
    pub description: &'static str,
    /// `None` when the executable was built without it.
    built_in: Option<BuiltIn>,
}

struct BuiltIn {
    devices: fn() -> Result<Vec<String>, String>,
    compute: fn(Job<'_>, Dtype, &str) -> Result<Computed, CliError>,
}

impl BackendEntry {
    /// A backend that is part of this executable.
    pub fn of<P: Provider>() -> Self {
        let compute = |job: Job<'_>, dtype, device: &str| match dtype {
            Dtype::F32 => job.compute(P::f32(device)?),
            Dtype::F64 => job.compute(P::f64(device)?),
        };
        let built_in = Some(BuiltIn { devices: P::devices, compute });
        Self { name: P::NAME, description: P::DESCRIPTION, built_in }
    }

    /// A backend that exists, but that this executable was built without.
    pub fn left_out(name: &'static str, description: &'static str) -> Self {
        Self { name, description, built_in: None }
    }

    /// Whether it is part of this executable.
    pub fn is_built_in(&self) -> bool {
        self.built_in.is_some()
    }

    /// The devices it can compute on here, the default first; or why there are none.
    pub fn devices(&self) -> Result<Vec<String>, String> {
        self.require()?.devices()
    }

    pub(crate) fn compute(&self, job: Job<'_>, dtype: Dtype, device: &str) -> Result<Computed, CliError> {
        let built_in = self.require().map_err(|reason| CliError::Unusable { name: self.name, reason })?;
        (built_in.compute)(job, dtype, device)
    }

    fn require(&self) -> Result<&BuiltIn, String> {
        self.built_in
            .as_ref()
            .ok_or_else(|| format!("this tributary was built without it (cargo feature {})", self.name))
    }
}

impl BuiltIn {
    fn devices(&self) -> Result<Vec<String>, String> {
        (self.devices)()
    }
}

/// The backend named `name` and the device to use: `device`, or else the backend's first.
pub(crate) fn choose<'a>(
    backends: &'a [BackendEntry],
    name: &str,
    device: Option<&str>,
) -> Result<(&'a BackendEntry, String), CliError> {
    let names = || backends.iter().map(|entry| entry.name).collect::<Vec<_>>().join(", ");
    let entry = backends.iter().find(|entry| entry.name == name);
    let entry = entry.ok_or_else(|| CliError::UnknownBackend { name: name.to_owned(), known: names() })?;
    let devices = entry.devices().map_err(|reason| CliError::Unusable { name: entry.name, reason })?;
    let chosen = match device {
        None => devices.first(),
        Some(device) => devices.iter().find(|known| *known == device),
    };
    let unknown = || CliError::UnknownDevice {
        backend: entry.name,
        device: device.unwrap_or_default().to_owned(),
        known: devices.join(", "),
    };
    Ok((entry, chosen.ok_or_else(unknown)?.clone()))
}
