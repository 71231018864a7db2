//! Backends in executables of their own, played by shell scripts: what the command makes of good and of broken ones.
#![cfg(unix)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::attribute::succeed;
use crate::workshop::{PROMPT, Workshop, stderr, stdout};

/// A plugin that describes itself as `report` and otherwise does `rest`.
fn script(workshop: &Workshop, name: &str, report: &str, rest: &str) {
    let text = format!("#!/bin/sh\nif [ \"$1\" = describe-backend ]; then\n{report}\nfi\n{rest}\n");
    let path = workshop.path(format!("tributary-backend-{name}"));
    fs::write(&path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

fn report(name: &str, version: &str) -> String {
    let device = json!({ "name": "cuda:0", "description": "a GPU", "memory": 1 << 30, "dtypes": ["f32"] });
    let report = json!({
        "name": name, "description": "a test", "version": version, "tf32": true, "devices": [device],
        "note": null, "unusable_because": null,
    });
    format!("cat <<'END'\n{report}\nEND\nexit 0")
}

/// The command with the workshop's folder on PATH.
fn run(workshop: &Workshop, args: &[&str]) -> Output {
    let mut command = workshop.command(args);
    command.env("PATH", format!("{}:{}", workshop.path("").display(), std::env::var("PATH").unwrap()));
    command.output().unwrap()
}

const VERSION: &str = env!("CARGO_PKG_VERSION");

#[test]
fn a_plugin_takes_over_the_command() {
    let workshop = Workshop::small();
    script(&workshop, "fake", &report("fake", VERSION), "echo \"$@\"; exit 7");
    let args = ["attribute", "--model", "run", "--prompt", PROMPT, "--out", "out", "--backend", "fake", "--allow-tf32"];
    let output = run(&workshop, &args);
    assert_eq!(
        (output.status.code(), stdout(&output)),
        (Some(7), format!("{}\n", args.join(" "))),
        "{}",
        stderr(&output)
    );
}

#[test]
fn what_a_plugin_cannot_do_is_known_before_it_runs() {
    let workshop = Workshop::small();
    script(&workshop, "fake", &report("fake", VERSION), "echo started");
    let base = ["attribute", "--model", "run", "--prompt", PROMPT, "--out", "out", "--backend", "fake"];
    for (more, expected) in [
        (["--dtype", "f64"], "its device cuda:0 does not compute in f64, only in f32"),
        (["--device", "cuda:1"], "it has no device \"cuda:1\"; its devices are cuda:0"),
    ] {
        let output = run(&workshop, &[&base[..], &more].concat());
        assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(1), ""));
        assert!(stderr(&output).contains(expected), "{}", stderr(&output));
    }
}

