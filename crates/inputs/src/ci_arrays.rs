//! Arrays of causal-importance functions that stay in their checkpoint until they are used.

use std::sync::Arc;

use tributary_model::{Array, CiArrays, StoredCiArrays, StoredError};

use crate::InputError;
use crate::checkpoint::StoredTensor;

/// Arrays that are used together.
#[derive(Debug)]
struct CiArraysInCheckpoint(Vec<StoredTensor>);

/// Those of a checkpoint.
pub(crate) fn stored(tensors: Vec<StoredTensor>) -> CiArrays {
    CiArrays::Stored(Arc::new(CiArraysInCheckpoint(tensors)))
}

impl StoredCiArrays for CiArraysInCheckpoint {
    fn shapes(&self) -> Vec<Vec<usize>> {
        self.0.iter().map(|tensor| tensor.shape().to_vec()).collect()
    }

    fn read(&self) -> Result<Vec<Array>, StoredError> {
        let arrays = self.0.iter().map(StoredTensor::read);
        Ok(arrays.collect::<Result<_, InputError>>()?)
    }
}
