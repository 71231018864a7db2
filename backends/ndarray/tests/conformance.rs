//! This backend against the conformance suite, in both element types.

mod f32 {
    tributary_backend::conformance!(tributary_ndarray::f32());
}

mod f64 {
    tributary_backend::conformance!(tributary_ndarray::f64());
}
