//! A tensor as a checkpoint has it, whatever its format.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

use pytorch_reader::Tensor;

/// A tensor that lies in a checkpoint.
#[derive(Clone)]
pub(super) struct RawTensor {
    /// The file that it lies in.
    pub(super) file: Arc<Path>,
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
        file: Arc<Path>,
        name: String,
        dtype: String,
        shape: Vec<usize>,
        bytes: usize,
        read: Arc<dyn Fn() -> io::Result<Vec<u8>> + Send + Sync>,
    ) -> Self {
        Self { file, name, dtype, shape, bytes, read }
    }

    pub(super) fn of_torch(file: Arc<Path>, tensor: Tensor) -> Self {
        let (bytes, dtype) = (tensor.byte_len(), format!("{:?}", tensor.dtype()));
        let (name, _, shape, read) = tensor.into_parts();
        Self::new(file, name, dtype, shape, bytes, Arc::new(read))
    }
}

impl fmt::Debug for RawTensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawTensor").field("name", &self.name).field("shape", &self.shape).finish_non_exhaustive()
    }
}
