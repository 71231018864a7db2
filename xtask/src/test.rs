//! `cargo xtask test`: runs tests, and says at the end what failed, what was skipped and what was left out.

mod summary;

use std::io::{self, BufRead, BufReader, Write as _};
use std::process::ExitStatus;

use crate::command::{announce, cargo, run};
use crate::libtorch;
use summary::Summary;

const BACKENDS: [&str; 4] = ["ndarray", "flex", "tch", "cuda"];

/// The suites that every backend is put to. Tests in them begin with the backend's name.
const SUITES: [&str; 3] = ["conformance", "backends", "plugin"];

/// `[--backend NAME] [--gpu] [ARGS...]`, where ARGS go to `cargo test`. Every backend and plugin is built, whatever the
/// machine can compute on.
pub(crate) fn test(args: &[&str]) -> Result<(), String> {
    let [for_cargo, for_tests] = arguments(args)?;
    libtorch::prepare()?;
    // Built first, with cargo's own progress on the terminal.
    run(cargo().args(&for_cargo).arg("--no-run"))?;
    let mut command = cargo();
    command.args(&for_cargo).arg("--no-fail-fast").arg("--").args(&for_tests);
    announce(&command);
    // What is read here is no terminal's.
    command.env("CARGO_TERM_COLOR", "never");
    let (status, summary) = summarised(command).map_err(|error| format!("cargo test: {error}"))?;
    let failed = summary.failed() || !status.success();
    let report = summary.report();
    if failed {
        return Err(format!("{report}cargo test failed: {status}"));
    }
    io::stdout().write_all(report.as_bytes()).map_err(|error| format!("stdout: {error}"))
}

/// What goes to `cargo test`, and what goes to the tests.
fn arguments(mut args: &[&str]) -> Result<[Vec<String>; 2], String> {
    let (mut backend, mut gpu) = (None, false);
    loop {
        args = match args {
            ["--backend", name, ..] if !BACKENDS.contains(name) => {
                return Err(format!("no backend {name:?} here; there are {}", BACKENDS.join(", ")));
            }
            ["--backend", name, more @ ..] => {
                backend = Some(format!("{name}_"));
                more
            }
            ["--gpu", more @ ..] => {
                gpu = true;
                more
            }
            _ => break,
        };
    }
    let mut for_cargo = vec!["test", "--workspace", "--all-features", "--locked"];
    if backend.is_some() || gpu {
        for_cargo.extend(SUITES.iter().flat_map(|suite| ["--test", suite]));
    }
    let separator = args.iter().position(|&arg| arg == "--").unwrap_or(args.len());
    for_cargo.extend(&args[..separator]);
    let mut for_tests: Vec<&str> = args.iter().skip(separator + 1).copied().collect();
    for_tests.extend(backend.as_deref());
    if gpu {
        for_tests.push("--ignored");
    }
    Ok([for_cargo, for_tests].map(|args| args.into_iter().map(str::to_owned).collect()))
}

/// Runs `cargo test` to its end, passing on what it prints, and sums it up.
fn summarised(mut command: std::process::Command) -> io::Result<(ExitStatus, Summary)> {
    // One pipe for both, so that cargo's words and the tests' come in the order in which they were said.
    let (reader, writer) = io::pipe()?;
    command.stderr(writer.try_clone()?).stdout(writer);
    let mut child = command.spawn()?;
    // It holds ends of the pipe, which would not end as long as they are there.
    drop(command);
    let (mut reader, mut bytes, mut summary) = (BufReader::new(reader), Vec::new(), Summary::default());
    while reader.read_until(b'\n', &mut bytes)? > 0 {
        io::stdout().write_all(&bytes)?;
        summary.take(String::from_utf8_lossy(&bytes).trim_end());
        bytes.clear();
    }
    Ok((child.wait()?, summary))
}

#[cfg(test)]
mod tests {
    use super::arguments;

    #[test]
    fn arguments_go_where_they_belong() {
        let of = |args: &[&str]| arguments(args).map(|both| both.map(|args| args.join(" ")));
        let all = "test --workspace --all-features --locked";
        let suites = "--test conformance --test backends --test plugin";
        assert_eq!(of(&[]), Ok([all.to_owned(), String::new()]));
        assert_eq!(of(&["-q", "--", "a", "b"]), Ok([format!("{all} -q"), "a b".to_owned()]));
        assert_eq!(of(&["--backend", "tch"]), Ok([format!("{all} {suites}"), "tch_".to_owned()]));
        assert_eq!(
            of(&["--gpu", "--backend", "cuda", "--", "--nocapture"]),
            Ok([format!("{all} {suites}"), "--nocapture cuda_ --ignored".to_owned()])
        );
        assert!(of(&["--backend", "other"]).unwrap_err().contains("ndarray, flex, tch, cuda"));
    }
}
