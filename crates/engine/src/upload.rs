//! From the host to a backend.

use tributary_backend::{AttributionBackend, BackendError, Element};
use tributary_model::Array;

/// Copies an array to a backend, in the backend's element type.
pub(crate) fn upload<B: AttributionBackend>(backend: &B, array: &Array) -> Result<B::Tensor, BackendError> {
    let values: Vec<B::Element> = array.values.iter().map(|&value| B::Element::from_f32(value)).collect();
    backend.upload(&values, &array.shape)
}
