//! The one interface between tributary's engine and the machine that does its arithmetic.
//!
//! [`AttributionBackend`] asks for thirteen operations on dense tensors of one floating-point type. Everything else
//! the model needs (softmax, GELU, means, vector-Jacobian products) is derived from those in default methods, which
//! a backend overrides only where it has something faster.
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
pub mod shape;

pub use absent::Absent;
pub use attribution_backend::AttributionBackend;
pub use device::{AvailableDevice, Capabilities, DeviceInfo};
pub use element::{Dtype, Element};
pub use error::BackendError;
pub use operation::{Binary, Reduce, Unary};
