//! The backends that are built from this repository.

use crate::BackendEntry;
#[cfg(any(feature = "ndarray", feature = "flex"))]
use crate::{Devices, OpenOptions, Provider};
#[cfg(any(feature = "ndarray", feature = "flex"))]
use tributary_backend::BackendError;

/// All backends that the stock command knows.
pub fn built_in_backends() -> Vec<BackendEntry> {
    vec![
        #[cfg(feature = "ndarray")]
        BackendEntry::of::<NdArray>(),
        #[cfg(not(feature = "ndarray"))]
        BackendEntry::left_out("ndarray", "CPU, over burn-ndarray"),
        #[cfg(feature = "flex")]
        BackendEntry::of::<Flex>(),
        #[cfg(not(feature = "flex"))]
        BackendEntry::left_out("flex", "CPU, over burn-flex"),
    ]
}

/// A CPU backend: one device, always there.
#[cfg(any(feature = "ndarray", feature = "flex"))]
macro_rules! cpu_provider {
    ($name:ident, $package:ident, $description:literal) => {
        struct $name;

        impl Provider for $name {
            const NAME: &'static str = $package::NAME;
            const DESCRIPTION: &'static str = $description;
            type F32 = $package::F32;
            type F64 = $package::F64;

            fn devices() -> Result<Devices, String> {
                Ok(Devices { usable: vec![crate::cpu_device()], note: None })
            }

            fn f32(_options: &OpenOptions<'_>) -> Result<Self::F32, BackendError> {
                Ok($package::f32())
            }

            fn f64(_options: &OpenOptions<'_>) -> Result<Self::F64, BackendError> {
                Ok($package::f64())
            }
        }
    };
}

#[cfg(feature = "ndarray")]
cpu_provider!(NdArray, tributary_ndarray, "CPU, over burn-ndarray");
#[cfg(feature = "flex")]
cpu_provider!(Flex, tributary_flex, "CPU, over burn-flex");
