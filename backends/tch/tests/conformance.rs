//! libtorch against the conformance suite, in both element types, on the CPU and on a GPU where there is one.

use tributary_tch::{TchBackend, open};

fn gpu<E: tributary_backend::Element + tch::kind::Element>() -> Option<TchBackend<E>> {
    static SAID: std::sync::Once = std::sync::Once::new();
    open("cuda")
        .map_err(|error| SAID.call_once(|| tributary_backend::conformance::say_skipped("tch on a GPU", &error)))
        .ok()
}

mod tch_f32 {
    tributary_backend::conformance!(crate::open::<f32>("cpu").unwrap());
}

mod tch_f64 {
    tributary_backend::conformance!(crate::open::<f64>("cpu").unwrap());
}

mod tch_gpu_f32 {
    tributary_backend::conformance!(match crate::gpu::<f32>() {
        Some(backend) => backend,
        None => return,
    });
}

mod tch_gpu_f64 {
    tributary_backend::conformance!(match crate::gpu::<f64>() {
        Some(backend) => backend,
        None => return,
    });
}
