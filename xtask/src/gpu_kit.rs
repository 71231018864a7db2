//! Packs everything that checks the GPU backends, for a machine with a GPU and nothing else: `target/gpu-kit.tar.xz`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::command::{cargo, root, run};
use crate::libtorch;

/// What the kit may weigh, packed.
const LARGEST: u64 = 64 << 20;

/// Data of the tests, by path in the repository.
const DATA: [&str; 4] = ["data", "tests/golden", "tests/models", "snapshots"];

const SUITES: [&str; 2] = ["conformance", "backends"];

pub(crate) fn build() -> Result<(), String> {
    libtorch::prepare()?;
    let kit = root().join("target/gpu-kit");
    if kit.exists() {
        fs::remove_dir_all(&kit).map_err(|error| format!("{}: {error}", kit.display()))?;
    }
    for data in DATA {
        copy_all(&root().join(data), &kit.join(data))?;
    }
    // One backend at a time: what is linked with libtorch starts only where libtorch is.
    for (name, features) in [
        ("cuda", "tributary-tests/cuda,tributary-backend-tch/libtorch"),
        ("tch", "tributary-tests/tch,tributary-backend-tch/libtorch"),
    ] {
        for Executable { package, target, is_test, path } in executables(features)? {
            let destination = match (target.as_str(), is_test) {
                ("conformance", true) if package != name => continue,
                (suite, true) if SUITES.contains(&suite) => kit.join("tests").join(name).join(suite),
                ("tributary", false) => kit.join("bin/tributary"),
                (plugin, false) if plugin == format!("tributary-backend-{name}") => kit.join("bin").join(plugin),
                _ => continue,
            };
            copy(&path, &destination)?;
            run(Command::new("strip").arg(&destination))?;
        }
    }
    copy(&root().join("xtask/gpu-kit/run.sh"), &kit.join("run.sh"))?;
    let archive = root().join("target/gpu-kit.tar.xz");
    run(Command::new("tar").arg("-C").arg(root().join("target")).arg("-cJf").arg(&archive).arg("gpu-kit"))?;
    let size = fs::metadata(&archive).map_err(|error| format!("{}: {error}", archive.display()))?.len();
    println!(
        "{}: {:.1} MiB; unpack it on a machine with a GPU and start run.sh",
        archive.display(),
        size as f64 / f64::from(1 << 20)
    );
    if size <= LARGEST { Ok(()) } else { Err("that is more than 64 MiB".to_owned()) }
}

struct Executable {
    /// Folder of the package; cargo's own names of packages are not meant to be read.
    package: String,
    target: String,
    /// Of a test harness, which a target that is a program has too.
    is_test: bool,
    path: PathBuf,
}

/// Builds the suites and the programs with these features and gives every executable of the build.
fn executables(features: &str) -> Result<Vec<Executable>, String> {
    let mut build = cargo();
    build.args(["test", "--workspace", "--locked", "--no-run", "--message-format=json-render-diagnostics"]);
    // A program is built for the tests of its package: `cli` stands for the stock command, `plugin` for the plugins.
    build.args(SUITES.iter().chain(&["cli", "plugin"]).flat_map(|suite| ["--test", suite]));
    build.args(["--features", features]).stderr(std::process::Stdio::inherit());
    let output = build.output().map_err(|error| format!("cargo cannot be started: {error}"))?;
    if !output.status.success() {
        return Err(format!("the tests could not be built: {}", output.status));
    }
    let messages = String::from_utf8_lossy(&output.stdout).into_owned();
    let executable = |line: &str| {
        let message: Value = serde_json::from_str(line).ok()?;
        let manifest = Path::new(message["manifest_path"].as_str()?).parent()?;
        Some(Executable {
            package: manifest.file_name()?.to_str()?.to_owned(),
            target: message["target"]["name"].as_str()?.to_owned(),
            is_test: message["profile"]["test"].as_bool()?,
            path: PathBuf::from(message["executable"].as_str()?),
        })
    };
    Ok(messages.lines().filter_map(executable).collect())
}

fn copy(from: &Path, to: &Path) -> Result<(), String> {
    let copied = to.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::copy(from, to));
    copied.map(|_| ()).map_err(|error| format!("{} to {}: {error}", from.display(), to.display()))
}

fn copy_all(from: &Path, to: &Path) -> Result<(), String> {
    let entries = fs::read_dir(from).map_err(|error| format!("{}: {error}", from.display()))?;
    for entry in entries {
        let entry = entry.map_err(|error| format!("{}: {error}", from.display()))?;
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() { copy_all(&from, &to)? } else { copy(&from, &to)? }
    }
    Ok(())
}
