//! The thirteen operations over libtorch.

use std::marker::PhantomData;

use tch::{TchError, Tensor};
use tributary_backend::{AttributionBackend, BackendError, Binary, DeviceInfo, Element, Reduce, Unary, shape};

use crate::TchTensor;

/// libtorch on one device, computing in `E`.
///
/// An operation is recorded for differentiation only where an operand depends on a leaf of a running
/// [`grad`](AttributionBackend::grad); that is libtorch's rule, since no other tensor here ever requires gradients.
#[derive(Clone, Debug)]
pub struct TchBackend<E> {
    device: tch::Device,
    info: DeviceInfo,
    element: PhantomData<E>,
}

impl<E: Element + tch::kind::Element> TchBackend<E> {
    pub(crate) fn new(device: tch::Device, info: DeviceInfo) -> Self {
        Self { device, info, element: PhantomData }
    }

    fn wrap(&self, operation: &'static str, result: Result<Tensor, TchError>) -> Result<TchTensor, BackendError> {
        result.map(TchTensor).map_err(|error| self.fail(operation, &error))
    }

    fn fail(&self, operation: &'static str, error: &TchError) -> BackendError {
        let message = match error {
            TchError::Torch(message) => message.lines().next().unwrap_or_default().to_owned(),
            other => other.to_string(),
        };
        BackendError::Device { operation, device: self.info.device.clone(), message }
    }
}

fn sizes(shape: &[usize]) -> Vec<i64> {
    shape.iter().map(|&length| length as i64).collect()
}

impl<E: Element + tch::kind::Element> AttributionBackend for TchBackend<E> {
    type Element = E;
    type Tensor = TchTensor;

    fn device(&self) -> DeviceInfo {
        self.info.clone()
    }

    fn upload(&self, values: &[E], shape: &[usize]) -> Result<TchTensor, BackendError> {
        shape::upload(values.len(), shape)?;
        let tensor = Tensor::f_from_slice(values).and_then(|tensor| tensor.f_reshape(sizes(shape)));
        self.wrap("upload", tensor.and_then(|tensor| tensor.f_to_device(self.device)))
    }

    fn download(&self, tensor: &TchTensor) -> Result<Vec<E>, BackendError> {
        let mut values = vec![E::default(); shape::elements(&tensor.shape())];
        let on_host = tensor.0.detach().f_contiguous().and_then(|tensor| tensor.f_to_device(tch::Device::Cpu));
        let copied = on_host.and_then(|tensor| tensor.f_copy_data(&mut values, tensor.numel()));
        copied.map_err(|error| self.fail("download", &error))?;
        Ok(values)
    }

    fn shape(&self, tensor: &TchTensor) -> Vec<usize> {
        tensor.shape()
    }

    fn unary(&self, operation: Unary, TchTensor(x): &TchTensor) -> Result<TchTensor, BackendError> {
        let result = match operation {
            Unary::Neg => x.f_neg(),
            Unary::Exp => x.f_exp(),
            Unary::Tanh => x.f_tanh(),
            Unary::Erf => x.f_erf(),
            Unary::Sqrt => x.f_sqrt(),
        };
        self.wrap(operation.name(), result)
    }

    fn binary(&self, operation: Binary, lhs: &TchTensor, rhs: &TchTensor) -> Result<TchTensor, BackendError> {
        shape::broadcast(operation.name(), &lhs.shape(), &rhs.shape())?;
        let (lhs, rhs) = (&lhs.0, &rhs.0);
        let result = match operation {
            Binary::Add => lhs.f_add(rhs),
            Binary::Sub => lhs.f_sub(rhs),
            Binary::Mul => lhs.f_mul(rhs),
            Binary::Div => lhs.f_div(rhs),
        };
        self.wrap(operation.name(), result)
    }

    fn add_scalar(&self, TchTensor(x): &TchTensor, value: f64) -> Result<TchTensor, BackendError> {
        self.wrap("add", x.f_add_scalar(value))
    }

    fn scale(&self, TchTensor(x): &TchTensor, factor: f64) -> Result<TchTensor, BackendError> {
        self.wrap("mul", x.f_mul_scalar(factor))
    }

    fn reduce(&self, operation: Reduce, x: &TchTensor, axis: usize) -> Result<TchTensor, BackendError> {
        let along = [axis as i64];
        let result = match operation {
            Reduce::Sum => {
                shape::reduce("sum", &x.shape(), axis)?;
                x.0.f_sum_dim_intlist(along.as_slice(), true, E::KIND)
            }
            Reduce::Max => {
                shape::max(&x.shape(), axis)?;
                x.0.f_amax(along.as_slice(), true)
            }
        };
        self.wrap(operation.name(), result)
    }

    fn matmul(&self, lhs: &TchTensor, rhs: &TchTensor) -> Result<TchTensor, BackendError> {
        shape::matmul(&lhs.shape(), &rhs.shape())?;
        self.wrap("matmul", lhs.0.f_matmul(&rhs.0))
    }

    fn reshape(&self, x: &TchTensor, shape: &[usize]) -> Result<TchTensor, BackendError> {
        let shape = shape::reshape(&x.shape(), shape)?;
        self.wrap("reshape", x.0.f_reshape(sizes(&shape)))
    }

    fn permute(&self, x: &TchTensor, axes: &[usize]) -> Result<TchTensor, BackendError> {
        shape::permute(&x.shape(), axes)?;
        self.wrap("permute", x.0.f_permute(sizes(axes)))
    }

    fn select(&self, x: &TchTensor, axis: usize, indices: &[usize]) -> Result<TchTensor, BackendError> {
        shape::select(&x.shape(), axis, indices)?;
        let indices = Tensor::f_from_slice(&sizes(indices)).and_then(|indices| indices.f_to_device(self.device));
        self.wrap("select", indices.and_then(|indices| x.0.f_index_select(axis as i64, &indices)))
    }

    fn narrow(&self, x: &TchTensor, axis: usize, start: usize, length: usize) -> Result<TchTensor, BackendError> {
        shape::narrow(&x.shape(), axis, start, length)?;
        self.wrap("narrow", x.0.f_narrow(axis as i64, start as i64, length as i64))
    }

    fn detach(&self, x: &TchTensor) -> TchTensor {
        TchTensor(x.0.detach())
    }

    fn grad(
        &self,
        leaves: &[TchTensor],
        function: impl FnOnce(&[TchTensor]) -> Result<TchTensor, BackendError>,
    ) -> Result<Vec<TchTensor>, BackendError> {
        let tracked: Vec<TchTensor> =
            leaves.iter().map(|leaf| TchTensor(leaf.0.detach().set_requires_grad(true))).collect();
        let result = function(&tracked)?;
        shape::scalar(&result.shape())?;
        if leaves.is_empty() || !result.0.requires_grad() {
            return leaves.iter().map(|leaf| self.zeros(&leaf.shape())).collect();
        }
        let inputs: Vec<&Tensor> = tracked.iter().map(|leaf| &leaf.0).collect();
        let gradients = Tensor::f_run_backward(&[&result.0], &inputs, false, false);
        let gradients = gradients.map_err(|error| self.fail("grad", &error))?;
        leaves
            .iter()
            .zip(gradients)
            .map(|(leaf, gradient)| {
                // Undefined where the result does not depend on the leaf.
                if gradient.defined() { Ok(TchTensor(gradient)) } else { self.zeros(&leaf.shape()) }
            })
            .collect()
    }
}
