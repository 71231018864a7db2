//! A tensor as a checkpoint has it, whatever its format.

use std::fmt;
use std::io;
use std::sync::Arc;

use pytorch_reader::Tensor;

/// A tensor that lies in a checkpoint.
#[derive(Clone)]
pub(super) struct RawTensor {
    /// Its name there.
    pub(super) name: String,
    /// What its elements are, such as `F32`.
    pub(super) dtype: String,
    pub(super) shape: Vec<usize>,
    /// How many bytes it is read into.
    pub(super) bytes: usize,
    /// Reads its elements, in native byte order.
    pub(super) read: Arc<dyn Fn() -> io::Result<Vec<u8>> + Send + Sync>,
}

impl RawTensor {
    pub(super) fn new(
        name: String,
        dtype: String,
        shape: Vec<usize>,
        bytes: usize,
        read: Arc<dyn Fn() -> io::Result<Vec<u8>> + Send + Sync>,
    ) -> Self {
        Self { name, dtype, shape, bytes, read }
    }

    pub(super) fn of_torch(tensor: Tensor) -> Self {
        let (bytes, dtype) = (tensor.byte_len(), format!("{:?}", tensor.dtype()));
        let (name, _, shape, read) = tensor.into_parts();
        Self::new(name, dtype, shape, bytes, Arc::new(read))
    }
}

impl fmt::Debug for RawTensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawTensor").field("name", &self.name).field("shape", &self.shape).finish_non_exhaustive()
    }
}
