//! A backend from outside this repository, built as `docs/backends.md` says and run by the stock command.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::attribute::{assert_same, read, succeed};
use crate::workshop::Workshop;

/// The first block of code in `language` after `heading`.
fn block(text: &str, heading: &str, language: &str) -> String {
    let section = text.split_once(heading).expect("the heading").1;
    let block = section.split_once(&format!("```{language}\n")).expect("the block").1;
    block.split_once("```").expect("its end").0.to_owned()
}

#[test]
fn a_backend_from_outside_is_built_by_the_book_and_runs() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let docs = fs::read_to_string(root.join("docs/backends.md")).unwrap();
    let package = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(package.path().join(name), text).unwrap();
    let copy = |from: &str, to: &str| fs::copy(root.join(from), package.path().join(to)).unwrap();
    fs::create_dir_all(package.path().join("src/naive")).unwrap();
    let manifest = block(&docs, "## Making it a plugin", "toml");
    // Only what is built with is left of the workspace's lock file; so versions are those that are known to be here.
    copy("Cargo.lock", "Cargo.lock");
    write("Cargo.toml", &manifest.replace("/path/to/tributary", root.to_str().unwrap()));
    write("src/main.rs", &block(&docs, "## Making it a plugin", "rust,ignore"));
    copy("tests/support/naive.rs", "src/naive.rs");
    for file in ["index.rs", "tape.rs"] {
        copy(&format!("tests/support/naive/{file}"), &format!("src/naive/{file}"));
    }

    // Beside the workspace's own output, so that only the first run builds everything.
    let target = Path::new(env!("CARGO_BIN_EXE_tributary")).ancestors().nth(2).unwrap().join("outside");
    let mut build = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    build.args(["build", "--offline", "--quiet"]).current_dir(package.path()).env("CARGO_TARGET_DIR", &target);
    // Gigabytes of what this build is not asked for.
    build.env("CARGO_INCREMENTAL", "0").env("CARGO_PROFILE_DEV_DEBUG", "0");
    let output = build.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    let workshop = Workshop::small();
    let run = |args: &[&str]| {
        let path = format!("{}:{}", target.join("debug").display(), std::env::var("PATH").unwrap());
        workshop.command(args).env("PATH", path).output().unwrap()
    };
    let listed: Value = serde_json::from_str(&succeed(&run(&["backends", "--json"]))).unwrap();
    let naive = listed["backends"].as_array().unwrap().iter().find(|entry| entry["name"] == "naive").unwrap();
    assert_eq!((&naive["devices"][0]["dtypes"][0], &naive["unusable_because"]), (&"f64".into(), &Value::Null));

    let attribute = ["attribute", "--model", "run", "--ci-sets", "sets.json", "--backend", "naive", "--out", "naive"];
    succeed(&run(&[&attribute[..], &["--dtype", "f64"]].concat()));
    succeed(&workshop.attribute(&["--dtype", "f64"]));
    assert_same(&read(&workshop, "naive", "low"), &read(&workshop, "out", "low"));
    let f32 = run(&[&attribute[..], &["--force"]].concat());
    assert!(String::from_utf8_lossy(&f32.stderr).contains("does not compute in f32, only in f64"));
    succeed(&run(&["verify", "naive", "--backend", "naive"]));
}
