//! Where libtorch comes from: an installed PyTorch whose version fits, else the wheels of `PyPI`, which hold the same
//! libraries and need no Python to run.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::command::{output, root, run};

/// The version that tch, as pinned in Cargo.toml, is made for.
const VERSION: &str = "2.11.0";

/// What `libtorch_cpu.so` of `PyPI`'s wheel for Linux on x86-64 needs besides: it is built for CUDA. The rest of CUDA,
/// some gigabytes, is needed only where there is a GPU, and comes with `pip install torch==2.11.0`.
const NVIDIA_WHEELS: [&str; 2] = ["nvidia-cuda-runtime==13.0.96", "nvidia-cuda-cupti==13.0.85"];

/// Makes sure that libtorch is where the build looks for it, and gives that folder.
pub(crate) fn prepare() -> Result<PathBuf, String> {
    let default = root().join("target/libtorch/torch");
    // `.cargo/config.toml` sets it for this process too, to the default, unless the user has set it.
    let path = std::env::var_os("LIBTORCH").map_or_else(|| default.clone(), PathBuf::from);
    if is_usable(&path) {
        return Ok(path);
    }
    if path != default {
        return Err(format!(
            "LIBTORCH is {}, which does not hold PyTorch {VERSION} (lib/ and include/ of the package `torch`); set it \
             right, or unset it to have libtorch found or fetched",
            path.display()
        ));
    }
    let folder = root().join("target/libtorch");
    discard(&folder)?;
    fs::create_dir_all(root().join("target")).map_err(|error| format!("target: {error}"))?;
    if let Some(installed) = installed() {
        eprintln!("using the installed PyTorch {VERSION} in {}", installed.display());
        link(&installed, &folder)?;
    } else {
        fetch(&folder)?;
    }
    if is_usable(&path) { Ok(path) } else { Err(format!("{} holds no libtorch after all", path.display())) }
}

/// Whether `torch` is the package of PyTorch in the right version.
fn is_usable(torch: &Path) -> bool {
    let versions = [torch.join("build-version"), torch.join("version.py")];
    let text = versions.iter().find_map(|file| fs::read_to_string(file).ok()).unwrap_or_default();
    let library = ["libtorch_cpu.so", "libtorch_cpu.dylib"].iter().any(|name| torch.join("lib").join(name).exists());
    library && text.contains(VERSION) && torch.join("include/torch").is_dir()
}

/// `site-packages` of an installed PyTorch that fits.
fn installed() -> Option<PathBuf> {
    let script = "import importlib.util, os; print(os.path.dirname(importlib.util.find_spec('torch').origin))";
    let torch = PathBuf::from(output(Command::new("python3").args(["-c", script]))?);
    is_usable(&torch).then(|| torch.parent().map(Path::to_owned)).flatten()
}

fn fetch(folder: &Path) -> Result<(), String> {
    let partial = folder.with_extension("partial");
    discard(&partial)?;
    let mut pip = Command::new("python3");
    pip.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--root-user-action=ignore",
        "--no-deps",
        "--target",
    ])
    .arg(&partial);
    // Wheels differ by Python, the libraries in them do not.
    pip.args(["--only-binary=:all:", "--python-version", "3.12"]).arg(format!("torch=={VERSION}"));
    if cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        pip.args(NVIDIA_WHEELS);
    }
    run(&mut pip).map_err(|error| {
        format!(
            "{error}\nlibtorch could not be fetched (530 MB from PyPI). Install PyTorch {VERSION} for python3, or set \
             LIBTORCH to the folder of one, or leave the tch backend out: `cargo test --workspace` tests the others"
        )
    })?;
    fs::rename(&partial, folder).map_err(|error| format!("{}: {error}", folder.display()))
}

#[cfg(unix)]
fn link(to: &Path, at: &Path) -> Result<(), String> {
    std::os::unix::fs::symlink(to, at).map_err(|error| format!("{}: {error}", at.display()))
}

#[cfg(not(unix))]
fn link(to: &Path, at: &Path) -> Result<(), String> {
    Err(format!("set LIBTORCH to {}; {} cannot be a link here", to.join("torch").display(), at.display()))
}

/// Removes a folder of ours, or a link to one that is not.
fn discard(path: &Path) -> Result<(), String> {
    let removed = match path.symlink_metadata() {
        Err(_) => Ok(()),
        Ok(metadata) if metadata.is_symlink() => fs::remove_file(path),
        Ok(_) => fs::remove_dir_all(path),
    };
    removed.map_err(|error| format!("{}: {error}", path.display()))
}
