//! What runs of many sets take: memory and file handles.

#![cfg(target_os = "linux")]

use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use serde_json::Value;

use crate::workshop::Workshop;

/// A file of `count` sets, all of them `low` of the workshop's.
fn many(workshop: &Workshop, count: usize) -> String {
    let sets: Value = serde_json::from_str(&std::fs::read_to_string(workshop.path("sets.json")).unwrap()).unwrap();
    let (prompt, set) = (sets["prompt"].to_string(), sets["ci_sets"]["low"].to_string());
    let sets: Vec<String> = (0..count).map(|at| format!("\"s{at}\":{set}")).collect();
    let name = format!("{count}.json");
    workshop.write(&name, &format!("{{\"prompt\":{prompt},\"ci_sets\":{{{}}}}}", sets.join(",")));
    name
}

/// Bytes that a run is said to take beside its model, and the most it has held.
fn said_and_held(workshop: &Workshop, count: usize) -> [f64; 2] {
    let file = many(workshop, count);
    let out = format!("out{count}");
    let args = ["attribute", "--model", "run", "--ci-sets", &file, "--backend", "flex", "--threads", "1"];
    let outline = workshop.succeed(&[&args[..], &["--dry-run", "--json"]].concat());
    let outline: Value = serde_json::from_str(&outline).unwrap();
    let tributary = workshop.command(&[]).get_program().to_owned();
    let mut command = Command::new("sh");
    // Fewer handles than sets.
    command.arg("-c").arg("ulimit -n 64; exec \"$0\" \"$@\"").arg(tributary).args(args).args(["--out", &out, "--json"]);
    command.current_dir(workshop.path(".")).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let mut held = 0.0;
    let status = loop {
        // The largest so far, so the last look tells.
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        let most = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"));
        held = most.map_or(held, |kilobytes| 1024.0 * kilobytes.trim().parse::<f64>().unwrap());
        match child.try_wait().unwrap() {
            Some(status) => break status,
            None => sleep(Duration::from_millis(1)),
        }
    };
    assert!(status.success(), "{count} sets: {status}");
    assert_eq!(workshop.list(&out).len(), count + 1);
    [outline["memory"].as_f64().unwrap(), held]
}

/// Small sets are many, so what is kept of each counts.
#[test]
fn many_small_sets_take_what_was_said() {
    let workshop = Workshop::small();
    let [[said_few, held_few], [said_many, held_many]] = [10, 2000].map(|count| said_and_held(&workshop, count));
    let more = held_many - held_few;
    // Of sets as small as these, containers take more than the numbers in them: the reserve, which both have, has to do for it.
    assert!(
        more <= 1.2 * said_many,
        "{more} bytes more are held for 2,000 sets than for 10, {said_many} foretold in all"
    );
    assert!(said_many > said_few, "more sets take more: {said_few}, {said_many}");
}
