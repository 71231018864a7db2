//! The thirteen operations over burn.

use std::marker::PhantomData;

use burn_autodiff::Autodiff;
use burn_backend::backend::{AutodiffBackend, Backend};
use burn_backend::ops::FloatTensorOps;
use burn_backend::{Shape, Slice, TensorData};
use tributary_backend::{
    AttributionBackend, BackendError, Binary, Capabilities, DeviceInfo, Element, Reduce, Unary, shape,
};

use crate::kernels::{BurnKernels, Kernels};
use crate::matmul::{take_failure, tracked_matmul};
use crate::tensor::{BurnTensor, TrackedTensor};

/// The burn backend `B` computing in `E`, with the kernels of `K`.
#[derive(Clone, Debug)]
pub struct BurnBackend<B: Backend, E, K = BurnKernels> {
    device: B::Device,
    info: DeviceInfo,
    kernels: K,
    element: PhantomData<E>,
}

/// Calls the burn operation on the plain or on the autodiff backend, as the operand is.
macro_rules! call {
    ($x:expr, $operation:ident $(, $argument:expr)*) => {
        match $x {
            BurnTensor::Plain(x) => BurnTensor::Plain(B::$operation(x.clone() $(, $argument)*)),
            BurnTensor::Tracked(x) => BurnTensor::Tracked(Autodiff::<B>::$operation(x.clone() $(, $argument)*)),
        }
    };
}

/// The same for two operands: tracked as soon as one of them is.
macro_rules! call2 {
    ($lhs:expr, $rhs:expr, $operation:ident) => {
        match ($lhs, $rhs) {
            (BurnTensor::Plain(lhs), BurnTensor::Plain(rhs)) => {
                BurnTensor::Plain(B::$operation(lhs.clone(), rhs.clone()))
            }
            (lhs, rhs) => BurnTensor::Tracked(Autodiff::<B>::$operation(lhs.lift(), rhs.lift())),
        }
    };
}

impl<B: Backend, E: Element + burn_backend::Element> BurnBackend<B, E> {
    /// The backend called `backend`, on burn's `device`, which users call `name`.
    pub fn new(device: B::Device, backend: &'static str, name: &str, capabilities: Capabilities) -> Self {
        Self::with_kernels(device, backend, name, capabilities, BurnKernels)
    }
}

impl<B: Backend, E: Element + burn_backend::Element, K: Kernels<B>> BurnBackend<B, E, K> {
    /// The same with kernels of the caller's.
    pub fn with_kernels(
        device: B::Device,
        backend: &'static str,
        name: &str,
        capabilities: Capabilities,
        kernels: K,
    ) -> Self {
        let info = DeviceInfo { backend, device: name.to_owned(), dtype: E::DTYPE, capabilities };
        Self { device, info, kernels, element: PhantomData }
    }

    fn fail(&self, operation: &'static str, message: &impl ToString) -> BackendError {
        BackendError::Device { operation, device: self.info.device.clone(), message: message.to_string() }
    }

    fn product(&self, lhs: &BurnTensor<B>, rhs: &BurnTensor<B>) -> Result<BurnTensor<B>, BackendError> {
        let product = match (lhs, rhs) {
            (BurnTensor::Plain(lhs), BurnTensor::Plain(rhs)) => {
                self.kernels.matmul(lhs.clone(), rhs.clone()).map(BurnTensor::Plain)
            }
            (lhs, rhs) => tracked_matmul(&self.kernels, lhs.lift(), rhs.lift()).map(BurnTensor::Tracked),
        };
        product.map_err(|message| self.fail("matmul", &message))
    }

    /// `x` with axes of length 1 put in front up to `rank`; burn broadcasts only between equal ranks.
    fn pad_rank(x: &BurnTensor<B>, rank: usize) -> BurnTensor<B> {
        let shape = x.shape();
        if shape.len() == rank {
            return x.clone();
        }
        let padded: Vec<usize> = std::iter::repeat_n(1, rank - shape.len()).chain(shape).collect();
        call!(x, float_reshape, Shape::from(padded))
    }
}

/// Shapes of two operands of one rank, in which neighbouring axes along which both are as long, or along which the same one
/// repeats, are one axis. Libraries are fast where a row or a number repeats, and slow where one of many axes does.
fn merged(lhs: &[usize], rhs: &[usize]) -> [Vec<usize>; 2] {
    let rank = lhs.len().max(rhs.len());
    let length = |shape: &[usize], axis: usize| (axis + shape.len()).checked_sub(rank).map_or(1, |at| shape[at]);
    let mut merged: [Vec<usize>; 2] = [vec![1], vec![1]];
    let mut repeats = None;
    for axis in 0..rank {
        let (l, r) = (length(lhs, axis), length(rhs, axis));
        if l == 1 && r == 1 {
            continue;
        }
        if repeats.replace((l == 1, r == 1)).is_none_or(|last| last == (l == 1, r == 1)) {
            for (shape, length) in merged.iter_mut().zip([l, r]) {
                *shape.last_mut().unwrap_or_else(|| unreachable!("it starts with an axis")) *= length;
            }
        } else {
            merged[0].push(l);
            merged[1].push(r);
        }
    }
    merged
}

