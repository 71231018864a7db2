//! Tensors of libtorch as values.

use tch::Tensor;

/// A tensor of libtorch. Nothing changes it in place, so clones share its memory.
#[derive(Debug)]
pub struct TchTensor(pub(crate) Tensor);

impl Clone for TchTensor {
    fn clone(&self) -> Self {
        Self(self.0.shallow_clone())
    }
}

impl TchTensor {
    /// Lengths of the axes.
    pub(crate) fn shape(&self) -> Vec<usize> {
        self.0.size().into_iter().map(|length| usize::try_from(length).unwrap_or(0)).collect()
    }
}
