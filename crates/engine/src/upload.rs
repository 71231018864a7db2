//! From the host to a backend.

use tributary_backend::{AttributionBackend, BackendError, Element};
use tributary_model::{Array, Values};

/// Moves an array to a backend, in the backend's element type.
pub(crate) fn upload<B: AttributionBackend>(backend: &B, array: Array) -> Result<B::Tensor, BackendError> {
    let values = match array.values {
        Values::F32(values) => B::Element::vec_from_f32(values),
        Values::F64(values) => B::Element::vec_from_f64(values),
    };
    backend.upload_vec(values, &array.shape)
}
