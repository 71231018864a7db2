//! Node, npm and Chromium, where this machine has them.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::{env, fs};

use tributary_testing::in_ci;

fn runs(program: &str) -> bool {
    let status = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

/// A copy of the web part with its packages, or why there is none. Made once, outside the repository.
pub(crate) fn web() -> Result<&'static Path, String> {
    static WEB: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    WEB.get_or_init(install).as_deref().map_err(Clone::clone)
}

fn install() -> Result<PathBuf, String> {
    if !runs("node") || !runs("npm") {
        return Err("there is no node and npm (install them)".to_owned());
    }
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("web");
    let to = Path::new(env!("CARGO_TARGET_TMPDIR")).join("web");
    for folder in ["src", "test"] {
        let copy = to.join(folder);
        if copy.exists() {
            fs::remove_dir_all(&copy).unwrap();
        }
        fs::create_dir_all(&copy).unwrap();
        for file in fs::read_dir(from.join(folder)).unwrap() {
            let file = file.unwrap();
            fs::copy(file.path(), copy.join(file.file_name())).unwrap();
        }
    }
    for file in ["package.json", "package-lock.json", "jsconfig.json"] {
        fs::copy(from.join(file), to.join(file)).unwrap();
    }
    let installed = Command::new("npm").args(["ci", "--no-audit", "--no-fund"]).current_dir(&to).output().unwrap();
    if installed.status.success() {
        return Ok(to);
    }
    let reason = format!("npm ci failed: {}", String::from_utf8_lossy(&installed.stderr));
    assert!(!in_ci(), "{reason}");
    Err(reason)
}

/// Runs a script of package.json and gives what it prints, or fails with it.
pub(crate) fn run_script(web: &Path, script: &str) {
    let output = Command::new("npm").args(["run", script]).current_dir(web).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "npm run {script}: {}{}", text(&output.stdout), text(&output.stderr));
}

/// Chromium or Chrome: `CHROME`, or the first on PATH. In CI, as root, Debian's is installed.
pub(crate) fn chromium() -> Option<PathBuf> {
    let find = || {
        let named = env::var_os("CHROME").filter(|path| !path.is_empty()).map(PathBuf::from);
        let folders: Vec<PathBuf> = env::split_paths(&env::var_os("PATH")?).collect();
        let names = ["chromium", "chromium-browser", "google-chrome"].into_iter();
        let known = names.flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
        named.into_iter().chain(known).find(|path| path.is_file())
    };
    find().or_else(|| {
        let installed = tributary_testing::install("chromium");
        find().filter(|_| installed)
    })
}
