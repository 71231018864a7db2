//! The `tributary` command.

use std::process::ExitCode;

/// Tensors come and go by the thousand, and most allocators hand large ones back to the system each time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    tributary_cli::main::<tributary_cli::BuiltIn>()
}
