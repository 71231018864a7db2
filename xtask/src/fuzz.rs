//! `cargo xtask fuzz`: mutated inputs for everything that reads files, guided by coverage. See `fuzz/README.md`.

mod figures;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use crate::command::{announce, cargo, output, root, run};
use figures::Figures;

const TARGETS: [&str; 7] = ["ci_json", "checkpoint", "config", "tokenizer", "prompt", "manifest", "set_file"];

/// What makes code report its coverage to libFuzzer. `cargo fuzz` asks for the same, and for sanitizers, which take a nightly
/// compiler and find nothing in code without `unsafe`.
const COVERAGE: [&str; 6] = [
    "passes=sancov-module",
    "llvm-args=-sanitizer-coverage-level=4",
    "llvm-args=-sanitizer-coverage-inline-8bit-counters",
    "llvm-args=-sanitizer-coverage-pc-table",
    "llvm-args=-sanitizer-coverage-trace-compares",
    "codegen-units=1",
];

/// What an input may take: seconds, MiB of memory, bytes of its own.
const LIMITS: [&str; 4] = ["-timeout=5", "-rss_limit_mb=1024", "-malloc_limit_mb=1024", "-max_len=65536"];

/// How long a target is fuzzed unless something else is asked for.
const SECONDS: u32 = 60;

/// `[TARGET...] [--seconds N]`, or `TARGET --input FILE`.
pub(crate) fn fuzz(args: &[&str]) -> Result<(), String> {
    let Request { targets, seconds, input } = Request::of(args)?;
    let folder = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from).join("fuzz");
    let programs = build(&folder, &targets)?;
    if let Some(input) = input {
        let input = std::path::absolute(&input).map_err(|error| format!("{input}: {error}"))?;
        return run(Command::new(programs.join(targets[0])).args(LIMITS).arg(input));
    }
    let mut failures = Vec::new();
    let mut lines = vec![Figures::HEADER.to_owned()];
    for target in &targets {
        match one(target, seconds, &programs, &folder) {
            Ok(figures) => lines.push(figures.line(target)),
            Err(failure) => failures.push(failure),
        }
    }
    println!("{}", lines.join("\n"));
    if failures.is_empty() { Ok(()) } else { Err(failures.join("\n")) }
}

/// What was asked for.
#[derive(Debug, PartialEq, Eq)]
struct Request<'a> {
    targets: Vec<&'a str>,
    seconds: u32,
    input: Option<String>,
}

