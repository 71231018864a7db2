//! What tests need beyond a Rust toolchain.

use std::process::{Command, Stdio};

use crate::in_ci;

/// Installs a package of Debian's where changes are tested, as root. Elsewhere nobody's machine is changed.
pub fn install(package: &str) -> bool {
    let apt = |arguments: &[&str]| {
        let status = Command::new("apt-get").args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status();
        status.is_ok_and(|status| status.success())
    };
    let is_root = || Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout.trim_ascii() == b"0");
    in_ci() && is_root() && apt(&["update"]) && apt(&["install", "-y", "-o", "APT::Install-Recommends=false", package])
}
