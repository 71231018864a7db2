//! What a backend says of the device it computes on.

use crate::Dtype;

/// The device a backend computes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceInfo {
    /// Name of the backend, as `--backend` takes it.
    pub backend: &'static str,
    /// The device, as `--device` takes it: `cpu`, `cuda:0`.
    pub device: String,
    /// What the backend computes in.
    pub dtype: Dtype,
    /// What the backend can and cannot promise.
    pub capabilities: Capabilities,
}

/// What a backend can and cannot promise about its results.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// The same inputs give the same bits on every run with the same number of threads.
    pub deterministic: bool,
}
