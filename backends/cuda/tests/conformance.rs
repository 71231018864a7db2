//! burn-cuda against the conformance suite, on a GPU.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use tributary_backend::BackendError;
use tributary_cuda::{F64, Precision, f32, f64};
use tributary_testing::skip;

/// `None` where burn-cuda has no f64.
fn open_f64() -> Option<F64> {
    match f64("cuda") {
        Ok(backend) => Some(backend),
        Err(error @ BackendError::Unsupported { .. }) => {
            skip("cuda in f64", error);
            None
        }
        Err(error) => panic!("{error}"),
    }
}

mod cuda_f32 {
    tributary_backend::conformance!(ignore = "needs a GPU", crate::f32("cuda", crate::Precision::Full).unwrap());
}

mod cuda_f64 {
    tributary_backend::conformance!(
        ignore = "needs a GPU",
        match crate::open_f64() {
            Some(backend) => backend,
            None => return,
        }
    );
}
