//! What a backend says of the device it computes on.

use crate::Dtype;

/// The device a backend computes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceInfo {
    /// Name of the backend, as users choose it.
    pub backend: &'static str,
    /// The device, as users choose it: `cpu`, `cuda:0`.
    pub device: String,
    /// What the backend computes in.
    pub dtype: Dtype,
    /// What the backend can and cannot promise.
    pub capabilities: Capabilities,
}

impl DeviceInfo {
    /// Whether the device is the machine's own processor, called `cpu`, and its memory the host's: there the engine computes
    /// itself what is too small for a library's products.
    pub fn is_cpu(&self) -> bool {
        self.device == "cpu"
    }
}

/// What a backend can and cannot promise about its results.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// The same inputs give the same bits on every run with the same number of threads.
    pub deterministic: bool,
}

/// A device that a backend could compute on, before it is opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AvailableDevice {
    /// The name it is chosen by: `cpu`, `cuda:0`.
    pub name: String,
    /// What it is, for people.
    pub description: String,
    /// Its memory in bytes, where that is known.
    pub memory: Option<u64>,
    /// What it computes in.
    pub dtypes: Vec<Dtype>,
}
