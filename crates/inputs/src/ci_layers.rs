//! Causal-importance functions that stay in their checkpoint until they are used.

use std::path::{Path, PathBuf};

use tributary_model::{Array, StoredCiLayers, StoredError};

use crate::InputError;
use crate::checkpoint::StoredTensor;

/// The linear layers of one causal-importance function.
#[derive(Debug)]
pub(crate) struct CiLayersInCheckpoint {
    file: PathBuf,
    /// Weight and bias of each.
    layers: Vec<(StoredTensor, StoredTensor)>,
}

impl CiLayersInCheckpoint {
    pub(crate) fn new(file: &Path, layers: Vec<(StoredTensor, StoredTensor)>) -> Self {
        Self { file: file.to_owned(), layers }
    }
}

impl StoredCiLayers for CiLayersInCheckpoint {
    fn shapes(&self) -> Vec<Vec<usize>> {
        self.layers.iter().map(|(weight, _)| weight.shape().to_vec()).collect()
    }

    fn read(&self) -> Result<Vec<(Array, Array)>, StoredError> {
        let layer = |(weight, bias): &(StoredTensor, StoredTensor)| -> Result<_, InputError> {
            Ok((weight.read(&self.file)?, bias.read(&self.file)?))
        };
        Ok(self.layers.iter().map(layer).collect::<Result<_, _>>()?)
    }
}