/// The leading axes of `[.., k]` folded into one, `[rows, k]`.
fn fold_rows(shape: &[usize]) -> [usize; 2] {
    let k = shape[shape.len() - 1];
    [shape::elements(shape) / k, k]
}

impl<B: Backend, E: Element + burn_backend::Element, K: Kernels<B>> AttributionBackend for BurnBackend<B, E, K> {
    type Element = E;
    type Tensor = BurnTensor<B>;

    fn device(&self) -> DeviceInfo {
        self.info.clone()
    }

    fn upload(&self, values: &[E], shape: &[usize]) -> Result<BurnTensor<B>, BackendError> {
        self.upload_vec(values.to_vec(), shape)
    }

    fn upload_vec(&self, values: Vec<E>, shape: &[usize]) -> Result<BurnTensor<B>, BackendError> {
        shape::upload(values.len(), shape)?;
        // Some devices have no copy of nothing.
        if values.is_empty() {
            return Ok(BurnTensor::Plain(B::float_empty(Shape::from(shape), &self.device, E::dtype().into())));
        }
        let data = TensorData::new(values, shape.to_vec());
        let tensor = self.kernels.guard(|| B::float_from_data(data, &self.device));
        tensor.map(BurnTensor::Plain).map_err(|message| self.fail("upload", &message))
    }

    fn download(&self, tensor: &BurnTensor<B>) -> Result<Vec<E>, BackendError> {
        self.download_vec(tensor.clone())
    }

    fn download_vec(&self, tensor: BurnTensor<B>) -> Result<Vec<E>, BackendError> {
        if shape::elements(&tensor.shape()) == 0 {
            return Ok(Vec::new());
        }
        let data = self.kernels.read(tensor.into_primitive()).map_err(|message| self.fail("download", &message))?;
        if let Some(message) = self.kernels.take_failure() {
            return Err(self.fail("download", &message));
        }
        data.into_vec().map_err(|error| self.fail("download", &format!("{error:?}")))
    }

    fn shape(&self, tensor: &BurnTensor<B>) -> Vec<usize> {
        tensor.shape()
    }

    fn unary(&self, operation: Unary, x: &BurnTensor<B>) -> Result<BurnTensor<B>, BackendError> {
        if shape::elements(&x.shape()) == 0 {
            return Ok(x.clone());
        }
        Ok(match (operation, x) {
            (Unary::Tanh, BurnTensor::Plain(x)) => BurnTensor::Plain(self.kernels.tanh(x.clone())),
            (Unary::Neg, x) => call!(x, float_neg),
            (Unary::Exp, x) => call!(x, float_exp),
            (Unary::Tanh, x) => call!(x, float_tanh),
            (Unary::Erf, x) => call!(x, float_erf),
            (Unary::Sqrt, x) => call!(x, float_sqrt),
        })
    }

    fn binary(
        &self,
        operation: Binary,
        lhs: &BurnTensor<B>,
        rhs: &BurnTensor<B>,
    ) -> Result<BurnTensor<B>, BackendError> {
        let shape = shape::broadcast(operation.name(), &lhs.shape(), &rhs.shape())?;
        if shape::elements(&shape) == 0 {
            return self.zeros(&shape);
        }
        let call = |lhs: &BurnTensor<B>, rhs: &BurnTensor<B>| match operation {
            Binary::Add => call2!(lhs, rhs, float_add),
            Binary::Sub => call2!(lhs, rhs, float_sub),
            Binary::Mul => call2!(lhs, rhs, float_mul),
            Binary::Div => call2!(lhs, rhs, float_div),
        };
        if lhs.shape() == rhs.shape() {
            return Ok(call(lhs, rhs));
        }
        let [lhs_shape, rhs_shape] = merged(&lhs.shape(), &rhs.shape());
        self.reshape(&call(&self.reshape(lhs, &lhs_shape)?, &self.reshape(rhs, &rhs_shape)?), &shape)
    }

    fn add_scalar(&self, x: &BurnTensor<B>, value: f64) -> Result<BurnTensor<B>, BackendError> {
        if shape::elements(&x.shape()) == 0 {
            return Ok(x.clone());
        }
        Ok(call!(x, float_add_scalar, value.into()))
    }

    fn scale(&self, x: &BurnTensor<B>, factor: f64) -> Result<BurnTensor<B>, BackendError> {
        if shape::elements(&x.shape()) == 0 {
            return Ok(x.clone());
        }
        Ok(call!(x, float_mul_scalar, factor.into()))
    }

