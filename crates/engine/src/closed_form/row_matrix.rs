//! A matrix whose rows are multiplied one by one, or as a whole.

use std::cell::OnceCell;

use tributary_backend::{AttributionBackend, BackendError};

/// A matrix `[rows, width]` on the device and, once rows of it were needed on the host, there.
pub(super) struct RowMatrix<B: AttributionBackend> {
    tensor: B::Tensor,
    host: OnceCell<Vec<B::Element>>,
}

impl<B: AttributionBackend> RowMatrix<B> {
    pub(super) fn new(tensor: B::Tensor) -> Self {
        Self { tensor, host: OnceCell::new() }
    }

    pub(super) fn tensor(&self) -> &B::Tensor {
        &self.tensor
    }

    /// Numbers of rows and of columns.
    pub(super) fn shape(&self, b: &B) -> [usize; 2] {
        let shape = b.shape(&self.tensor);
        [shape[0], shape[1]]
    }

    /// The elements of a row next to each other.
    pub(super) fn host(&self, b: &B) -> Result<&[B::Element], BackendError> {
        if let Some(host) = self.host.get() {
            return Ok(host);
        }
        let host = b.download(&self.tensor)?;
        Ok(self.host.get_or_init(|| host))
    }
}
