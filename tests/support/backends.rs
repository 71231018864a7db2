//! Every backend of this repository, as suites ask for them.

#![allow(clippy::missing_errors_doc, reason = "Err says why a device is not here")]

use std::collections::BTreeSet;
use std::sync::Mutex;

use tributary_backend::conformance::say_skipped;

/// One test per backend and check: `on_every_backend!([check, other_check])`, each a function that is given a function
/// which opens the backend, `Err` saying why it is not here.
///
/// Backends that were left out of the build have no tests; `cargo xtask test` leaves none out.
#[macro_export]
macro_rules! on_every_backend {
    ([$($check:ident),+ $(,)?]) => {
        $crate::on_every_backend! { @backends [ndarray_f32 ndarray_f64 flex_f32 flex_f64] [$($check)+] }
        #[cfg(feature = "tch")]
        $crate::on_every_backend! { @backends [tch_f32 tch_f64 tch_gpu_f32 tch_gpu_f64] [$($check)+] }
        #[cfg(feature = "cuda")]
        $crate::on_every_backend! { @backends [cuda_f32 cuda_f64] [$($check)+] }
    };
    (@backends [$($backend:ident)+] $checks:tt) => {
        $(mod $backend { $crate::on_every_backend! { @checks $backend $checks } })+
    };
    (@checks $backend:ident [$($check:ident)+]) => {
        $(
            #[test]
            fn $check() {
                super::$check($crate::backends::$backend);
            }
        )+
    };
}

/// The backend, or else a line on stderr, once per backend, that says why it is not tested.
pub fn open_or_say<B>(what: &str, open: impl Fn() -> Result<B, String>) -> Option<B> {
    static SAID: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    match open() {
        Ok(backend) => Some(backend),
        Err(reason) => {
            if SAID.lock().is_ok_and(|mut said| said.insert(reason.clone())) {
                say_skipped(what, &reason);
            }
            None
        }
    }
}

macro_rules! cpu {
    ($package:ident: $f32:ident $f64:ident) => {
        #[doc = concat!("`", stringify!($package), "` in f32.")]
        pub fn $f32() -> Result<$package::F32, String> {
            Ok($package::f32())
        }

        #[doc = concat!("`", stringify!($package), "` in f64.")]
        pub fn $f64() -> Result<$package::F64, String> {
            Ok($package::f64())
        }
    };
}

cpu!(tributary_ndarray: ndarray_f32 ndarray_f64);
cpu!(tributary_flex: flex_f32 flex_f64);

#[cfg(feature = "tch")]
mod libtorch {
    use tributary_tch::{TchBackend, open};

    /// libtorch on the CPU, in f32.
    pub fn tch_f32() -> Result<TchBackend<f32>, String> {
        open("cpu").map_err(|error| error.to_string())
    }

    /// libtorch on the CPU, in f64.
    pub fn tch_f64() -> Result<TchBackend<f64>, String> {
        open("cpu").map_err(|error| error.to_string())
    }

    /// libtorch on a GPU, in f32.
    pub fn tch_gpu_f32() -> Result<TchBackend<f32>, String> {
        open("cuda").map_err(|error| error.to_string())
    }

    /// libtorch on a GPU, in f64.
    pub fn tch_gpu_f64() -> Result<TchBackend<f64>, String> {
        open("cuda").map_err(|error| error.to_string())
    }
}

#[cfg(feature = "tch")]
pub use libtorch::{tch_f32, tch_f64, tch_gpu_f32, tch_gpu_f64};

#[cfg(feature = "cuda")]
mod cuda {
    use tributary_cuda::{F32, F64, Precision, f32, f64};

    /// burn-cuda in f32, in full precision.
    pub fn cuda_f32() -> Result<F32, String> {
        f32("cuda", Precision::Full).map_err(|error| error.to_string())
    }

    /// burn-cuda in f64.
    pub fn cuda_f64() -> Result<F64, String> {
        f64("cuda").map_err(|error| error.to_string())
    }
}

#[cfg(feature = "cuda")]
pub use cuda::{cuda_f32, cuda_f64};

/// Something to do with a backend of whatever type.
pub trait Visitor {
    /// Is given a backend.
    fn visit<B: tributary_backend::AttributionBackend>(&mut self, backend: B);
}

/// Gives `visitor` every backend that can be opened here; the others are named on stderr.
pub fn visit_all(visitor: &mut impl Visitor) {
    macro_rules! visit {
        ($($open:ident)+) => {
            $(if let Some(backend) = open_or_say(stringify!($open), $open) {
                visitor.visit(backend);
            })+
        };
    }
    visit!(ndarray_f32 ndarray_f64 flex_f32 flex_f64);
    #[cfg(feature = "tch")]
    visit!(tch_f32 tch_f64 tch_gpu_f32 tch_gpu_f64);
    #[cfg(feature = "cuda")]
    visit!(cuda_f32 cuda_f64);
}
