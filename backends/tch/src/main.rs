//! The plugin `tributary-backend-tch`.

use std::process::ExitCode;

fn main() -> ExitCode {
    tributary::plugin_main::<tributary_tch::Tch>()
}
