//! Arrays of causal-importance functions that stay in their checkpoint until they are used.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tributary_model::{Array, CiArrays, StoredCiArrays, StoredError};

use crate::InputError;
use crate::checkpoint::StoredTensor;

/// Arrays that are used together.
#[derive(Debug)]
struct CiArraysInCheckpoint {
    file: PathBuf,
    tensors: Vec<StoredTensor>,
}

/// Those of a checkpoint.
pub(crate) fn stored(file: &Path, tensors: Vec<StoredTensor>) -> CiArrays {
    CiArrays::Stored(Arc::new(CiArraysInCheckpoint { file: file.to_owned(), tensors }))
}

impl StoredCiArrays for CiArraysInCheckpoint {
    fn shapes(&self) -> Vec<Vec<usize>> {
        self.tensors.iter().map(|tensor| tensor.shape().to_vec()).collect()
    }

    fn read(&self) -> Result<Vec<Array>, StoredError> {
        let arrays = self.tensors.iter().map(|tensor| tensor.read(&self.file));
        Ok(arrays.collect::<Result<_, InputError>>()?)
    }
}