#[test]
fn broken_plugins_are_explained_and_touch_nothing_else() {
    let workshop = Workshop::small();
    let loader = "echo 'x: error while loading shared libraries: libtorch_cpu.so: cannot open' >&2; exit 127";
    let cases = [
        ("old", report("old", "0.0.1"), "it was built from tributary 0.0.1, and this is"),
        ("unlinked", loader.to_owned(), "error while loading shared libraries: libtorch_cpu.so"),
        ("chatty", "echo hello; exit 0".to_owned(), "does not answer as a backend of tributary"),
        ("empty", "echo '{}'; exit 0".to_owned(), "does not answer as a backend of tributary"),
        ("renamed", report("original", VERSION), "it calls itself \"original\""),
        ("crashing", "kill -SEGV $$".to_owned(), "it does not start: it says nothing (signal: 11"),
    ];
    let nothing = r#"echo '{"name":"blank","description":"","version":"VERSION","tf32":false,"devices":[],"note":null,"unusable_because":null}'; exit 0"#;
    let nothing = nothing.replace("VERSION", VERSION);
    let cases: Vec<_> = cases
        .into_iter()
        .chain([("blank", nothing, "neither a device nor a reason"), ("flood", "exec yes".to_owned(), "does not")])
        .collect();
    for (name, report, _) in &cases {
        script(&workshop, name, report, "echo started");
    }
    fs::write(workshop.path("tributary-backend-data"), "not executable").unwrap();
    let listed = succeed(&run(&workshop, &["backends", "--json"]));
    let listed: Value = serde_json::from_str(&listed).unwrap();
    let entry = |name: &str| listed["backends"].as_array().unwrap().iter().find(|entry| entry["name"] == name);
    for (name, _, expected) in &cases {
        let output =
            run(&workshop, &["attribute", "--model", "run", "--prompt", PROMPT, "--out", "out", "--backend", name]);
        assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(1), ""), "{name}");
        assert!(stderr(&output).contains(expected), "{name}: {}", stderr(&output));
        assert!(!workshop.path("out").exists());
        let entry = entry(name).unwrap();
        assert!(entry["unusable_because"].as_str().unwrap().contains(expected), "{entry}");
        assert_eq!(entry["path"], workshop.path(format!("tributary-backend-{name}")).display().to_string());
    }
    assert!(entry("data").is_none(), "a file that is not executable is no plugin");
    for name in ["ndarray", "flex"] {
        assert_eq!(entry(name).unwrap()["devices"][0]["name"], "cpu");
        assert!(entry(name).unwrap()["devices"][0]["memory"].as_u64().unwrap() > 1 << 20);
    }
    succeed(&run(&workshop, &["attribute", "--model", "run", "--prompt", PROMPT, "--out", "out", "--device", "cpu"]));
}

/// The executable's own folder comes before PATH; a plugin beside it needs no PATH at all.
#[test]
fn plugins_are_found_beside_the_executable_first() {
    let workshop = Workshop::small();
    let beside = workshop.path("bin");
    fs::create_dir(&beside).unwrap();
    let executable = beside.join("tributary");
    fs::copy(env!("CARGO_BIN_EXE_tributary"), &executable).unwrap();
    script(&workshop, "fake", &report("fake", VERSION), "echo from PATH");
    script(&workshop, "near", &report("near", VERSION), "echo from PATH");
    for name in ["fake", "near"] {
        let plugin = format!("tributary-backend-{name}");
        let text = fs::read_to_string(workshop.path(&plugin)).unwrap().replace("from PATH", "from beside");
        fs::write(beside.join(&plugin), text).unwrap();
        fs::set_permissions(beside.join(plugin), fs::Permissions::from_mode(0o755)).unwrap();
    }
    fs::remove_file(workshop.path("tributary-backend-near")).unwrap();
    for name in ["fake", "near"] {
        let mut command = Command::new(&executable);
        command.args(["attribute", "--model", "run", "--prompt", PROMPT, "--out", "out", "--backend", name]);
        command.env("PATH", format!("{}:/usr/bin:/bin", workshop.path("").display())).current_dir(workshop.path(""));
        let output = command.output().unwrap();
        assert_eq!(stdout(&output), "from beside\n", "{}", stderr(&output));
    }
}

/// Without a GPU it is a CPU backend, named on stderr with the reason; with one it is that.
#[test]
fn auto_says_what_it_took_and_why() {
    let workshop = Workshop::small();
    let args = ["attribute", "--model", "run", "--prompt", PROMPT, "--out", "out"];
    let output = workshop.tributary(&[&args[..], &["--device", "cpu", "--json"]].concat());
    let line: Value = serde_json::from_str(&succeed(&output)).unwrap();
    assert_eq!(line["backend"], "flex");
    assert!(stderr(&output).contains("backend flex on cpu, the first usable; not cuda: "), "{}", stderr(&output));
    let tf32 = workshop.tributary(&[&args[..], &["--device", "cpu", "--allow-tf32"]].concat());
    assert_eq!(tf32.status.code(), Some(1));
    let message = stderr(&tf32);
    assert!(message.contains("no backend can be used") && message.contains("no TF32 products on cpu"), "{message}");
    let missing = workshop.tributary(&[&args[..], &["--backend", "abacus"]].concat());
    assert!(stderr(&missing).contains("no executable tributary-backend-NAME"), "{}", stderr(&missing));
}
