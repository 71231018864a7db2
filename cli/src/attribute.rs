//! `tributary attribute`: from a run and CI sets to a result folder.

use std::time::Instant;

use serde_json::Value;
use tributary_backend::AttributionBackend;
use tributary_engine::{CiSet, Model, Prompt, Sets, attribute};
use tributary_inputs::{RunOptions, TrainedRun};
use tributary_results::{Manifest, ModelInfo, ResultWriter, RunInfo, Settings, Timings};

use crate::args::{AttributeArgs, RunArgs};
use crate::progress::Reporter;
use crate::{BackendEntry, CliError, backend_entry, console, summary, threads};

/// What is to be computed, whatever the backend.
pub(crate) struct Job<'a> {
    args: &'a AttributeArgs,
    run: TrainedRun,
    input: Input,
    writer: ResultWriter,
    reporter: Reporter,
    started: Instant,
}

enum Input {
    /// Sets of a file, each with its metadata.
    Sets(Vec<CiSet>, Vec<Option<Value>>),
    /// Prompts for the model's own causal importances.
    Prompts(Vec<Prompt>),
}

/// A finished job: the manifest of the folder it wrote.
pub(crate) struct Computed {
    pub(crate) manifest: Manifest,
}

pub(crate) fn run(args: &AttributeArgs, backends: &[BackendEntry]) -> Result<(), CliError> {
    // Before anything else, such as looking for devices, may start a thread.
    if let Some(count) = args.threads {
        threads::set(count.into())?;
    }
    let (backend, device) = backend_entry::choose(backends, &args.backend, args.device.as_deref())?;
    let settings = Settings {
        ci_threshold: args.ci_threshold,
        output_prob_threshold: args.output_prob_threshold,
        method: args.method.name(),
        output_probs: !args.no_output_probs,
        threads: args.threads.map(usize::from),
    };
    // An output that cannot be written to is better known before hours of computation than after.
    let writer = ResultWriter::create(&args.out, args.force, settings)?;
    let mut reporter = Reporter::new(args.quiet);
    let started = Instant::now();
    reporter.step(&format!("reading {}", args.model.display()));
    let run = load(&args.model, &args.run)?;
    let input = Input::read(args, &run)?;
    let job = Job { args, run, input, writer, reporter, started };
    let Computed { manifest } = backend.compute(job, args.dtype.into(), &device)?;
    if args.json {
        console::print(&summary::json(&args.out, &manifest))
    } else if args.quiet {
        Ok(())
    } else {
        console::print(&summary::text(&args.out, &manifest))
    }
}

/// Loads a trained run as the flags say.
pub(crate) fn load(folder: &std::path::Path, args: &RunArgs) -> Result<TrainedRun, CliError> {
    let options = RunOptions { target: args.target.as_deref(), tokenizer: args.tokenizer.as_deref() };
    Ok(TrainedRun::load(folder, &options)?)
}

impl Input {
    fn read(args: &AttributeArgs, run: &TrainedRun) -> Result<Self, CliError> {
        let Some(file) = &args.ci_sets else {
            let prompts = args.prompt.iter().map(|text| Ok(run.prompt(text)?));
            return Ok(Self::Prompts(prompts.collect::<Result<_, CliError>>()?));
        };
        let mut read = run.ci_sets(file, &args.prompt)?;
        if !args.sets.is_empty() {
            let known: Vec<&str> = read.sets.iter().map(|set| set.name.as_str()).collect();
            let wanted = wanted_sets(&args.sets, &known).map_err(|name| CliError::UnknownSet {
                file: file.display().to_string(),
                name,
                known: known.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", "),
            })?;
            read.sets.retain(|set| wanted.contains(&set.name));
        }
        let metadata = read.sets.iter().map(|set| read.metadata.remove(&set.name)).collect();
        Ok(Self::Sets(read.sets, metadata))
    }
}

/// The names that `--sets` asks for. A value that is the name of a set is taken whole, so that names may hold commas;
/// others are split at them. `Err` is a name that is not known.
fn wanted_sets(values: &[String], known: &[&str]) -> Result<Vec<String>, String> {
    let mut wanted = Vec::new();
    for value in values {
        let names = if known.contains(&value.as_str()) { vec![value.as_str()] } else { value.split(',').collect() };
        for name in names {
            if !known.contains(&name) {
                return Err(name.to_owned());
            }
            wanted.push(name.to_owned());
        }
    }
    Ok(wanted)
}

impl Job<'_> {
    /// Computes everything on `backend` and writes the result folder.
    pub(crate) fn compute<B: AttributionBackend>(self, backend: B) -> Result<Computed, CliError> {
        let Self { args, run, input, mut writer, mut reporter, started } = self;
        let model = Model::upload(backend, &run.weights)?;
        let load = started.elapsed().as_secs_f64();
        let method = args.method.resolve(&model);
        let (sets, mut metadata) = match &input {
            Input::Sets(sets, metadata) => (Sets::Given(sets), metadata.clone()),
            Input::Prompts(prompts) => (Sets::ModelCi(prompts), vec![None; prompts.len()]),
        };
        let result = attribute(&model, sets, args.thresholds(), method, &mut |progress| reporter.engine(progress))?;
        reporter.step(&format!("writing {}", args.out.display()));
        for (place, set) in result.sets.iter().enumerate() {
            let prompt = match &input {
                Input::Sets(sets, _) => &sets[place].prompt,
                Input::Prompts(prompts) => &prompts[place],
            };
            writer.write_set(place, set, prompt, metadata[place].take())?;
        }
        let info = model.backend().device();
        let architecture = model.architecture();
        let manifest = writer.finish(RunInfo {
            model: ModelInfo {
                class: architecture.model_class.clone(),
                fingerprint: run.fingerprint.to_string(),
                n_blocks: architecture.n_blocks,
                vocab: architecture.vocab,
                components: model.component_counts().clone(),
            },
            backend: info.backend.to_owned(),
            device: info.device,
            dtype: info.dtype.to_string(),
            method: method.name().to_owned(),
            timings: Timings {
                load,
                model_ci: result.timings.model_ci,
                forward: result.timings.forward,
                attribution: result.timings.attribution,
                write: 0.0,
            },
        })?;
        reporter.finish();
        Ok(Computed { manifest })
    }
}
