//! Making CI sets: by the number of sets in a batch, and beside the published loop in PyTorch.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde_json::Value;
use tributary_backend::AttributionBackend;
use tributary_engine::{Model, own_importances};
use tributary_inputs::{RunOptions, TrainedRun};
use tributary_model::Prompt;
use tributary_optimize::{Entries, Loss, MaskKind, Objective, Optimizer, Settings, Task, likeliest, target_log_probs};

use crate::Failure;
use crate::median::median;
use crate::peer::{can_run, pinned};
use crate::process::most_held;

#[derive(Debug, clap::Args)]
pub(crate) struct OptimizeArgs {
    /// Folder of the trained run
    #[arg(long, default_value = "tests/models/llama-3L-global")]
    model: PathBuf,
    /// Token ids of the prompt
    #[arg(long, value_delimiter = ',', default_value = "94,85,924,115,242,206,97,196,1608,68,350,85,1081,115")]
    tokens: Vec<u64>,
    /// Repeat these tokens up to so many positions
    #[arg(long)]
    positions: Option<usize>,
    #[arg(long, default_value_t = 8)]
    sets: usize,
    #[arg(long, default_value_t = 40)]
    steps: usize,
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    #[arg(long, default_value_t = 1)]
    pub(crate) threads: usize,
    /// The peer
    #[arg(long, default_value = "bench/peer/optimize.py")]
    script: PathBuf,
    /// A Python with torch, safetensors, numpy and pyyaml
    #[arg(long, env = "PYTHON", default_value = "python3")]
    python: PathBuf,
    /// Leave the peer out
    #[arg(long)]
    no_peer: bool,
}

pub(crate) fn run(args: &OptimizeArgs) -> Result<(), Failure> {
    let run = TrainedRun::load(&args.model, &RunOptions::default())?;
    let positions = args.positions.unwrap_or(args.tokens.len());
    let tokens: Vec<u64> = args.tokens.iter().copied().cycle().take(positions).collect();
    let prompt = run.prompt_of_tokens(&tokens)?;
    let model = Model::upload(tributary_flex::f32(), run.weights)?;
    let tasks = tasks(&model, &prompt, args.sets.max(TWELVE))?;
    println!(
        "{}, {positions} positions, {} entries alive, flex f32, {} threads, medians of {} rounds\n",
        args.model.display(),
        tasks[0].entries.len(),
        args.threads,
        args.rounds
    );
    for masks in [MaskKind::Ci, MaskKind::Stochastic] {
        let settings = Settings { steps: args.steps, masks, ..Settings::default() };
        let of = |tasks: &[Task<'_>]| seconds(&model, &settings, tasks);
        let (mut together, mut twelve, mut alone, mut peers) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for _ in 0..args.rounds {
            together.push(of(&tasks[..args.sets])?);
            if !args.no_peer {
                twelve.push(of(&tasks[..TWELVE])?);
                let one_by_one: Result<Vec<f64>, Failure> =
                    tasks[..TWELVE].iter().map(|task| of(std::slice::from_ref(task))).collect();
                alone.push(one_by_one?.iter().sum());
                peers.extend(peer(args, &model, &prompt, &tasks[0], masks)?);
            }
        }
        let name = format!("{masks:?}").to_lowercase();
        let (steps, sets) = (args.steps as f64, args.sets as f64);
        let together = median(together);
        let floor = multiply_adds(&model, &tasks[..args.sets], positions, masks);
        println!(
            "{name:10} {:9.2} ms a step of {} sets, {:.3} ms for each; {:.2} G multiply-adds are needed, {:.1} G/s",
            1e3 * together / steps,
            args.sets,
            1e3 * together / steps / sets,
            floor / 1e9,
            floor / 1e9 / (together / steps)
        );
        if !twelve.is_empty() {
            let (twelve, alone) = (median(twelve), median(alone));
            println!(
                "{name:10} {:9.2} ms a step of {TWELVE} sets together, {:.2} of the {:.2} ms that they take one by one",
                1e3 * twelve / steps,
                twelve / alone,
                1e3 * alone / steps
            );
        }
        if !peers.is_empty() {
            let of_peer = median(peers) / steps / sets;
            println!(
                "{name:10} {:9.2} ms a step of one set in PyTorch, {:.1} times as long",
                1e3 * of_peer,
                of_peer / (together / steps / sets)
            );
        }
    }
    println!("most memory held: {:.2} GB", most_held("self") as f64 / 1e9);
    Ok(())
}

/// Sets of one prompt that are made together and one by one.
const TWELVE: usize = 12;

fn tasks<'a, B: AttributionBackend>(
    model: &Model<B>,
    prompt: &'a Prompt,
    count: usize,
) -> Result<Vec<Task<'a>>, Failure> {
    let position = prompt.tokens.len() - 1;
    let own = own_importances(model, &[prompt])?.remove(0);
    let entries = Arc::new(Entries::alive(&own.importances, prompt.tokens.len()));
    let target = target_log_probs(model, prompt, position..position + 1)?;
    let label = likeliest(&target[0]);
    let loss = Loss::CrossEntropy;
    let task = Task {
        prompt,
        before_sigmoid: entries.pick(&own.before_sigmoid).into(),
        entries,
        objective: Objective { loss, position, label, against: None, target: target.into() },
        seed: 0,
        sparsity: 0.02,
    };
    Ok((0..count as u64).map(|seed| Task { seed, ..task.clone() }).collect())
}

