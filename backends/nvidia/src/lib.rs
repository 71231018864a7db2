//! What NVIDIA's driver says of the GPUs of this machine: asked by loading its library, so that a machine without one
//! gets an explanation. Shared by the backends that compute on such GPUs, which know only how to fail.

mod driver;
mod library;

pub use driver::{Driver, Gpu, driver};
pub use library::{Missing, find};