    fn reduce(&self, operation: Reduce, x: &BurnTensor<B>, axis: usize) -> Result<BurnTensor<B>, BackendError> {
        let reduced = match operation {
            Reduce::Sum => shape::reduce("sum", &x.shape(), axis)?,
            Reduce::Max => shape::max(&x.shape(), axis)?,
        };
        if shape::elements(&x.shape()) == 0 {
            return self.zeros(&reduced);
        }
        Ok(match operation {
            Reduce::Sum => call!(x, float_sum_dim, axis),
            // No gradient of a maximum is ever asked for.
            Reduce::Max => BurnTensor::Plain(self.kernels.max(x.primitive(), axis)),
        })
    }

    fn matmul(&self, lhs: &BurnTensor<B>, rhs: &BurnTensor<B>) -> Result<BurnTensor<B>, BackendError> {
        let (lhs_shape, rhs_shape) = (lhs.shape(), rhs.shape());
        let shape = shape::matmul(&lhs_shape, &rhs_shape)?;
        if shape::elements(&shape) == 0 || shape::elements(&lhs_shape) == 0 {
            return self.zeros(&shape);
        }
        if rhs_shape.len() == 2 && lhs_shape.len() > 2 {
            // One matrix for every batch item, such as a weight: one large product instead of many small ones.
            let rows = self.reshape(lhs, &fold_rows(&lhs_shape))?;
            return self.reshape(&self.product(&rows, rhs)?, &shape);
        }
        self.product(&Self::pad_rank(lhs, shape.len()), &Self::pad_rank(rhs, shape.len()))
    }

    fn reshape(&self, x: &BurnTensor<B>, shape: &[usize]) -> Result<BurnTensor<B>, BackendError> {
        let shape = shape::reshape(&x.shape(), shape)?;
        if shape::elements(&shape) == 0 {
            return self.zeros(&shape);
        }
        Ok(call!(x, float_reshape, Shape::from(shape)))
    }

    fn permute(&self, x: &BurnTensor<B>, axes: &[usize]) -> Result<BurnTensor<B>, BackendError> {
        let shape = shape::permute(&x.shape(), axes)?;
        if shape::elements(&shape) == 0 {
            return self.zeros(&shape);
        }
        Ok(call!(x, float_permute, axes))
    }

    fn select(&self, x: &BurnTensor<B>, axis: usize, indices: &[usize]) -> Result<BurnTensor<B>, BackendError> {
        let shape = shape::select(&x.shape(), axis, indices)?;
        if shape::elements(&shape) == 0 {
            return self.zeros(&shape);
        }
        let indices: Vec<i64> = indices.iter().map(|&index| index as i64).collect();
        let indices = TensorData::new(indices, [shape[axis]]);
        let indices = self.kernels.guard(|| B::int_from_data(indices, &self.device));
        let indices = indices.map_err(|message| self.fail("select", &message))?;
        Ok(call!(x, float_select, axis, indices))
    }

    fn narrow(
        &self,
        x: &BurnTensor<B>,
        axis: usize,
        start: usize,
        length: usize,
    ) -> Result<BurnTensor<B>, BackendError> {
        let shape = shape::narrow(&x.shape(), axis, start, length)?;
        if shape::elements(&shape) == 0 {
            return self.zeros(&shape);
        }
        let mut slices: Vec<Slice> = shape.iter().map(|&length| Slice::from(0..length)).collect();
        slices[axis] = Slice::from(start..start + length);
        Ok(call!(x, float_slice, &slices))
    }

    fn detach(&self, x: &BurnTensor<B>) -> BurnTensor<B> {
        BurnTensor::Plain(x.primitive())
    }

    fn grad(
        &self,
        leaves: &[BurnTensor<B>],
        function: impl FnOnce(&[BurnTensor<B>]) -> Result<BurnTensor<B>, BackendError>,
    ) -> Result<Vec<BurnTensor<B>>, BackendError> {
        let tracked: Vec<TrackedTensor<B>> = leaves
            .iter()
            .map(|leaf| Autodiff::<B>::float_set_require_grad(Autodiff::<B>::from_inner(leaf.primitive()), true))
            .collect();
        let arguments: Vec<BurnTensor<B>> = tracked.iter().cloned().map(BurnTensor::Tracked).collect();
        let result = function(&arguments)?;
        shape::scalar(&result.shape())?;
        let mut gradients = match result {
            BurnTensor::Tracked(result) => {
                let gradients = self.kernels.guard(|| Autodiff::<B>::backward(result));
                Some(gradients.map_err(|message| self.fail("grad", &message))?)
            }
            BurnTensor::Plain(_) => None,
        };
        if let Some(message) = take_failure() {
            return Err(self.fail("grad", &message));
        }
        leaves
            .iter()
            .zip(&tracked)
            .map(|(leaf, tracked)| {
                match gradients.as_mut().and_then(|gradients| Autodiff::<B>::grad_remove(tracked, gradients)) {
                    Some(gradient) => Ok(BurnTensor::Plain(gradient)),
                    None => self.zeros(&leaf.shape()),
                }
            })
            .collect()
    }
}
