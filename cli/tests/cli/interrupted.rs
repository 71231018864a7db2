//! Commands that are asked to end, or killed, while they write.

#![cfg(unix)]

use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tributary_testing::cases;

use crate::writers::{WRITERS, Writer, assert_whole, both, contents, prepared};

/// How a command is ended after a while, and what its exit status is to be.
const ENDS: [(Signal, i32); 4] = [(Signal::INT, 130), (Signal::TERM, 143), (Signal::HUP, 129), (Signal::KILL, -9)];

/// Whatever ends a command at whatever moment, its folder is as before or as after, the next command leaves nothing of it, and
/// it ends at once with the status that says why.
#[test]
fn what_is_interrupted_leaves_the_old_or_the_new() {
    let rounds = cases(4);
    for writer in &WRITERS {
        let both = both(writer);
        let whole = time(writer);
        for round in 0..rounds {
            for (signal, status) in ENDS {
                let workshop = prepared();
                let mut child =
                    workshop.command(writer.args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
                // Spread over the time that the command takes, and at random beyond that.
                let moment = whole.mul_f64((f64::from(round) + fastrand::f64()) / f64::from(rounds) * 1.1);
                sleep(moment);
                let _ = kill_process(Pid::from_child(&child), signal);
                let asked = Instant::now();
                let ended = child.wait().unwrap();
                assert!(asked.elapsed() < Duration::from_secs(1), "{}: took {:?}", writer.name, asked.elapsed());
                let what = format!("{signal:?} after {moment:?}");
                let found = ended.code().unwrap_or_else(|| -ended.signal().unwrap());
                // Before it is waited for, a signal does what it does by default.
                assert!([0, status, -signal.as_raw()].contains(&found), "{}, {what}: status {found}", writer.name);
                if found == status && signal != Signal::KILL {
                    let names = contents(&workshop, writer.folder);
                    let left = names.keys().find(|name| name.contains(".tributary-partial"));
                    assert_eq!(left, None, "{}, {what}", writer.name);
                }
                assert_whole(&workshop, writer, &both, &what);
            }
        }
    }
}

/// How long a command takes.
fn time(writer: &Writer) -> Duration {
    let workshop = prepared();
    let started = Instant::now();
    workshop.succeed(writer.args);
    started.elapsed()
}

/// As `nohup` starts a command.
#[test]
fn an_ignored_signal_stays_ignored() {
    let workshop = prepared();
    let mut command = workshop.command(&[]);
    let tributary = command.get_program().to_owned();
    command = std::process::Command::new("sh");
    command.current_dir(workshop.path("."));
    command.arg("-c").arg("trap '' HUP; exec \"$0\" \"$@\"").arg(tributary).args(WRITERS[0].args);
    let mut child = command.stderr(Stdio::null()).spawn().unwrap();
    for _ in 0..20 {
        sleep(Duration::from_millis(5));
        let _ = kill_process(Pid::from_child(&child), Signal::HUP);
    }
    assert!(child.wait().unwrap().success());
}
