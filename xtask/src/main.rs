//! `cargo xtask`: what building and testing tributary takes beyond cargo.

mod bench;
mod command;
mod gpu_kit;
mod libtorch;

use std::process::ExitCode;

use command::{cargo, run};

const USAGE: &str = "\
cargo xtask COMMAND

  test [--backend NAME] [ARGS...]   run all tests, or the suites of one backend; ARGS go to `cargo test`
  install tch|cuda [ARGS...]        build a plugin and install it; ARGS go to `cargo install`
  libtorch                          find or fetch libtorch and print where it is
  bench [NAME] [ARGS...]            run all benchmarks, or one: stages, peer, growth, large; ARGS go to it
  gpu-kit                           pack the checks for a machine with a GPU into target/gpu-kit
";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let outcome = match args.as_slice() {
        ["test", "--backend", name, more @ ..] => test_backend(name, more),
        ["test", more @ ..] => test(more),
        ["install", name @ ("tch" | "cuda"), more @ ..] => install(name, more),
        ["libtorch"] => libtorch::prepare().map(|path| println!("{}", path.display())),
        ["bench", more @ ..] => bench::all_or_one(more),
        ["gpu-kit"] => gpu_kit::build(),
        _ => Err(USAGE.to_owned()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

/// Every backend and plugin is built and tested, whatever the machine can compute on.
fn test(more: &[&str]) -> Result<(), String> {
    libtorch::prepare()?;
    run(cargo().args(["test", "--workspace", "--all-features", "--locked"]).args(more))
}

const BACKENDS: [&str; 4] = ["ndarray", "flex", "tch", "cuda"];

/// Tests of one backend begin with its name; the suites that hold them are the same for all.
fn test_backend(name: &str, more: &[&str]) -> Result<(), String> {
    if !BACKENDS.contains(&name) {
        return Err(format!("no backend {name:?} here; there are {}", BACKENDS.join(", ")));
    }
    libtorch::prepare()?;
    let suites = ["--test", "conformance", "--test", "golden", "--test", "equivalence", "--test", "plugin"];
    let filter = if more.contains(&"--") { vec![] } else { vec!["--"] };
    run(cargo()
        .args(["test", "--workspace", "--all-features", "--locked"])
        .args(suites)
        .args(more)
        .args(filter)
        .arg(format!("{name}_")))
}

fn install(name: &str, more: &[&str]) -> Result<(), String> {
    let mut command = cargo();
    command.args(["install", "--locked", "--path", &format!("cli/plugins/{name}")]);
    if name == "tch" {
        libtorch::prepare()?;
        command.args(["--features", "libtorch"]);
    }
    run(command.args(more))
}
