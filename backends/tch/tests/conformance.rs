//! libtorch against the conformance suite, in both element types, on the CPU and on a GPU.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use tributary_tch::open;

mod tch_f32 {
    tributary_backend::conformance!(crate::open::<f32>("cpu").unwrap());
}

mod tch_f64 {
    tributary_backend::conformance!(crate::open::<f64>("cpu").unwrap());
}

mod tch_gpu_f32 {
    tributary_backend::conformance!(ignore = "needs a GPU", crate::open::<f32>("cuda").unwrap());
}

mod tch_gpu_f64 {
    tributary_backend::conformance!(ignore = "needs a GPU", crate::open::<f64>("cuda").unwrap());
}
