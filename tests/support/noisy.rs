//! A backend that rounds more, at random: what a computation does with its roundings shows in how far its results spread.

use std::cell::RefCell;

use fastrand::Rng;
use tributary_backend::{AttributionBackend, BackendError, Binary, Capabilities, DeviceInfo, Reduce, Unary};

use crate::naive::{NaiveBackend, NaiveTensor};

/// The naive float64 backend, where every element of every result, and of what a sum adds up, is off by up to `size` of
/// itself, each in its own way.
///
/// Whatever the order of additions, the rounding of a sum of products is as if each of its terms had been off by a few
/// roundings; here they are, by much more than float64's. So what cancels leaves here what it leaves after rounding, times
/// `size` over the rounding. Gradients pass through the same factors backwards. What only moves elements is exact, as are
/// the weights.
pub struct NoisyBackend {
    size: f64,
    rng: RefCell<Rng>,
}

impl NoisyBackend {
    /// Errors of up to `size`, drawn from `seed`.
    pub fn new(size: f64, seed: u64) -> Self {
        Self { size, rng: RefCell::new(Rng::with_seed(seed)) }
    }

    fn disturb(&self, exact: &NaiveTensor) -> Result<NaiveTensor, BackendError> {
        let shape = NaiveBackend.shape(exact);
        let mut rng = self.rng.borrow_mut();
        let factors: Vec<f64> =
            (0..shape.iter().product()).map(|_| 1.0 + self.size * (2.0 * rng.f64() - 1.0)).collect();
        NaiveBackend.mul(exact, &NaiveBackend.upload(&factors, &shape)?)
    }
}

impl AttributionBackend for NoisyBackend {
    type Element = f64;
    type Tensor = NaiveTensor;

    fn device(&self) -> DeviceInfo {
        DeviceInfo { backend: "noisy", capabilities: Capabilities { deterministic: false }, ..NaiveBackend.device() }
    }

    fn upload(&self, values: &[f64], shape: &[usize]) -> Result<NaiveTensor, BackendError> {
        NaiveBackend.upload(values, shape)
    }

    fn download(&self, tensor: &NaiveTensor) -> Result<Vec<f64>, BackendError> {
        NaiveBackend.download(tensor)
    }

    fn shape(&self, tensor: &NaiveTensor) -> Vec<usize> {
        NaiveBackend.shape(tensor)
    }

    fn unary(&self, operation: Unary, x: &NaiveTensor) -> Result<NaiveTensor, BackendError> {
        self.disturb(&NaiveBackend.unary(operation, x)?)
    }

    fn binary(&self, operation: Binary, lhs: &NaiveTensor, rhs: &NaiveTensor) -> Result<NaiveTensor, BackendError> {
        self.disturb(&NaiveBackend.binary(operation, lhs, rhs)?)
    }

    fn reduce(&self, operation: Reduce, x: &NaiveTensor, axis: usize) -> Result<NaiveTensor, BackendError> {
        match operation {
            Reduce::Max => NaiveBackend.reduce(operation, x, axis),
            Reduce::Sum => NaiveBackend.reduce(operation, &self.disturb(x)?, axis),
        }
    }

    fn matmul(&self, lhs: &NaiveTensor, rhs: &NaiveTensor) -> Result<NaiveTensor, BackendError> {
        self.disturb(&NaiveBackend.matmul(&self.disturb(lhs)?, rhs)?)
    }

    fn reshape(&self, x: &NaiveTensor, shape: &[usize]) -> Result<NaiveTensor, BackendError> {
        NaiveBackend.reshape(x, shape)
    }

    fn permute(&self, x: &NaiveTensor, axes: &[usize]) -> Result<NaiveTensor, BackendError> {
        NaiveBackend.permute(x, axes)
    }

    fn select(&self, x: &NaiveTensor, axis: usize, indices: &[usize]) -> Result<NaiveTensor, BackendError> {
        NaiveBackend.select(x, axis, indices)
    }

    fn detach(&self, x: &NaiveTensor) -> NaiveTensor {
        NaiveBackend.detach(x)
    }

    fn grad(
        &self,
        leaves: &[NaiveTensor],
        function: impl FnOnce(&[NaiveTensor]) -> Result<NaiveTensor, BackendError>,
    ) -> Result<Vec<NaiveTensor>, BackendError> {
        NaiveBackend.grad(leaves, function)
    }
}
