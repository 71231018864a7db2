//! From the host to a backend.

use tributary_backend::{AttributionBackend, BackendError, Element};
use tributary_model::Array;

/// Moves an array to a backend, in the backend's element type.
pub(crate) fn upload<B: AttributionBackend>(backend: &B, array: Array) -> Result<B::Tensor, BackendError> {
    backend.upload_vec(B::Element::vec_from_f32(array.values), &array.shape)
}
