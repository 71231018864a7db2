//! A backend of one's own: here one that has another do the work and counts its matrix products.
//!
//! `cargo run --example own_backend`

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program that talks to a terminal")]

use std::sync::atomic::{AtomicUsize, Ordering};

use tributary::backend::{
    AttributionBackend, BackendError, Binary, DeviceInfo, Devices, OpenOptions, Provider, Reduce, Unary, cpu_device,
};
use tributary::{Folder, Input, Settings, attribute};

const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../data");

static PRODUCTS: AtomicUsize = AtomicUsize::new(0);

/// The thirteen methods that a backend needs; all else follows from them.
struct Counting<B>(B);

impl<B: AttributionBackend> AttributionBackend for Counting<B> {
    type Element = B::Element;
    type Tensor = B::Tensor;

    fn device(&self) -> DeviceInfo {
        DeviceInfo { backend: "counting", ..self.0.device() }
    }

    fn upload(&self, values: &[B::Element], shape: &[usize]) -> Result<B::Tensor, BackendError> {
        self.0.upload(values, shape)
    }

    fn download(&self, tensor: &B::Tensor) -> Result<Vec<B::Element>, BackendError> {
        self.0.download(tensor)
    }

    fn shape(&self, tensor: &B::Tensor) -> Vec<usize> {
        self.0.shape(tensor)
    }

    fn unary(&self, operation: Unary, x: &B::Tensor) -> Result<B::Tensor, BackendError> {
        self.0.unary(operation, x)
    }

    fn binary(&self, operation: Binary, lhs: &B::Tensor, rhs: &B::Tensor) -> Result<B::Tensor, BackendError> {
        self.0.binary(operation, lhs, rhs)
    }

    fn reduce(&self, operation: Reduce, x: &B::Tensor, axis: usize) -> Result<B::Tensor, BackendError> {
        self.0.reduce(operation, x, axis)
    }

    fn matmul(&self, lhs: &B::Tensor, rhs: &B::Tensor) -> Result<B::Tensor, BackendError> {
        PRODUCTS.fetch_add(1, Ordering::Relaxed);
        self.0.matmul(lhs, rhs)
    }

    fn reshape(&self, x: &B::Tensor, shape: &[usize]) -> Result<B::Tensor, BackendError> {
        self.0.reshape(x, shape)
    }

    fn permute(&self, x: &B::Tensor, axes: &[usize]) -> Result<B::Tensor, BackendError> {
        self.0.permute(x, axes)
    }

    fn select(&self, x: &B::Tensor, axis: usize, indices: &[usize]) -> Result<B::Tensor, BackendError> {
        self.0.select(x, axis, indices)
    }

    fn detach(&self, x: &B::Tensor) -> B::Tensor {
        self.0.detach(x)
    }

    fn grad(
        &self,
        leaves: &[B::Tensor],
        function: impl FnOnce(&[B::Tensor]) -> Result<B::Tensor, BackendError>,
    ) -> Result<Vec<B::Tensor>, BackendError> {
        self.0.grad(leaves, function)
    }
}

/// What is known of it before it is opened.
struct CountingFlex;

impl Provider for CountingFlex {
    const NAME: &'static str = "counting";
    const DESCRIPTION: &'static str = "flex, counting its products";
    type F32 = Counting<tributary_flex::F32>;
    type F64 = Counting<tributary_flex::F64>;

    fn devices() -> Result<Devices, String> {
        Ok(Devices { usable: vec![cpu_device()], note: None })
    }

    fn f32(_: &OpenOptions<'_>) -> Result<Self::F32, BackendError> {
        Ok(Counting(tributary_flex::f32()))
    }

    fn f64(_: &OpenOptions<'_>) -> Result<Self::F64, BackendError> {
        Ok(Counting(tributary_flex::f64()))
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let input = Input::ci_sets(format!("{DATA}/walked.ci_sets.json"));
    let settings = Settings::new(format!("{DATA}/gpt2s-2L"), input);
    let out = tempfile::tempdir()?;
    let manifest = attribute::<CountingFlex>(&settings, Folder::new(&out), &mut |_| {})?;
    let products = PRODUCTS.load(Ordering::Relaxed);
    println!("{} sets by {products} matrix products on {}", manifest.sets.len(), manifest.run.backend);
    assert!(products > 0);
    Ok(())
}
