//! Arrays of a causal-importance function, on a backend or in their file.

use tributary_backend::AttributionBackend;
use tributary_model::{Array, CiArrays};

use crate::EngineError;
use crate::upload::upload;

/// Arrays that are used together.
pub(crate) struct Part<T> {
    shapes: Vec<Vec<usize>>,
    place: Place<T>,
}

enum Place<T> {
    Uploaded(Vec<T>),
    Stored(CiArrays),
}

impl<T: Clone> Part<T> {
    pub(crate) fn upload<B: AttributionBackend<Tensor = T>>(
        backend: &B,
        arrays: CiArrays,
    ) -> Result<Self, EngineError> {
        let shapes = arrays.shapes();
        let place = match arrays {
            CiArrays::Stored(_) if backend.device().is_cpu() => Place::Stored(arrays),
            arrays => Place::Uploaded(uploaded(backend, arrays)?),
        };
        Ok(Self { shapes, place })
    }

    /// The tensors, read if they are not on the backend.
    pub(crate) fn tensors<B: AttributionBackend<Tensor = T>>(&self, backend: &B) -> Result<Vec<T>, EngineError> {
        match &self.place {
            Place::Uploaded(tensors) => Ok(tensors.clone()),
            Place::Stored(arrays) => uploaded(backend, arrays.clone()),
        }
    }

    /// Their shapes.
    pub(crate) fn shapes(&self) -> &[Vec<usize>] {
        &self.shapes
    }

    /// Elements that [`tensors`](Self::tensors) takes: what is read, and the same on the backend.
    pub(crate) fn read(&self) -> usize {
        match self.place {
            Place::Uploaded(_) => 0,
            Place::Stored(_) => 2 * self.shapes.iter().map(|shape| shape.iter().product::<usize>()).sum::<usize>(),
        }
    }
}

fn uploaded<B: AttributionBackend>(backend: &B, arrays: CiArrays) -> Result<Vec<B::Tensor>, EngineError> {
    let arrays: Vec<Array> = arrays.into_read().map_err(EngineError::Stored)?;
    Ok(arrays.into_iter().map(|array| upload(backend, array)).collect::<Result<_, _>>()?)
}
