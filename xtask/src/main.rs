//! `cargo xtask`: what building and testing tributary takes beyond cargo.

#![allow(clippy::print_stderr, clippy::print_stdout, reason = "it talks to a terminal")]

mod bench;
mod command;
mod fuzz;
mod gpu_kit;
mod libtorch;
mod test;

use std::process::ExitCode;

use command::{cargo, run};

const USAGE: &str = "\
cargo xtask COMMAND

  test [--backend NAME] [ARGS...]   run all tests, or the suites of one backend; ARGS go to `cargo test`
  test --gpu [--backend NAME] ...   run what is left out otherwise because it needs a GPU
  install tch|cuda [ARGS...]        build a plugin and install it; ARGS go to `cargo install`
  libtorch                          find or fetch libtorch and print where it is
  bench [NAME] [ARGS...]            run all benchmarks, or one: stages, peer, growth, large; ARGS go to it
  fuzz [TARGET...] [--seconds N]    fuzz what reads files, each target for N seconds, 60 unless told
  fuzz TARGET --input FILE          run one input, of a finding
  gpu-kit                           pack the checks for a machine with a GPU into target/gpu-kit
";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let outcome = match args.as_slice() {
        ["test", more @ ..] => test::test(more),
        ["install", name @ ("tch" | "cuda"), more @ ..] => install(name, more),
        ["libtorch"] => libtorch::prepare().map(|path| println!("{}", path.display())),
        ["bench", more @ ..] => bench::all_or_one(more),
        ["fuzz", more @ ..] => fuzz::fuzz(more),
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

fn install(name: &str, more: &[&str]) -> Result<(), String> {
    let mut command = cargo();
    command.args(["install", "--locked", "--path", &format!("cli/plugins/{name}")]);
    if name == "tch" {
        libtorch::prepare()?;
        command.args(["--features", "libtorch"]);
    }
    run(command.args(more))
}
