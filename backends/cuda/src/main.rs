//! The plugin `tributary-backend-cuda`.

use std::process::ExitCode;

fn main() -> ExitCode {
    tributary::plugin_main::<tributary_cuda::Cuda>()
}
