//! What burn-ndarray is slow at, done otherwise.

use burn_backend::tensor::FloatTensor;
use burn_backend::{Backend, TensorData};
use burn_ndarray::NdArrayTensor;
use tributary_burn::{Kernels, tanh_on_host};

/// burn's own choices, but for two: a function that burn leaves to the standard library, number by number; and reading a
/// tensor, which burn-ndarray mostly does through an iterator, several times as slowly as a copy.
#[derive(Clone, Copy, Debug)]
pub struct NdArrayKernels;

impl<B: Backend<FloatTensorPrimitive = NdArrayTensor>> Kernels<B> for NdArrayKernels {
    fn tanh(&self, x: NdArrayTensor) -> FloatTensor<B> {
        tanh_on_host::<B>(self, x)
    }

    fn read(&self, x: NdArrayTensor) -> Result<TensorData, String> {
        macro_rules! copy {
            ($storage:expr) => {{
                let (shape, view) = ($storage.shape().to_vec(), $storage.view());
                let values = match view.as_slice() {
                    Some(values) => values.to_vec(),
                    // Folded, elements go row by row; asked for the next one, an iterator starts anew at each.
                    None => view.iter().fold(Vec::with_capacity(view.len()), |mut values, &value| {
                        values.push(value);
                        values
                    }),
                };
                Ok(TensorData::new(values, shape))
            }};
        }
        match x {
            NdArrayTensor::F32(storage) => copy!(storage),
            NdArrayTensor::F64(storage) => copy!(storage),
            other => Err(format!("{:?} is no type of a number here", burn_backend::TensorMetadata::dtype(&other))),
        }
    }
}
