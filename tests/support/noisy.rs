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
/// `size` over the rounding. What only moves elements is exact, as are the weights.
///
/// A gradient is off by factors of its own for every operand: with those of the values alone it would be the exact gradient
/// of another function, one that does with a multiple of its argument what the exact one does. The gradient of a norm along
/// its argument, which vanishes but for rounding, would then vanish here too.
pub struct NoisyBackend {
    size: f64,
    rng: RefCell<Rng>,
}

impl NoisyBackend {
    /// Errors of up to `size`, drawn from `seed`.
    pub fn new(size: f64, seed: u64) -> Self {
        Self { size, rng: RefCell::new(Rng::with_seed(seed)) }
    }

    /// `x`, its elements disturbed.
    fn disturb(&self, x: &NaiveTensor) -> NaiveTensor {
        let factors = self.factors(x);
        x.scaled(&factors, factors.clone())
    }

    /// `x`, its gradient disturbed.
    fn operand(&self, x: &NaiveTensor) -> NaiveTensor {
        let factors = self.factors(x);
        x.scaled(&vec![1.0; factors.len()], factors)
    }

    fn factors(&self, x: &NaiveTensor) -> Vec<f64> {
        let mut rng = self.rng.borrow_mut();
        let elements = NaiveBackend.shape(x).iter().product();
        (0..elements).map(|_| 1.0 + self.size * (2.0 * rng.f64() - 1.0)).collect()
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
        Ok(self.disturb(&NaiveBackend.unary(operation, &self.operand(x))?))
    }

    fn binary(&self, operation: Binary, lhs: &NaiveTensor, rhs: &NaiveTensor) -> Result<NaiveTensor, BackendError> {
        Ok(self.disturb(&NaiveBackend.binary(operation, &self.operand(lhs), &self.operand(rhs))?))
    }

    fn reduce(&self, operation: Reduce, x: &NaiveTensor, axis: usize) -> Result<NaiveTensor, BackendError> {
        match operation {
            Reduce::Max => NaiveBackend.reduce(operation, x, axis),
            Reduce::Sum => NaiveBackend.reduce(operation, &self.disturb(&self.operand(x)), axis),
        }
    }

    fn matmul(&self, lhs: &NaiveTensor, rhs: &NaiveTensor) -> Result<NaiveTensor, BackendError> {
        let lhs = self.disturb(&self.operand(lhs));
        Ok(self.disturb(&NaiveBackend.matmul(&lhs, &self.operand(rhs))?))
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
