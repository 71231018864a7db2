//! Attributions at the target model's activations: by the number of sets, and beside the same computation in PyTorch.

use std::path::{Path, PathBuf};

use comfy_table::{CellAlignment, Table};
use serde_json::Value;
use tributary_backend::AttributionBackend;
use tributary_engine::{Cost, DeltaGradient, Forward, Method, Model, Request, Sets, attribute, outline, stream};
use tributary_inputs::{RunOptions, TrainedRun};
use tributary_model::{CiSet, Thresholds};
use tributary_results::RunInfo;

use crate::Failure;
use crate::median::median;
use crate::peer::pinned;
use crate::stages::{Discard, run_info, write_results};

#[derive(Debug, clap::Args)]
pub(crate) struct TargetArgs {
    /// Folder of the trained run
    #[arg(long, default_value = "tests/models/llama-3L-global")]
    model: PathBuf,
    /// Folder with `ci_sets.json`, of one prompt, and `case.json`, which says where each set ends
    #[arg(long, default_value = "tests/golden_target/llama-3L-global/short")]
    case: PathBuf,
    /// The peer, a script that takes the run and the case
    #[arg(long)]
    script: Option<PathBuf>,
    /// A Python with torch, safetensors, numpy and pyyaml
    #[arg(long, env = "PYTHON", default_value = "python3")]
    python: PathBuf,
    #[arg(long, default_value_t = 21)]
    rounds: usize,
    #[arg(long, default_value_t = 1)]
    pub(crate) threads: usize,
}

/// Milliseconds of one number of sets.
struct Row {
    sets: usize,
    /// Masked forward passes, logits and softmax of all sets.
    masked: f64,
    stopped: f64,
    through: f64,
}

pub(crate) fn run(args: &TargetArgs) -> Result<(), Failure> {
    let run = TrainedRun::load(&args.model, &RunOptions::default())?;
    let sets = run.ci_sets(&args.case.join("ci_sets.json"), &[])?.sets;
    let case: Value = serde_json::from_str(&std::fs::read_to_string(args.case.join("case.json"))?)?;
    let last = |set: &CiSet| case["sets"][&set.name]["loss_seq_pos"].as_u64().map(|last| last as usize);
    let until: Vec<Option<usize>> = sets.iter().map(last).collect();
    let run_info = run_info(&run.weights);
    let model = Model::upload(tributary_flex::f32(), run.weights)?;
    println!(
        "{} with {}, {} positions, flex f32, {} threads, medians of {} rounds, milliseconds from inputs ready to values\n",
        args.model.display(),
        args.case.display(),
        sets[0].prompt.tokens.len(),
        args.threads,
        args.rounds
    );

    let one = Work { model: &model, sets: &sets[..1], until: &until[..1], rounds: args.rounds };
    let masked_graph = one.measure(Forward::Masked, Thresholds::MASKED)?;
    let mut rows = Vec::new();
    for count in 1..=sets.len() {
        let work = Work { model: &model, sets: &sets[..count], until: &until[..count], rounds: args.rounds };
        let of = |forward| work.measure(forward, Thresholds::TARGET);
        rows.push(Row {
            sets: count,
            masked: of(Forward::Masked)?.forward,
            stopped: of(Forward::Target(DeltaGradient::Stopped))?.attribution,
            through: of(Forward::Target(DeltaGradient::Through))?.attribution,
        });
    }
    let mut table = Table::new();
    table.load_style(comfy_table::presets::UTF8_HORIZONTAL_ONLY);
    table.set_header([
        "sets",
        "their masked forward passes, outputs",
        "stopped",
        "the rest of it",
        "through",
        "the rest of it",
    ]);
    for Row { sets, masked, stopped, through } in &rows {
        let values = [*masked, *stopped, stopped - masked, *through, through - masked];
        table.add_row([sets.to_string()].into_iter().chain(values.map(|value| format!("{value:.2}"))));
    }
    for column in 0..6 {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    println!("{table}\n");
    let (first, all) = (&rows[0], &rows[rows.len() - 1]);
    println!(
        "masked, one set        {:9.2} ms; with the masked forward passes of all sets {:.2} ms, of which stopped takes {:.2}",
        masked_graph.attribution,
        masked_graph.attribution + all.masked,
        all.stopped / (masked_graph.attribution + all.masked)
    );
    let copies = |count: usize| -> Vec<CiSet> {
        (0..count).map(|at| CiSet { name: format!("copy_{at}"), ..sets[0].clone() }).collect()
    };
    let (one_of_it, many) = (copies(1), copies(COPIES + 1));
    let last = vec![until[0]; COPIES + 1];
    let further = |measure: &dyn Fn(&Work<'_, _>) -> Result<f64, Failure>| -> Result<f64, Failure> {
        let of = |sets| measure(&Work { model: &model, sets, until: &last, rounds: args.rounds });
        Ok((of(&many)? - of(&one_of_it)?) / COPIES as f64)
    };
    let (alone, writing) = (further(&|work| work.outline())?, further(&|work| work.write(&run_info))?);
    println!(
        "a further set that has what the first has: its masked forward pass, outputs and nodes alone {alone:.2} ms, writing it \
         {writing:.2} ms;"
    );
    for gradient in [DeltaGradient::Stopped, DeltaGradient::Through] {
        let of = further(&|work| Ok(work.measure(Forward::Target(gradient), Thresholds::TARGET)?.attribution))?;
        let ratio = (of + writing) / (alone + writing);
        println!("    {gradient:?} {of:.2} ms, with writing {ratio:.3} times what these take together");
    }
    println!("through, one set       {:9.2} ms, {:.2} times stopped", first.through, first.through / first.stopped);
    let Some(script) = &args.script else {
        println!("SKIPPED: the comparison with PyTorch: name a script with --script");
        return Ok(());
    };
    for (delta, mode, ours) in [("through", "batched", all.through), ("stopped", "packed", all.stopped)] {
        let seconds = peer(args, script, delta, mode)?;
        println!(
            "peer, {delta}, {mode:8} {:9.2} ms, {:.1} times tributary's {ours:.2} ms",
            1e3 * seconds,
            1e3 * seconds / ours
        );
    }
    Ok(())
}

/// Further sets with what the first has.
const COPIES: usize = 8;

/// Medians, in milliseconds.
struct Measured {
    attribution: f64,
    /// Of it: forward passes and outputs.
    forward: f64,
}

struct Work<'a, B: AttributionBackend> {
    model: &'a Model<B>,
    sets: &'a [CiSet],
    until: &'a [Option<usize>],
    rounds: usize,
}

