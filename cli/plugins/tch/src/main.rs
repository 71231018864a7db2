//! The plugin `tributary-backend-tch`.

use std::process::ExitCode;

/// As in the stock command.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    tributary_cli::plugin_main::<tributary_tch::Tch>()
}
