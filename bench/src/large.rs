//! One run whose result does not fit into the memory it is allowed.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde_json::Value;
use tributary_inputs::test_support::{Style, write_run};

use crate::Failure;
use crate::generated::{Alive, Size, write_ci_sets};
use crate::process::{Finished, built_command, file_size, tributary};

const N_BLOCKS: usize = 4;

#[derive(Debug, clap::Args)]
pub(crate) struct LargeArgs {
    /// Memory allowed beside the model
    #[arg(long, default_value = "2GB")]
    max_memory: String,
    #[arg(long, default_value_t = 512)]
    positions: usize,
    #[arg(long, default_value_t = 8)]
    sets: usize,
    /// Where the run, its CI sets and the result are kept; a temporary folder otherwise
    #[arg(long)]
    keep: Option<PathBuf>,
}

pub(crate) fn run(args: &LargeArgs) -> Result<(), Failure> {
    let temporary = tempfile::tempdir()?;
    let folder = args.keep.as_deref().unwrap_or(temporary.path());
    let (run, sets) = (folder.join("run"), folder.join("ci_sets.json"));
    generate(args, &run, &sets)?;
    println!(
        "generated: checkpoint {:.1} MB, CI sets {:.1} MB of JSON, {} positions, {} sets; --max-memory {}",
        file_size(&run.join("model_1.pth"))? as f64 / 1e6,
        file_size(&sets)? as f64 / 1e6,
        args.positions,
        args.sets,
        args.max_memory
    );
    let attribute = |more: &[&str]| {
        let mut command = tributary(&built_command()?);
        command.args(["--backend", "flex", "--max-memory", &args.max_memory, "--model"]).arg(&run);
        Finished::run(command.arg("--ci-sets").arg(&sets).args(more))
    };
    let plan = attribute(&["--dry-run"])?.printed;
    let number = |line: &Value, key: &str| line[key].as_u64().ok_or_else(|| format!("no {key:?} in {line}"));
    let edges = number(&plan, "edges")?;
    println!(
        "planned: {edges} edges, {:.2} GB of files, {:.2} GB of memory beside the model, {} batches",
        number(&plan, "bytes")? as f64 / 1e9,
        number(&plan, "memory")? as f64 / 1e9,
        plan["batches"]
    );
    // What is planned, within --max-memory, is beside the model and the CI sets.
    let inputs = args.sets * args.positions * 6 * N_BLOCKS * size(args).components * size_of::<f32>();
    let allowed = number(&plan, "memory")? + file_size(&run.join("model_1.pth"))? + inputs as u64;
    for flags in [&["--implied-index"][..], &[]] {
        let out = folder.join("out");
        let out_text = out.to_string_lossy();
        let out_flag = [&["--force", "--out", &out_text], flags].concat();
        let Finished { printed: done, peak, seconds } = attribute(&out_flag)?;
        let mut bytes = 0;
        for set in done["sets"].as_array().into_iter().flatten() {
            bytes += file_size(&out.join(set["file"].as_str().unwrap_or_default()))?;
        }
        let floor = write_floor(&folder.join("floor"), bytes)?;
        let timings = &done["timings"];
        println!(
            "{}: {:.2} GB in {seconds:.1} s (load {:.1}, attribution {:.1} of which forward {:.2}, write {:.1}); the same \
             bytes with nothing else done {floor:.1} s; peak memory {:.2} GB",
            if flags.is_empty() { "with index" } else { "implied index" },
            bytes as f64 / 1e9,
            timings["load"].as_f64().unwrap_or(f64::NAN),
            timings["attribution"].as_f64().unwrap_or(f64::NAN),
            timings["forward"].as_f64().unwrap_or(f64::NAN),
            timings["write"].as_f64().unwrap_or(f64::NAN),
            peak as f64 / 1e9
        );
        fs::remove_dir_all(&out)?;
        if peak > allowed {
            let (peak, allowed) = (peak as f64 / 1e9, allowed as f64 / 1e9);
            return Err(format!("the peak of {peak:.2} GB is more than what was planned, {allowed:.2} GB").into());
        }
    }
    Ok(())
}

fn size(args: &LargeArgs) -> Size {
    Size {
        n_blocks: N_BLOCKS,
        d_model: 128,
        components: 650,
        vocab: 4019,
        positions: args.positions,
        sets: args.sets,
        alive: Alive { mlp: 60, o_proj: 15, qkv: 5 },
    }
}

fn generate(args: &LargeArgs, run: &Path, sets: &Path) -> Result<(), Failure> {
    let size = size(args);
    fs::create_dir_all(run)?;
    let weights = size.weights();
    write_run(run, &weights, Style::Current);
    let mut out = BufWriter::new(File::create(sets)?);
    write_ci_sets(&size.ci_sets(&weights.architecture.linear_layers().collect::<Vec<_>>()), &mut out)?;
    out.flush()?;
    Ok(())
}

/// Seconds of writing as many bytes.
fn write_floor(file: &Path, bytes: u64) -> Result<f64, Failure> {
    let block: Vec<u8> = (0..1 << 20).map(|at: u32| at.wrapping_mul(2_654_435_761).to_le_bytes()[3]).collect();
    let started = Instant::now();
    let mut out = File::create(file)?;
    let mut left = bytes;
    while left > 0 {
        let now = left.min(block.len() as u64);
        out.write_all(&block[..now as usize])?;
        left -= now;
    }
    drop(out);
    let seconds = started.elapsed().as_secs_f64();
    fs::remove_file(file)?;
    Ok(seconds)
}
