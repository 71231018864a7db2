//! This backend against the conformance suite, in both element types.

mod ndarray_f32 {
    tributary_backend::conformance!(tributary_ndarray::f32());
}

mod ndarray_f64 {
    tributary_backend::conformance!(tributary_ndarray::f64());
}
