//! What is to be done on a backend whose type is chosen at run time.

use crate::AttributionBackend;

/// A function that is generic over its backend, as a value: what [`Provider::run`](crate::Provider::run) and
/// [`Providers::run_on`](crate::Providers::run_on) are handed.
pub trait Work {
    /// What comes out of it.
    type Output;

    /// Does it on this backend.
    fn run<B: AttributionBackend>(self, backend: B) -> Self::Output;
}
