//! The main job, stage by stage.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use comfy_table::{CellAlignment, Table};
use tributary_backend::{AttributionBackend, Element};
use tributary_engine::{Cost, Method, Model, Request, Sets, Sink, SinkError, attribute, stream};
use tributary_inputs::{CiSetFile, RunOptions, TrainedRun};
use tributary_model::{CiSet, SetAttributions, Thresholds, Weights};
use tributary_results::{Forward, Kind, Manifest, ModelInfo, ResultWriter, RunInfo, Settings};

use crate::Failure;
use crate::median::median;

#[derive(Debug, clap::Args)]
pub(crate) struct StagesArgs {
    /// Folder of the trained run
    #[arg(long, default_value = "data/gpt2s-2L")]
    model: PathBuf,
    /// CI sets of one prompt
    #[arg(long, default_value = "data/story.ci_sets.json")]
    ci_sets: PathBuf,
    #[arg(long, default_value_t = Thresholds::default().output_prob)]
    output_prob_threshold: f64,
    #[arg(long, default_value_t = 21)]
    rounds: usize,
    #[arg(long, default_value_t = 1)]
    pub(crate) threads: usize,
}

pub(crate) fn run(args: &StagesArgs) -> Result<(), Failure> {
    let run = TrainedRun::load(&args.model, &RunOptions::default())?;
    let sets = run.ci_sets(&args.ci_sets, &[])?;
    let thresholds = Thresholds { output_prob: args.output_prob_threshold, ..Thresholds::default() };
    println!(
        "{} with {}, {} threads, median of {} rounds, milliseconds\n",
        args.model.display(),
        args.ci_sets.display(),
        args.threads,
        args.rounds
    );
    let work = Work { weights: &run.weights, sets: &sets, thresholds, rounds: args.rounds };
    let measured =
        [("flex", work.measure(tributary_flex::f32())?), ("ndarray", work.measure(tributary_ndarray::f32())?)];
    let (bytes, write, floor) = work.write()?;

    let mut table = Table::new();
    table.load_style(comfy_table::presets::UTF8_HORIZONTAL_ONLY);
    table.set_header(["stage", "flex", "of forward", "ndarray", "of forward"]);
    let stages: [(&str, Stage); 8] = [
        ("forward", |cost| cost.timings.forward),
        ("output", |cost| cost.timings.output),
        ("residual", |cost| cost.timings.stages.residual),
        ("attention", |cost| cost.timings.stages.attention),
        ("elementwise", |cost| cost.timings.stages.elementwise),
        ("attribution, all of these", |cost| cost.timings.attribution),
        ("model's own CI", |cost| cost.timings.model_ci),
        ("sink (nothing here)", |cost| cost.timings.sink),
    ];
    for (name, stage) in stages {
        let mut row = vec![name.to_owned()];
        for (_, costs) in &measured {
            let of = |stage: Stage| median(costs.iter().map(stage).collect());
            row.extend([format!("{:.2}", 1e3 * of(stage)), format!("{:.2}", of(stage) / of(stages[0].1))]);
        }
        table.add_row(row);
    }
    for column in 1..5 {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    println!("{table}");
    println!(
        "\nwriting: {:.1} MB of result files in {:.2} ms; the same bytes with nothing else done {:.2} ms; ratio {:.2}",
        bytes as f64 / 1e6,
        1e3 * write,
        1e3 * floor,
        write / floor
    );
    Ok(())
}

/// Seconds of one stage.
type Stage = fn(&Cost) -> f64;

struct Work<'a> {
    weights: &'a Weights,
    sets: &'a CiSetFile,
    thresholds: Thresholds,
    rounds: usize,
}

impl Work<'_> {
    fn request(&self) -> Request<'_> {
        let sets = Sets::Given(&self.sets.sets);
        Request { thresholds: self.thresholds, method: Method::ClosedForm, ..Request::new(sets) }
    }

    /// Costs of every round, after one that does not count.
    fn measure<B: AttributionBackend>(&self, backend: B) -> Result<Vec<Cost>, Failure> {
        let model = Model::upload(backend, self.weights.clone())?;
        let round = || stream(&model, &self.request(), &mut Discard, &mut |_| {});
        round()?;
        Ok((0..self.rounds).map(|_| round()).collect::<Result<_, _>>()?)
    }

    /// Bytes of the result files, and median seconds of writing them as results and as bytes alone, in turns.
    fn write(&self) -> Result<(u64, f64, f64), Failure> {
        let model = Model::upload(tributary_flex::f32(), self.weights.clone())?;
        let request = self.request();
        let graphs = attribute(&model, &request, &mut |_| {})?.sets;
        let (mut results, mut floor, mut bytes) = (Vec::new(), Vec::new(), 0);
        for _ in 0..self.rounds {
            let out = tempfile::tempdir()?;
            let started = Instant::now();
            let manifest = write_results(out.path(), &graphs, &self.sets.sets, run_info(self.weights))?;
            results.push(started.elapsed().as_secs_f64());
            let files = manifest.sets.iter().map(|set| fs::metadata(out.path().join(&set.file)).map(|file| file.len()));
            let sizes = files.collect::<Result<Vec<u64>, _>>()?;
            bytes = sizes.iter().sum();
            let block = vec![1; bytes as usize];
            let started = Instant::now();
            for (index, &size) in sizes.iter().enumerate() {
                File::create(out.path().join(format!("floor_{index}")))?.write_all(&block[..size as usize])?;
            }
            floor.push(started.elapsed().as_secs_f64());
        }
        Ok((bytes, median(results), median(floor)))
    }
}

/// Writes graphs of sets to a folder.
pub(crate) fn write_results(
    out: &Path,
    graphs: &[SetAttributions<f32>],
    sets: &[CiSet],
    run: RunInfo,
) -> Result<Manifest, Failure> {
    let mut writer = ResultWriter::create(out, false, settings())?;
    for (index, (graph, set)) in graphs.iter().zip(sets).enumerate() {
        writer.write_set(index, graph, &set.prompt, None)?;
    }
    Ok(writer.finish(run)?)
}

fn settings() -> Settings {
    Settings {
        ci_threshold: 1e-6,
        output_prob_threshold: 0.1,
        method: "auto".to_owned(),
        output_probs: true,
        threads: None,
        implied_index: false,
        allow_tf32: false,
        ghosts: true,
        output_top: None,
        output_targets: tributary_results::OutputTargets::default(),
        forward: Forward::Masked,
        delta: None,
    }
}

pub(crate) fn run_info(weights: &Weights) -> RunInfo {
    RunInfo {
        kind: Kind::Attributions,
        model: ModelInfo {
            class: weights.architecture.model_class.clone(),
            fingerprint: String::new(),
            n_blocks: weights.architecture.n_blocks,
            vocab: weights.architecture.vocab,
            components: weights.component_counts(),
        },
        inputs: None,
        backend: "flex".to_owned(),
        device: "cpu".to_owned(),
        dtype: "f32".to_owned(),
        method: "closed-form".to_owned(),
        deltas: BTreeMap::new(),
        timings: tributary_results::Timings::default(),
    }
}

/// Takes everything and keeps nothing.
pub(crate) struct Discard;

impl<E: Element> Sink<E> for Discard {
    fn begin(&mut self, _set: usize, _graph: SetAttributions<E>) -> Result<(), SinkError> {
        Ok(())
    }

    fn values(&mut self, _set: usize, _pair: usize, _values: &[E]) -> Result<(), SinkError> {
        Ok(())
    }

    fn end(&mut self, _set: usize) -> Result<(), SinkError> {
        Ok(())
    }
}
