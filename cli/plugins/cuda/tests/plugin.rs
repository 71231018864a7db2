//! The plugin's executable on a machine without a GPU, or with one that is hidden from it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::{Command, Output};

use serde_json::Value;

fn plugin(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tributary-backend-cuda"));
    // The driver shows no GPU then, if there is a driver.
    command.args(args).env("CUDA_VISIBLE_DEVICES", "").output().unwrap()
}

#[test]
fn cuda_says_what_is_missing() {
    let output = plugin(&["describe-backend"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["name"], "cuda");
    assert_eq!(report["devices"], Value::Array(vec![]));
    let reason = report["unusable_because"].as_str().unwrap();
    assert!(reason.contains("NVIDIA's driver"), "{reason}");
}

#[test]
fn cuda_fails_with_the_explanation_and_writes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../data");
    let (model, sets) = (format!("{example}/gpt2s-2L"), format!("{example}/walked.ci_sets.json"));
    let output = plugin(&["attribute", "--model", &model, "--ci-sets", &sets, "--out", out.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(message.starts_with("error: the backend cuda cannot be used: ") && message.contains("NVIDIA"), "{message}");
    assert!(!message.contains("panicked"), "{message}");
    assert!(!out.exists());
}
