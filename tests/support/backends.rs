//! Every backend of this repository, as suites ask for them.

#![allow(clippy::missing_errors_doc, reason = "Err says why a backend is not here")]

use tributary_backend::{AttributionBackend, BackendError};
use tributary_testing::skip;

/// One test per backend and check: `on_every_backend!([check, other_check])`, each a function that is given a function
/// which opens the backend.
///
/// Backends that were left out of the build have no tests; `cargo xtask test` leaves none out. Those on GPUs are ignored
/// unless they are asked for, as `cargo xtask test --gpu` does.
#[macro_export]
macro_rules! on_every_backend {
    ([$($check:ident),+ $(,)?]) => {
        $crate::on_every_backend! { @backends [] [ndarray_f32 ndarray_f64 flex_f32 flex_f64] [$($check)+] }
        #[cfg(feature = "tch")]
        $crate::on_every_backend! { @backends [] [tch_f32 tch_f64] [$($check)+] }
        #[cfg(feature = "tch")]
        $crate::on_every_backend! { @backends [#[ignore = "needs a GPU"]] [tch_gpu_f32 tch_gpu_f64] [$($check)+] }
        #[cfg(feature = "cuda")]
        $crate::on_every_backend! { @backends [#[ignore = "needs a GPU"]] [cuda_f32 cuda_f64] [$($check)+] }
    };
    (@backends $attributes:tt [$($backend:ident)+] $checks:tt) => {
        $(mod $backend { $crate::on_every_backend! { @checks $attributes $backend $checks } })+
    };
    (@checks $attributes:tt $backend:ident [$($check:ident)+]) => {
        $($crate::on_every_backend! { @check $attributes $backend $check })+
    };
    (@check [$($attribute:tt)*] $backend:ident $check:ident) => {
        #[test]
        $($attribute)*
        fn $check() {
            super::$check($crate::backends::$backend);
        }
    };
}

/// The backend; `None`, and a line on stderr, where it has not this element type on this device.
///
/// # Panics
///
/// When there is no such device: what needs one is not run without.
pub fn open_or_skip<B>(what: &str, open: impl Fn() -> Result<B, BackendError>) -> Option<B> {
    match open() {
        Ok(backend) => Some(backend),
        Err(error @ BackendError::Unsupported { .. }) => {
            skip(what, error);
            None
        }
        Err(error) => panic!("{what}: {error}"),
    }
}

macro_rules! cpu {
    ($package:ident: $f32:ident $f64:ident) => {
        #[doc = concat!("`", stringify!($package), "` in f32.")]
        pub fn $f32() -> Result<$package::F32, BackendError> {
            Ok($package::f32())
        }

        #[doc = concat!("`", stringify!($package), "` in f64.")]
        pub fn $f64() -> Result<$package::F64, BackendError> {
            Ok($package::f64())
        }
    };
}

cpu!(tributary_ndarray: ndarray_f32 ndarray_f64);
cpu!(tributary_flex: flex_f32 flex_f64);

#[cfg(feature = "tch")]
mod libtorch {
    use tributary_backend::BackendError;
    use tributary_tch::{TchBackend, open};

    /// libtorch on the CPU, in f32.
    pub fn tch_f32() -> Result<TchBackend<f32>, BackendError> {
        open("cpu")
    }

    /// libtorch on the CPU, in f64.
    pub fn tch_f64() -> Result<TchBackend<f64>, BackendError> {
        open("cpu")
    }

    /// libtorch on a GPU, in f32.
    pub fn tch_gpu_f32() -> Result<TchBackend<f32>, BackendError> {
        open("cuda")
    }

    /// libtorch on a GPU, in f64.
    pub fn tch_gpu_f64() -> Result<TchBackend<f64>, BackendError> {
        open("cuda")
    }
}

#[cfg(feature = "tch")]
pub use libtorch::{tch_f32, tch_f64, tch_gpu_f32, tch_gpu_f64};

#[cfg(feature = "cuda")]
mod cuda {
    use tributary_backend::BackendError;
    use tributary_cuda::{F32, F64, Precision, f32, f64};

    /// burn-cuda in f32, in full precision.
    pub fn cuda_f32() -> Result<F32, BackendError> {
        f32("cuda", Precision::Full)
    }

    /// burn-cuda in f64.
    pub fn cuda_f64() -> Result<F64, BackendError> {
        f64("cuda")
    }
}

#[cfg(feature = "cuda")]
pub use cuda::{cuda_f32, cuda_f64};

/// Something to do with a backend of whatever type.
pub trait Visitor {
    /// Is given a backend.
    fn visit<B: AttributionBackend>(&mut self, backend: B);
}

macro_rules! visit {
    ($visitor:ident: $($open:ident)+) => {
        $(if let Some(backend) = open_or_skip(stringify!($open), $open) {
            $visitor.visit(backend);
        })+
    };
}

/// Gives `visitor` every backend on the CPU.
pub fn visit_cpus(visitor: &mut impl Visitor) {
    visit!(visitor: ndarray_f32 ndarray_f64 flex_f32 flex_f64);
    #[cfg(feature = "tch")]
    visit!(visitor: tch_f32 tch_f64);
}

/// Gives `visitor` every backend on a GPU.
///
/// # Panics
///
/// When there is no GPU.
pub fn visit_gpus(visitor: &mut impl Visitor) {
    let _ = &visitor;
    #[cfg(feature = "tch")]
    visit!(visitor: tch_gpu_f32 tch_gpu_f64);
    #[cfg(feature = "cuda")]
    visit!(visitor: cuda_f32 cuda_f64);
}
