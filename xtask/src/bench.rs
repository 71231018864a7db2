//! Benchmarks: the release build of the command, and what measures it.

use std::path::Path;
use std::process::Command;

use crate::command::{cargo, root, run};

/// Cases of `../shared`, which lies beside the repository where its larger cases are at hand.
const SHARED: [(&str, &str, &str); 2] = [("gpt2s-2L-128", "bench", "0.05"), ("gpt2s-2L", "story", "0.1")];

/// One benchmark with its arguments, or all of them.
pub(crate) fn all_or_one(args: &[&str]) -> Result<(), String> {
    run(cargo().args(["build", "--release", "--locked", "-p", "tributary-cli", "-p", "tributary-bench"]))?;
    if !args.is_empty() {
        return bench(args);
    }
    let shared = root().join("../shared");
    let cases: Vec<_> = SHARED.iter().filter(|_| shared.join("golden").is_dir()).collect();
    if cases.is_empty() {
        eprintln!("SKIPPED: the larger cases, because there is no folder ../shared/golden beside the repository");
        for threads in ["1", "2"] {
            bench(&["stages", "--threads", threads])?;
        }
        bench(&["peer"])?;
    }
    for (model, case, prob) in cases {
        let files = files(&shared, model, case);
        let files: Vec<&str> = files.iter().map(String::as_str).chain(["--output-prob-threshold", prob]).collect();
        for threads in ["1", "2"] {
            bench(&[&["stages", "--threads", threads], files.as_slice()].concat())?;
        }
        bench(&[&["peer"], files.as_slice()].concat())?;
    }
    bench(&["target"])?;
    bench(&["optimize"])?;
    bench(&["growth"])?;
    bench(&["large"])?;
    bench(&["published"])
}

fn files(shared: &Path, model: &str, case: &str) -> [String; 4] {
    let path = |path: std::path::PathBuf| path.to_string_lossy().into_owned();
    let sets = shared.join("golden").join(model).join(case).join("ci_sets.json");
    ["--model".to_owned(), path(shared.join("models").join(model)), "--ci-sets".to_owned(), path(sets)]
}

fn bench(args: &[&str]) -> Result<(), String> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), Into::into);
    let mut command = Command::new(target.join("release/tributary-bench"));
    // matrixmultiply, under burn-ndarray, takes the number of its threads from here alone.
    if let Some(at) = args.iter().position(|&arg| arg == "--threads") {
        command.env("MATMUL_NUM_THREADS", args.get(at + 1).unwrap_or(&"1"));
    }
    run(command.args(args).current_dir(root()))
}
