//! System calls of commands that fail, or during which the command is killed: every one of them, one at a time.
//!
//! strace does it. All calls of a kind take a while; a few of each are tried unless `TRIBUTARY_FAULTS=all`.

#![cfg(target_os = "linux")]

use std::process::Command;

use tributary_testing::{install, skip};

use crate::workshop::Workshop;
use crate::writers::{WRITERS, assert_whole, both, finish, prepared};

/// Kinds of system calls that writers make on their files, and how many of each are passed over between two that are tried.
/// strace counts those of each thread.
const KINDS: [(&str, usize); 8] = [
    ("mkdir,mkdirat", 2),
    ("rename,renameat,renameat2", 2),
    ("fsync,fdatasync,syncfs", 3),
    ("unlink,unlinkat,rmdir", 5),
    ("flock", 2),
    ("openat", 31),
    ("write", 11),
    ("getdents64", 3),
];

/// What happens to a call.
const FAULTS: [&str; 3] = ["error=EIO", "error=ENOSPC", "signal=KILL"];

#[test]
fn whatever_system_call_fails_nothing_is_lost() {
    if let Err(reason) = can_trace() {
        return skip("commands whose system calls fail", reason);
    }
    let all = std::env::var_os("TRIBUTARY_FAULTS").is_some_and(|value| value == "all");
    for writer in &WRITERS {
        let both = both(writer);
        for (kind, (calls, step)) in KINDS.into_iter().enumerate() {
            for (fault, what) in FAULTS.into_iter().enumerate() {
                // Not the same calls for each fault.
                let step = step * FAULTS.len();
                let (start, step) = if all { (1, 1) } else { (1 + (kind + 2 * fault) % step, step) };
                for call in (start..).step_by(step) {
                    let workshop = prepared();
                    let log = workshop.path("strace.log");
                    let mut command = Command::new("strace");
                    command.args(["-f", "-qq", "-o"]).arg(&log);
                    command.args([
                        "-e",
                        &format!("trace={calls}"),
                        "-e",
                        &format!("inject={calls}:{what}:when={call}"),
                    ]);
                    command.arg(workshop.command(&[]).get_program()).args(writer.args);
                    command.current_dir(workshop.path("."));
                    let (status, said) = finish(command);
                    let is_injected = injected(&workshop, what);
                    let case = format!("{what} in {calls} number {call} (status {status:?}: {said})");
                    assert!(status != Some(101) && !said.contains("panicked"), "{}: {case}", writer.name);
                    std::fs::remove_file(&log).unwrap();
                    assert_whole(&workshop, writer, &both, &case);
                    if !is_injected {
                        break;
                    }
                }
            }
        }
    }
}

/// Whether there were so many calls.
fn injected(workshop: &Workshop, what: &str) -> bool {
    let log = std::fs::read_to_string(workshop.path("strace.log")).unwrap();
    log.contains(if what.starts_with("signal") { "killed by SIGKILL" } else { "(INJECTED)" })
}

fn can_trace() -> Result<(), String> {
    let is_there = || Command::new("strace").arg("--version").output().is_ok();
    let _ = is_there() || install("strace");
    let output = Command::new("strace").args(["-f", "-e", "inject=rmdir:error=EIO", "true"]).output();
    match output {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        Err(error) => Err(format!("there is no strace: {error}")),
    }
}
