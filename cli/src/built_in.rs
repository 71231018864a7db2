//! The backends of the stock command.

#[cfg(feature = "flex")]
use tributary_flex::Flex;
#[cfg(feature = "ndarray")]
use tributary_ndarray::NdArray;

/// All backends that the stock command knows, those that it was built without included.
pub type BuiltIn = (NdArray, Flex);

/// A backend that exists, but that this executable was built without.
#[cfg(not(all(feature = "ndarray", feature = "flex")))]
macro_rules! left_out {
    ($provider:ident, $name:literal, $description:literal) => {
        /// Left out of the build.
        #[derive(Clone, Copy, Debug)]
        pub struct $provider;

        impl tributary_backend::Provider for $provider {
            const NAME: &'static str = $name;
            const DESCRIPTION: &'static str = $description;
            type F32 = tributary_backend::Absent<f32>;
            type F64 = tributary_backend::Absent<f64>;

            fn devices() -> Result<tributary_backend::Devices, String> {
                Err(concat!("this tributary was built without it (cargo feature ", $name, ")").to_owned())
            }

            fn f32(_: &tributary_backend::OpenOptions<'_>) -> Result<Self::F32, tributary_backend::BackendError> {
                Err(left_out($name))
            }

            fn f64(_: &tributary_backend::OpenOptions<'_>) -> Result<Self::F64, tributary_backend::BackendError> {
                Err(left_out($name))
            }
        }
    };
}

#[cfg(not(all(feature = "ndarray", feature = "flex")))]
fn left_out(backend: &'static str) -> tributary_backend::BackendError {
    tributary_backend::BackendError::Unsupported {
        backend,
        capability: "compute: it was left out of the build".to_owned(),
    }
}

#[cfg(not(feature = "ndarray"))]
left_out!(NdArray, "ndarray", "CPU, over burn-ndarray");
#[cfg(not(feature = "flex"))]
left_out!(Flex, "flex", "CPU, over burn-flex");
