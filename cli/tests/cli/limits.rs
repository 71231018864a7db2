//! What the system or the environment does not give: threads, file sizes, file handles, addresses.

#![cfg(target_os = "linux")]

use std::process::Output;

use crate::workshop::{self, Workshop, stderr};

const ATTRIBUTE: [&str; 9] =
    ["attribute", "--model", "run", "--ci-sets", "sets.json", "--backend", "flex", "--out", "new"];
const VIEWS: [&[&str]; 5] = [
    &["plot", "out", "-o", "new"],
    &["report", "out", "-o", "new.html"],
    &["export", "out", "--format", "parquet", "-o", "new"],
    &["compare", "out", "--out", "new"],
    &["inspect", "out"],
];

/// A workshop with results.
fn with_results() -> Workshop {
    let workshop = Workshop::small();
    workshop.compute();
    workshop
}

/// Runs a command under a limit of the shell.
fn run(workshop: &Workshop, limit: &str, args: &[&str], threads: Option<&str>) -> Output {
    let mut command = workshop::limited(limit);
    command.args(args).current_dir(workshop.path("."));
    if let Some(threads) = threads {
        command.env("RAYON_NUM_THREADS", threads);
    }
    command.output().unwrap()
}

/// Whether the program itself starts under a limit; where it does not, the loader says so with its own status.
fn starts(workshop: &Workshop, limit: &str) -> bool {
    run(workshop, limit, &["--version"], None).status.success()
}

/// Either it is done, or an error of some lines says why not; nothing is left then.
fn assert_done_or_refused(workshop: &Workshop, output: &Output, what: &str) {
    let message = stderr(output);
    assert!(matches!(output.status.code(), Some(0 | 1)), "{what}: {:?}: {message}", output.status);
    assert!(!message.contains("panicked"), "{what}: {message}");
    if output.status.code() == Some(1) {
        assert!(message.starts_with("error: ") || message.contains("\nerror: "), "{what}: {message}");
        assert_eq!(workshop.list("."), ["out", "run", "sets.json"], "{what}: {message}");
    }
    remove_new(workshop);
}

fn remove_new(workshop: &Workshop) {
    for new in ["new", "new.html"] {
        let path = workshop.path(new);
        let _ = if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) };
    }
}

/// `RAYON_NUM_THREADS` asks for more threads than any machine has; the pool that reads it by itself panics or hangs.
#[test]
fn threads_that_cannot_be_had_are_not_asked_for() {
    let workshop = with_results();
    for args in VIEWS.into_iter().chain([&ATTRIBUTE[..]]) {
        for (limit, threads) in [("-v unlimited", "100000"), ("-v 2000000", "5000")] {
            let output = run(&workshop, limit, args, Some(threads));
            assert!(output.status.success(), "{args:?} under {limit}: {}", stderr(&output));
            assert_done_or_refused(&workshop, &output, "threads");
        }
    }
}

/// The shell kills nobody for a file that grows too large: it is an error, as a disk that is full, and names the file by the
/// name that it would have had.
#[test]
fn a_file_that_may_not_grow_is_an_error_that_names_it() {
    let workshop = with_results();
    let files = ["new/low.safetensors", "new/", "new.html", "new/", "new/"];
    let commands = [&ATTRIBUTE[..]].into_iter().chain(VIEWS.into_iter().take(4));
    for (args, file) in commands.zip(files) {
        let output = run(&workshop, "-f 1", args, None);
        let message = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{args:?}: {message}");
        assert!(message.contains(file) && message.contains("File too large"), "{args:?}: {message}");
        assert!(!message.contains(".tributary-partial"), "{args:?}: {message}");
        assert_done_or_refused(&workshop, &output, &format!("{args:?}"));
    }
}

/// Handles that every process has from whoever started the tests, beside its standard streams.
fn inherited() -> usize {
    let listed = std::process::Command::new("ls").arg("/proc/self/fd").output().map(|output| output.stdout);
    // One of them is the folder that is listed.
    listed.map_or(0, |names| String::from_utf8_lossy(&names).lines().count()).saturating_sub(4)
}

#[test]
fn nothing_is_left_where_files_cannot_be_opened() {
    let workshop = with_results();
    for args in VIEWS.into_iter().chain([&ATTRIBUTE[..]]) {
        for limit in
            (10..18).map(|handles| format!("-n {}", handles + inherited())).filter(|limit| starts(&workshop, limit))
        {
            let output = run(&workshop, &limit, args, None);
            assert_done_or_refused(&workshop, &output, &format!("{args:?} under {limit}"));
        }
    }
}

/// So few that a folder which was made cannot be listed: what is left there goes away with the next command.
#[test]
fn what_is_left_without_handles_goes_away_with_the_next_command() {
    let workshop = with_results();
    for args in [VIEWS[0], VIEWS[1], VIEWS[2], VIEWS[3], &ATTRIBUTE] {
        for limit in
            (4..10).map(|handles| format!("-n {}", handles + inherited())).filter(|limit| starts(&workshop, limit))
        {
            let output = run(&workshop, &limit, args, None);
            assert!(matches!(output.status.code(), Some(0 | 1)), "{args:?} under {limit}: {}", stderr(&output));
            if output.status.code() == Some(1) {
                workshop.succeed(args);
                let hidden = [".", "new"].map(|folder| workshop.path(folder).join(".tributary-partial").exists());
                assert_eq!(hidden, [false; 2], "{args:?} under {limit}: {}", stderr(&output));
            }
            remove_new(&workshop);
        }
    }
}

#[test]
fn few_addresses_are_no_abort() {
    let workshop = with_results();
    for args in VIEWS {
        let limits = (60..=300).step_by(20).map(|megabytes| format!("-v {}", megabytes * 1000));
        for limit in limits.filter(|limit| starts(&workshop, limit)) {
            let output = run(&workshop, &limit, args, None);
            assert_done_or_refused(&workshop, &output, &format!("{args:?} under {limit}"));
        }
    }
}
