//! Beside the same computation in PyTorch, taking turns.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use serde_json::Value;
use tributary_model::Thresholds;

use crate::Failure;
use crate::median::median;

/// How often the command runs for each run of the peer, which takes a hundred times as long.
const TURNS: usize = 7;

#[derive(Debug, clap::Args)]
pub(crate) struct PeerArgs {
    /// Folder of the trained run
    #[arg(long, default_value = "data/gpt2s-2L")]
    model: PathBuf,
    /// CI sets of one prompt
    #[arg(long, default_value = "data/story.ci_sets.json")]
    ci_sets: PathBuf,
    #[arg(long, default_value_t = Thresholds::default().output_prob)]
    output_prob_threshold: f64,
    /// The peer
    #[arg(long, default_value = "bench/peer/local_attributions.py")]
    script: PathBuf,
    /// A Python with torch, tokenizers, safetensors, numpy and pyyaml
    #[arg(long, env = "PYTHON", default_value = "python3")]
    python: PathBuf,
    #[arg(long, default_value_t = 3)]
    rounds: usize,
}

pub(crate) fn run(args: &PeerArgs) -> Result<(), Failure> {
    if !can_run(&args.script, &args.python, &["torch", "tokenizers", "safetensors", "numpy", "yaml"]) {
        return Ok(());
    }
    let (mut loops, mut vmaps, mut ours, mut wholes) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut edges = [0, 0];
    for round in 0..args.rounds {
        for (mode, times) in [("loop", &mut loops), ("vmap", &mut vmaps)] {
            let line = peer(args, mode)?;
            times.push(number(&line, "seconds")?);
            edges[0] = line["edges"].as_u64().unwrap_or(0);
            for _ in 0..TURNS {
                let (attribution, whole, found) = tributary(args)?;
                ours.push(attribution);
                wholes.push(whole);
                edges[1] = found;
            }
        }
        eprintln!("round {} of {}", round + 1, args.rounds);
    }
    if edges[0] != edges[1] {
        return Err(format!("the peer finds {} edges and tributary {}", edges[0], edges[1]).into());
    }
    let (loops, vmaps, ours, whole) = (median(loops), median(vmaps), median(ours), median(wholes));
    println!("{} with {}, one thread each, {} edges, medians", args.model.display(), args.ci_sets.display(), edges[0]);
    println!("peer, loop             {loops:9.3} s");
    println!("peer, vmap             {vmaps:9.3} s");
    println!(
        "tributary, attribution {ours:9.4} s  {:.0} times faster than the peer's faster mode",
        loops.min(vmaps) / ours
    );
    println!("tributary, whole       {whole:9.4} s  from start to files written, reading included");
    Ok(())
}

fn number(line: &Value, key: &str) -> Result<f64, Failure> {
    line[key].as_f64().ok_or_else(|| format!("no number {key:?} in {line}").into())
}

/// Whether a peer is there and Python has the modules that it imports; says so where not.
pub(crate) fn can_run(script: &Path, python: &Path, modules: &[&str]) -> bool {
    let imports = Command::new(python).args(["-c", &format!("import {}", modules.join(", "))]).output();
    let can_run = script.is_file() && imports.is_ok_and(|output| output.status.success());
    if !can_run {
        println!(
            "SKIPPED: the comparison with PyTorch, because {} is not there, or {} has not all of {}; name another with PYTHON or \
             --python",
            script.display(),
            python.display(),
            modules.join(", ")
        );
    }
    can_run
}

/// On one core, where the system can say so.
pub(crate) fn pinned(program: &Path) -> Command {
    let mut command = if Command::new("taskset").arg("--version").output().is_ok() {
        let mut command = Command::new("taskset");
        command.args(["--cpu-list", "0"]).arg(program);
        command
    } else {
        Command::new(program)
    };
    command.env("OMP_NUM_THREADS", "1");
    command
}

fn peer(args: &PeerArgs, mode: &str) -> Result<Value, Failure> {
    let output = pinned(&args.python)
        .arg(&args.script)
        .arg("--model")
        .arg(&args.model)
        .arg("--ci-sets")
        .arg(&args.ci_sets)
        .args(["--mode", mode, "--threads", "1", "--output-prob-threshold", &args.output_prob_threshold.to_string()])
        .output()?;
    if !output.status.success() {
        return Err(format!("the peer failed: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// Seconds of the attribution stage, seconds of the whole process, and edges.
fn tributary(args: &PeerArgs) -> Result<(f64, f64, u64), Failure> {
    let out = tempfile::tempdir()?;
    let command = std::env::current_exe()?.with_file_name("tributary");
    let started = Instant::now();
    let output = pinned(&command)
        .args(["attribute", "--backend", "flex", "--threads", "1", "--json", "--quiet", "--out"])
        .arg(out.path().join("out"))
        .arg("--model")
        .arg(&args.model)
        .arg("--ci-sets")
        .arg(&args.ci_sets)
        .args(["--output-prob-threshold", &args.output_prob_threshold.to_string()])
        .output()?;
    let whole = started.elapsed().as_secs_f64();
    let line: Value = serde_json::from_slice(&output.stdout)?;
    let edges = line["sets"].as_array().into_iter().flatten().filter_map(|set| set["edges"].as_u64()).sum();
    Ok((number(&line["timings"], "attribution")?, whole, edges))
}
