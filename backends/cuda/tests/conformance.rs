//! burn-cuda against the conformance suite, where there is a GPU.

use tributary_cuda::{F32, F64, Precision, f32, f64};

fn said(error: &tributary_backend::BackendError) {
    static SAID: std::sync::Once = std::sync::Once::new();
    SAID.call_once(|| tributary_backend::conformance::say_skipped("cuda", error));
}

fn open_f32() -> Option<F32> {
    f32("cuda", Precision::Full).map_err(|error| said(&error)).ok()
}

fn open_f64() -> Option<F64> {
    f64("cuda").map_err(|error| said(&error)).ok()
}

mod cuda_f32 {
    tributary_backend::conformance!(match crate::open_f32() {
        Some(backend) => backend,
        None => return,
    });
}

mod cuda_f64 {
    tributary_backend::conformance!(match crate::open_f64() {
        Some(backend) => backend,
        None => return,
    });
}
