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
//!
//! What is written on the trait runs on all of them. Shapes follow one set of rules, which say what is wrong:
//!
//! ```
//! use tributary_backend::{AttributionBackend, BackendError, Reduce, shape};
//!
//! /// Sum of the squares of each row of `x`, `[rows, columns]`: `[rows, 1]`.
//! fn squares<B: AttributionBackend>(backend: &B, x: &B::Tensor) -> Result<B::Tensor, BackendError> {
//!     backend.reduce(Reduce::Sum, &backend.mul(x, x)?, 1)
//! }
//!
//! assert_eq!(shape::matmul(&[5, 4, 3], &[3, 2])?, [5, 4, 2]);
//! println!("{}", shape::matmul(&[4, 3], &[5, 2]).unwrap_err());
//! # Ok::<(), BackendError>(())
//! ```

mod absent;
mod attribution_backend;
pub mod conformance;
mod device;
mod element;
mod error;
mod operation;
mod provider;
mod providers;
mod row_products;
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
