//! This backend against the conformance suite, in both element types.

mod flex_f32 {
    tributary_backend::conformance!(tributary_flex::f32());
}

mod flex_f64 {
    tributary_backend::conformance!(tributary_flex::f64());
}
