//! What runs of many sets take: memory and file handles.

#![cfg(target_os = "linux")]

use std::process::{Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::Duration;

use serde_json::Value;
use tributary_inputs::test_support::RandomWeights;

use crate::workshop::{self, Workshop, stderr};

/// A file of `count` sets, all of them `low` of the workshop's.
fn many(workshop: &Workshop, count: usize) -> String {
    let sets: Value = serde_json::from_str(&std::fs::read_to_string(workshop.path("sets.json")).unwrap()).unwrap();
    let (prompt, set) = (sets["prompt"].to_string(), sets["ci_sets"]["low"].to_string());
    let sets: Vec<String> = (0..count).map(|at| format!("\"s{at}\":{set}")).collect();
    let name = format!("{count}.json");
    workshop.write(&name, &format!("{{\"prompt\":{prompt},\"ci_sets\":{{{}}}}}", sets.join(",")));
    name
}

/// A command under a limit of the shell.
fn limited(workshop: &Workshop, limit: &str, args: &[&str]) -> Command {
    let mut command = workshop::limited(limit);
    command.args(args).current_dir(workshop.path("."));
    command
}

/// Runs a command, and gives its status and the most bytes of memory that it held.
fn watched(command: &mut Command) -> (ExitStatus, f64) {
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let mut held = 0.0;
    loop {
        // The largest so far, so the last look tells.
        held = workshop::most_held(&child).map_or(held, |bytes| bytes as f64);
        match child.try_wait().unwrap() {
            Some(status) => return (status, held),
            None => sleep(Duration::from_millis(1)),
        }
    }
}

/// Bytes that a run is said to take beside its model, and the most it has held.
fn said_and_held(workshop: &Workshop, count: usize) -> [f64; 2] {
    let file = many(workshop, count);
    let out = format!("out{count}");
    let args = ["attribute", "--model", "run", "--ci-sets", &file, "--backend", "flex", "--threads", "1"];
    let outline = workshop.succeed(&[&args[..], &["--dry-run", "--json"]].concat());
    let outline: Value = serde_json::from_str(&outline).unwrap();
    // Fewer handles than sets.
    let mut command = limited(workshop, "-n 64", &[&args[..], &["--out", &out, "--json"]].concat());
    let (status, held) = watched(&mut command);
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

/// The bytes that a message says something takes.
fn said(message: &str) -> Option<f64> {
    let mut words = message.split_once("takes about ")?.1.split(' ');
    let number: f64 = words.next()?.parse().ok()?;
    match words.next()? {
        "MB" => Some(1e6 * number),
        "GB" => Some(1e9 * number),
        _ => None,
    }
}

/// What a view that does not fit is said to take is what it takes where it fits, and between the two nothing is aborted.
#[test]
fn views_that_do_not_fit_are_refused_with_what_they_take() {
    // Code, stacks and buffers, which are there before anything is read.
    const OVERHEAD: f64 = 64e6;
    let mut random = RandomWeights::gpt2_simple(3);
    random.components.values_mut().for_each(|components| *components = 320);
    let workshop = Workshop::new(&random.weights());
    workshop.edit_sets(|sets| {
        for rows in sets["ci_sets"].as_object_mut().unwrap().values_mut().flat_map(|set| set.as_object_mut().unwrap()) {
            let values = rows.1.as_array_mut().unwrap().iter_mut().flat_map(|row| row.as_array_mut().unwrap());
            values.for_each(|value| *value = 0.5.into());
        }
    });
    workshop.compute();
    let views: [&[&str]; 5] = [
        &["plot", "out", "--force"],
        &["report", "out", "-o", "r.html", "--force"],
        &["export", "out", "--format", "parquet", "-o", "tables", "--force"],
        &["export", "out", "--format", "circuit-tracer", "-o", "graphs", "--force"],
        &["compare", "out"],
    ];
    for view in views {
        let refused = limited(&workshop, "-v 150000", view).output().unwrap();
        let message = stderr(&refused);
        assert_eq!(refused.status.code(), Some(1), "{view:?}: {message}");
        let said = said(&message).unwrap_or_else(|| panic!("{view:?}: {message}"));
        let (status, held) = watched(&mut workshop.command(view));
        assert!(status.success(), "{view:?}: {status}");
        let held = held - OVERHEAD;
        assert!(held <= said && said <= 3.0 * held, "{view:?}: {said} bytes foretold, {held} held");
        for share in [0.5, 1.0, 1.5, 2.0] {
            let limit = format!("-v {}", (150_000.0 + share * said / 1024.0).ceil());
            let (status, _) = watched(&mut limited(&workshop, &limit, view));
            assert!(matches!(status.code(), Some(0 | 1)), "{view:?} under {limit}: {status}");
        }
    }
}
