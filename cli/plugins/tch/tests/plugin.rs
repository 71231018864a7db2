//! The plugin's executable, started as the stock command starts it and as a user may start it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::Command;

use serde_json::Value;

const PLUGIN: &str = env!("CARGO_BIN_EXE_tributary-backend-tch");

/// Also: it finds libtorch without help from the environment.
#[test]
fn tch_describes_itself() {
    let output = Command::new(PLUGIN).arg("describe-backend").env_remove("LD_LIBRARY_PATH").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&report["name"], &report["version"]), (&"tch".into(), &env!("CARGO_PKG_VERSION").into()));
    let devices = report["devices"].as_array().unwrap();
    assert_eq!(devices.last().unwrap()["name"], "cpu");
    if devices.len() == 1 {
        assert!(report["note"].as_str().unwrap().starts_with("no GPU: "), "{report}");
    }
}

#[test]
fn tch_does_the_main_job_by_itself() {
    let folder = tempfile::tempdir().unwrap();
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../data");
    let run = |more: &[&str]| {
        let mut command = Command::new(PLUGIN);
        command.env_remove("LD_LIBRARY_PATH").args(["attribute", "--quiet", "--device", "cpu"]);
        command.args([
            "--model",
            &format!("{example}/gpt2s-2L"),
            "--ci-sets",
            &format!("{example}/walked.ci_sets.json"),
        ]);
        command.arg("--out").arg(folder.path().join("out")).args(more).output().unwrap()
    };
    let output = run(&["--threads", "1"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let manifest = std::fs::read(folder.path().join("out/manifest.json")).unwrap();
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    assert_eq!((&manifest["backend"], &manifest["device"]), (&"tch".into(), &"cpu".into()));

    let other = run(&["--backend", "flex"]);
    assert_eq!(other.status.code(), Some(1));
    let message = String::from_utf8_lossy(&other.stderr);
    assert!(message.contains("this is the backend tch alone"), "{message}");
    let tf32 = run(&["--allow-tf32", "--force"]);
    assert_eq!(tf32.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&tf32.stderr).contains("no TF32 products on cpu"));
}
