//! A backend that does not exist.

use std::convert::Infallible;
use std::marker::PhantomData;

use crate::{AttributionBackend, BackendError, Binary, DeviceInfo, Element, Reduce, Unary};

/// Stands for a backend in an element type that a library does not have: there are no values of it.
#[derive(Clone, Copy, Debug)]
pub struct Absent<E> {
    never: Infallible,
    element: PhantomData<E>,
}

impl<E: Element> AttributionBackend for Absent<E> {
    type Element = E;
    type Tensor = Infallible;

    fn device(&self) -> DeviceInfo {
        match self.never {}
    }

    fn upload(&self, _: &[E], _: &[usize]) -> Result<Infallible, BackendError> {
        match self.never {}
    }

    fn download(&self, tensor: &Infallible) -> Result<Vec<E>, BackendError> {
        match *tensor {}
    }

    fn shape(&self, tensor: &Infallible) -> Vec<usize> {
        match *tensor {}
    }

    fn unary(&self, _: Unary, x: &Infallible) -> Result<Infallible, BackendError> {
        match *x {}
    }

    fn binary(&self, _: Binary, lhs: &Infallible, _: &Infallible) -> Result<Infallible, BackendError> {
        match *lhs {}
    }

    fn reduce(&self, _: Reduce, x: &Infallible, _: usize) -> Result<Infallible, BackendError> {
        match *x {}
    }

    fn matmul(&self, lhs: &Infallible, _: &Infallible) -> Result<Infallible, BackendError> {
        match *lhs {}
    }

    fn reshape(&self, x: &Infallible, _: &[usize]) -> Result<Infallible, BackendError> {
        match *x {}
    }

    fn permute(&self, x: &Infallible, _: &[usize]) -> Result<Infallible, BackendError> {
        match *x {}
    }

    fn select(&self, x: &Infallible, _: usize, _: &[usize]) -> Result<Infallible, BackendError> {
        match *x {}
    }

    fn detach(&self, x: &Infallible) -> Infallible {
        match *x {}
    }

    fn grad(
        &self,
        _: &[Infallible],
        _: impl FnOnce(&[Infallible]) -> Result<Infallible, BackendError>,
    ) -> Result<Vec<Infallible>, BackendError> {
        match self.never {}
    }
}
