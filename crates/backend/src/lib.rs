//! The one interface between tributary's engine and the machine that does its arithmetic.
//!
//! [`AttributionBackend`] asks for thirteen operations on dense tensors of one floating-point type. Everything else
//! the model needs (softmax, GELU, means, vector-Jacobian products) is derived from those in default methods, which
//! a backend overrides only where it has something faster.
//!
//! A [`Provider`] is what a library says of its backends before one is opened, and [`Work`] what is to be done on one whose
//! type is chosen at run time.
//!
//! A backend proves itself by passing the [conformance suite](mod@conformance), one macro call in a test file.
//! `docs/backends.md` in the repository walks through adding one.

mod absent;
mod attribution_backend;
pub mod conformance;
mod device;
mod element;
mod error;
mod operation;
mod provider;
mod providers;
pub mod shape;
mod work;

pub use absent::Absent;
pub use attribution_backend::AttributionBackend;
pub use device::{AvailableDevice, Capabilities, DeviceInfo};
pub use element::{Dtype, Element};
pub use error::BackendError;
pub use operation::{Binary, Reduce, Unary};
pub use provider::{Devices, OpenOptions, Provider, cpu_device};
pub use providers::{ProviderEntry, Providers};
pub use work::Work;