/// Of all steps; making ready is not among them.
fn seconds<B: AttributionBackend>(model: &Model<B>, settings: &Settings, tasks: &[Task<'_>]) -> Result<f64, Failure> {
    let mut optimizer = Optimizer::new(model, settings.clone(), tasks)?;
    let started = Instant::now();
    while !optimizer.is_done() {
        optimizer.advance()?;
    }
    Ok(started.elapsed().as_secs_f64())
}

/// Products of a step: every component that has a part reads and writes, and passes both gradients back; so does the whole weight
/// where it has one. What is unembedded is little.
fn multiply_adds<B: AttributionBackend>(
    model: &Model<B>,
    tasks: &[Task<'_>],
    positions: usize,
    masks: MaskKind,
) -> f64 {
    let (a, counts) = (model.architecture(), model.component_counts());
    let rows = (tasks.len() * positions) as f64;
    let supports = Entries::supports(tasks.iter().map(|task| &*task.entries));
    let of_layer = |layer| {
        let Some(linear) = a.linear(layer) else { return 0.0 };
        let (reads, writes) = (linear.d_in as f64, linear.d_out as f64);
        match masks {
            MaskKind::Ci => supports.get(&layer).map_or(0, Vec::len) as f64 * (reads + writes),
            MaskKind::Stochastic => counts.get(&layer).copied().unwrap_or(0) as f64 * (reads + writes) + reads * writes,
        }
    };
    let layers: f64 = a.linear_layers().map(of_layer).sum();
    2.0 * rows * layers
}

/// Seconds of the same number of sets and steps in PyTorch, one set at a time; `None`, and a line, where it cannot run.
fn peer<B: AttributionBackend<Element = f32>>(
    args: &OptimizeArgs,
    model: &Model<B>,
    prompt: &Prompt,
    task: &Task<'_>,
    masks: MaskKind,
) -> Result<Option<f64>, Failure> {
    if !can_run(&args.script, &args.python, &["torch", "safetensors", "numpy", "yaml"]) {
        return Ok(None);
    }
    let folder = tempfile::tempdir()?;
    let start = folder.path().join("start.safetensors");
    write_start(model, prompt, &start)?;
    let tokens: Vec<String> = prompt.tokens.iter().map(ToString::to_string).collect();
    let output = pinned(&args.python)
        .arg(&args.script)
        .arg("--model")
        .arg(&args.model)
        .arg("--start")
        .arg(&start)
        .args(["--tokens", &tokens.join(","), "--label", &task.objective.label.to_string()])
        .args(["--masks", if masks == MaskKind::Ci { "ci" } else { "stochastic" }])
        .args(["--steps", &args.steps.to_string(), "--seeds", &args.sets.to_string()])
        .args(["--threads", &args.threads.to_string()])
        .output()?;
    if !output.status.success() {
        return Err(format!("the peer failed: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    let line: Value = serde_json::from_slice(&output.stdout)?;
    line["seconds"].as_f64().map(Some).ok_or_else(|| format!("no seconds in {line}").into())
}

/// What the model's causal-importance function gives before its sigmoid, `[S, C]` by layer.
fn write_start<B: AttributionBackend<Element = f32>>(
    model: &Model<B>,
    prompt: &Prompt,
    path: &Path,
) -> Result<(), Failure> {
    let own = own_importances(model, &[prompt])?.remove(0);
    let positions = prompt.tokens.len();
    let bytes: HashMap<String, (usize, Vec<u8>)> = own
        .before_sigmoid
        .iter()
        .map(|(layer, values)| {
            let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            (layer.to_string(), (values.len() / positions, bytes))
        })
        .collect();
    let views: HashMap<&str, TensorView<'_>> = bytes
        .iter()
        .map(|(layer, (count, bytes))| {
            Ok((layer.as_str(), TensorView::new(Dtype::F32, vec![positions, *count], bytes)?))
        })
        .collect::<Result<_, Failure>>()?;
    Ok(safetensors::serialize_to_file(views, None, path)?)
}