impl<'a> Request<'a> {
    fn of(mut args: &[&'a str]) -> Result<Self, String> {
        let mut request = Self { targets: Vec::new(), seconds: SECONDS, input: None };
        loop {
            args = match args {
                [] => break,
                ["--seconds", seconds, more @ ..] => {
                    // libFuzzer takes 0 for no end.
                    let parsed = seconds.parse().ok().filter(|seconds| *seconds > 0);
                    request.seconds = parsed.ok_or_else(|| format!("{seconds:?} is no number of seconds"))?;
                    more
                }
                ["--input", file, more @ ..] => {
                    request.input = Some((*file).to_owned());
                    more
                }
                [target, more @ ..] if TARGETS.contains(target) => {
                    request.targets.push(target);
                    more
                }
                [other, ..] => return Err(format!("no target {other:?} here; there are {}", TARGETS.join(", "))),
            };
        }
        if request.input.is_some() && request.targets.len() != 1 {
            return Err("--input takes the one target that is to read it".to_owned());
        }
        if request.targets.is_empty() {
            request.targets = TARGETS.into();
        }
        Ok(request)
    }
}

/// Builds the programs of these targets and gives the folder that they are in.
fn build(folder: &Path, targets: &[&str]) -> Result<PathBuf, String> {
    let version = output(Command::new("rustc").arg("-vV")).ok_or("rustc cannot be asked for its version")?;
    let host =
        version.lines().find_map(|line| line.strip_prefix("host: ")).ok_or("rustc does not say what it runs on")?;
    let mut command = cargo();
    command.args(["build", "--release", "--locked", "--manifest-path", "fuzz/Cargo.toml"]);
    // Named, so that what is built to run during the build does not get the flags: it has no libFuzzer to report to.
    command.args(["--target", host]).args(targets.iter().flat_map(|target| ["--bin", target]));
    let flags = COVERAGE.map(|flag| format!("-C{flag}")).join("\u{1f}");
    command.env("CARGO_ENCODED_RUSTFLAGS", flags).env("CARGO_TARGET_DIR", folder);
    run(&mut command)?;
    Ok(folder.join(host).join("release"))
}

/// Fuzzes one target; `Err` says which input it did not survive.
fn one(target: &str, seconds: u32, programs: &Path, folder: &Path) -> Result<Figures, String> {
    let failed = |what: &Path, error: std::io::Error| format!("{}: {error}", what.display());
    let (found, kept) = (folder.join("findings").join(target), folder.join("corpus").join(target));
    let scratch = Scratch::new(folder).map_err(|error| failed(folder, error))?;
    for made in [&found, &kept] {
        fs::create_dir_all(made).map_err(|error| failed(made, error))?;
    }
    let log = folder.join(format!("{target}.log"));
    let mut command = Command::new(programs.join(target));
    command.args(LIMITS).arg(format!("-max_total_time={seconds}"));
    // As properties are drawn there: so that a change is not held up by an input that has nothing to do with it.
    if std::env::var_os("CI").is_some_and(|value| value == "true") {
        command.arg("-seed=2026");
    }
    command
        .args(["-print_final_stats=1", "-report_slow_units=1"])
        .arg(format!("-artifact_prefix={}/", found.display()));
    let dictionary = root().join(format!("fuzz/dictionaries/{target}.dict"));
    if dictionary.is_file() {
        command.arg(format!("-dict={}", dictionary.display()));
    }
    // What is new goes to the first folder; the other is read only. Findings are left to the ordinary tests: mutations of what was
    // slow once are slow again.
    command.args([&kept, &root().join("fuzz/corpus").join(target)]);
    announce(&command);
    let output = fs::File::create(&log).map_err(|error| failed(&log, error))?;
    command.env("TRIBUTARY_FUZZ_SCRATCH", &scratch.0).stdout(Stdio::null()).stderr(output);
    let status = command.status().map_err(|error| failed(programs, error))?;
    let text = String::from_utf8_lossy(&fs::read(&log).map_err(|error| failed(&log, error))?).into_owned();
    if status.success() { Ok(Figures::of(&text)) } else { Err(failure(target, &text, status, &log)) }
}

/// What to do about an input.
fn failure(target: &str, text: &str, status: ExitStatus, log: &Path) -> String {
    let written = text.lines().find_map(|line| line.split_once("Test unit written to ").map(|(_, path)| path));
    match written {
        Some(path) => format!(
            "{target}: does not survive {path}\n  again: cargo xtask fuzz {target} --input {path}\n  output: {}",
            log.display()
        ),
        None => format!("{target}: failed, {status}\n  output: {}", log.display()),
    }
}

/// A folder for the inputs of one program, which is killed when it has found something and leaves them.
struct Scratch(PathBuf);

impl Scratch {
    fn new(folder: &Path) -> std::io::Result<Self> {
        let memory = Path::new("/dev/shm");
        let parent = if memory.is_dir() { memory } else { folder };
        let made = parent.join(format!("tributary-fuzz-{}", std::process::id()));
        fs::create_dir_all(&made)?;
        Ok(Self(made))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed is in the way of nothing.
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::{Request, TARGETS};

    #[test]
    fn what_is_asked_for() {
        let (targets, seconds, input) = (TARGETS.to_vec(), 60, None);
        assert_eq!(Request::of(&[]), Ok(Request { targets, seconds, input }));
        let (targets, seconds, input) = (vec!["prompt", "config"], 5, None);
        assert_eq!(Request::of(&["prompt", "--seconds", "5", "config"]), Ok(Request { targets, seconds, input }));
        let input = Some("a".to_owned());
        assert_eq!(
            Request::of(&["prompt", "--input", "a"]),
            Ok(Request { targets: vec!["prompt"], seconds: 60, input })
        );
        for wrong in [&["none"][..], &["--seconds", "0"], &["--seconds"], &["--input", "a"]] {
            assert!(Request::of(wrong).is_err(), "{wrong:?}");
        }
    }

    /// Every program has a corpus, and is one of those that are run.
    #[test]
    fn targets_are_those_of_the_package() {
        let folder = crate::command::root().join("fuzz");
        let mut programs: Vec<String> = std::fs::read_dir(folder.join("targets"))
            .unwrap()
            .map(|entry| entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
            .collect();
        programs.sort_unstable();
        let mut targets = TARGETS.to_vec();
        targets.sort_unstable();
        assert_eq!(programs, targets);
        for target in targets {
            assert!(folder.join("corpus").join(target).is_dir(), "{target}");
        }
    }
}
