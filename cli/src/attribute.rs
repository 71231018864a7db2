//! `tributary attribute`: from a run and CI sets to a result folder.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use serde_json::Value;
use tributary_backend::AttributionBackend;
use tributary_engine::{CiSet, Model, Prompt, Sets, attribute};
use tributary_inputs::{RunOptions, TrainedRun};
use tributary_results::{Inputs, ModelInfo, ResultWriter, RunInfo, Settings, Timings};

use crate::args::{AttributeArgs, RunArgs};
use crate::backend_entry::Selected;
use crate::progress::Reporter;
use crate::task::Task;
use crate::{CliError, console, summary};

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

pub(crate) fn run(args: &AttributeArgs, backend: &Selected<'_>) -> Result<ExitCode, CliError> {
    let settings = Settings {
        ci_threshold: args.ci_threshold,
        output_prob_threshold: args.output_prob_threshold,
        method: args.method.name(),
        output_probs: !args.no_output_probs,
        threads: args.compute.threads.map(usize::from),
        allow_tf32: args.compute.allow_tf32,
    };
    // An output that cannot be written to is better known before hours of computation than after.
    let writer = ResultWriter::create(&args.out, args.force, settings)?;
    let mut reporter = Reporter::new(args.quiet);
    let started = Instant::now();
    reporter.step(&format!("reading {}", args.model.display()));
    let run = load(&args.model, &args.run)?;
    let input = Input::read(args, &run)?;
    let job = Job { args, run, input, writer, reporter, started };
    backend.run(Task::Attribute(Box::new(job)))
}

/// Loads a trained run as the flags say.
pub(crate) fn load(folder: &std::path::Path, args: &RunArgs) -> Result<TrainedRun, CliError> {
    let options = RunOptions { target: args.target.as_deref(), tokenizer: args.tokenizer.as_deref() };
    Ok(TrainedRun::load(folder, &options)?)
}

/// Where everything was read from, for whoever wants to go back to it.
fn inputs(args: &AttributeArgs) -> Inputs {
    let absolute = |path: &PathBuf| std::path::absolute(path).unwrap_or_else(|_| path.clone()).display().to_string();
    Inputs {
        model: absolute(&args.model),
        target: args.run.target.as_ref().map(absolute),
        tokenizer: args.run.tokenizer.as_ref().map(absolute),
        ci_sets: args.ci_sets.as_ref().map(absolute),
    }
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
    /// Computes everything on `backend`, writes the result folder and says what is in it.
    pub(crate) fn run<B: AttributionBackend>(self, backend: B) -> Result<ExitCode, CliError> {
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
            inputs: Some(inputs(args)),
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
        if args.json {
            console::print(&summary::json(&args.out, &manifest))?;
        } else if !args.quiet {
            for line in summary::borderline(&manifest) {
                console::say(&line);
            }
            console::print(&summary::text(&args.out, &manifest))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
