//! What is known of a backend before it is opened.

use serde::{Deserialize, Serialize};
use tributary_backend::{AvailableDevice, Devices, Dtype, ProviderEntry};
use tributary_model::Remedy;

use crate::{Compute, Unusable, VERSION};

/// A backend and its devices. As JSON it is what the plugin of a backend answers with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackendDescription {
    /// The name it is chosen by.
    pub name: String,
    /// What it is, in a few words.
    pub description: String,
    /// Version of tributary it was built from; empty when that is not known.
    pub version: String,
    /// Whether it has the faster products of [`Compute::allow_tf32`].
    pub tf32: bool,
    /// The devices it can compute on, the default first; none when it cannot be used.
    pub devices: Vec<DeviceDescription>,
    /// Why devices that a user might expect are not there.
    pub note: Option<String>,
    /// Why it cannot be used.
    pub unusable_because: Option<String>,
}

/// A device of a backend.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceDescription {
    /// The name it is chosen by.
    pub name: String,
    /// What it is.
    pub description: String,
    /// Its memory in bytes, where that is known.
    pub memory: Option<u64>,
    /// `f32`, `f64`.
    pub dtypes: Vec<String>,
}

impl BackendDescription {
    /// Asks a backend of this program for its devices.
    pub fn of(entry: &ProviderEntry) -> Self {
        let devices = (entry.devices)();
        let unusable_because = match &devices {
            Ok(devices) if devices.usable.is_empty() => Some("it has no device here".to_owned()),
            Ok(_) => None,
            Err(reason) => Some(reason.clone()),
        };
        let Devices { usable, note } = devices.unwrap_or_default();
        Self {
            name: entry.name.to_owned(),
            description: entry.description.to_owned(),
            version: VERSION.to_owned(),
            tf32: entry.tf32,
            devices: usable.into_iter().map(DeviceDescription::new).collect(),
            note,
            unusable_because,
        }
    }

    /// A backend that cannot be used, and of which nothing more is known.
    pub fn unusable(name: &str, description: &str, version: &str, reason: String) -> Self {
        Self {
            name: name.to_owned(),
            description: description.to_owned(),
            version: version.to_owned(),
            tf32: false,
            devices: Vec::new(),
            note: None,
            unusable_because: Some(reason),
        }
    }

    /// The device that would be taken, or why the backend cannot compute what is asked for.
    pub fn device_for(&self, compute: &Compute) -> Result<&DeviceDescription, Unusable> {
        if let Some(reason) = &self.unusable_because {
            return Err(Unusable::because(reason.clone()));
        }
        let chosen = match &compute.device {
            None => self.devices.first(),
            // `cuda` is the first of several.
            Some(device) => {
                self.devices.iter().find(|known| known.name == *device || known.name == format!("{device}:0"))
            }
        };
        let chosen = chosen.ok_or_else(|| {
            let known = self.devices.iter().map(|device| device.name.as_str()).collect::<Vec<_>>().join(", ");
            let note = self.note.as_ref().map_or_else(String::new, |note| format!(" ({note})"));
            let device = compute.device.as_deref().unwrap_or_default();
            Unusable::because(format!("it has no device {device:?}; its devices are {known}{note}"))
        })?;
        if !chosen.dtypes.iter().any(|known| *known == compute.dtype.to_string()) {
            let (name, dtypes) = (&chosen.name, chosen.dtypes.join(", "));
            return Err(Unusable::because(format!(
                "its device {name} does not compute in {}, only in {dtypes}",
                compute.dtype
            )));
        }
        if compute.allow_tf32 && !(self.tf32 && chosen.name.starts_with("cuda")) {
            let reason = format!("it has no TF32 products on {}; compute without them", chosen.name);
            return Err(Unusable { reason, remedy: Some(Remedy::FullPrecision) });
        }
        Ok(chosen)
    }
}

impl DeviceDescription {
    fn new(device: AvailableDevice) -> Self {
        let AvailableDevice { name, description, memory, dtypes } = device;
        Self { name, description, memory, dtypes: dtypes.iter().map(Dtype::to_string).collect() }
    }
}