impl<B: AttributionBackend> Work<'_, B> {
    fn measure(&self, forward: Forward, thresholds: Thresholds) -> Result<Measured, Failure> {
        let Self { model, sets, until, .. } = *self;
        let sets = Sets::Given(sets);
        let request =
            Request { thresholds, forward, method: Method::Mixed, until, ghosts: false, ..Request::new(sets) };
        let costs = self.costs(&|| Ok(stream(model, &request, &mut Discard, &mut |_| {})?))?;
        Ok(Measured {
            attribution: milliseconds(&costs, |cost| cost.timings.attribution),
            forward: milliseconds(&costs, |cost| cost.timings.forward + cost.timings.output),
        })
    }

    /// Milliseconds of all but the attributions, in the masked model.
    fn outline(&self) -> Result<f64, Failure> {
        let Self { model, sets, until, .. } = *self;
        let request =
            Request { thresholds: Thresholds::TARGET, until, ghosts: false, ..Request::new(Sets::Given(sets)) };
        let costs = self.costs(&|| Ok(outline(model, &request, &mut Discard, &mut |_| {})?))?;
        Ok(milliseconds(&costs, |cost| cost.timings.attribution))
    }

    /// Milliseconds of writing the files of all sets.
    fn write(&self, run: &RunInfo) -> Result<f64, Failure>
    where
        B: AttributionBackend<Element = f32>,
    {
        let Self { model, sets, until, rounds } = *self;
        let forward = Forward::Target(DeltaGradient::Stopped);
        let request = Request {
            thresholds: Thresholds::TARGET,
            forward,
            until,
            ghosts: false,
            ..Request::new(Sets::Given(sets))
        };
        let graphs = attribute(model, &request, &mut |_| {})?.sets;
        let round = |_| -> Result<f64, Failure> {
            let out = tempfile::tempdir()?;
            Ok(write_results(out.path(), &graphs, sets, run.clone())?.run.timings.write)
        };
        Ok(1e3 * median((0..rounds).map(round).collect::<Result<_, _>>()?))
    }

    /// Of every round but the first.
    fn costs(&self, round: &dyn Fn() -> Result<Cost, Failure>) -> Result<Vec<Cost>, Failure> {
        round()?;
        (0..self.rounds).map(|_| round()).collect()
    }
}

fn milliseconds(costs: &[Cost], part: fn(&Cost) -> f64) -> f64 {
    1e3 * median(costs.iter().map(part).collect())
}

/// Seconds of the peer, its best of some.
fn peer(args: &TargetArgs, script: &Path, delta: &str, mode: &str) -> Result<f64, Failure> {
    let output = pinned(&args.python)
        .arg(script)
        .args([&args.model, &args.case])
        .args(["--delta", delta, "--mode", mode, "--repeat", "7"])
        .output()?;
    if !output.status.success() {
        return Err(format!("the peer failed: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    let line: Value = serde_json::from_slice(&output.stdout)?;
    line["seconds"].as_f64().ok_or_else(|| format!("no seconds in {line}").into())
}
