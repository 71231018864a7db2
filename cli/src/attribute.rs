//! `tributary attribute`: from a run and CI sets to a result folder.

mod dry_run;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use serde_json::Value;
use tributary_backend::{AttributionBackend, Element};
use tributary_engine::{Cost, Method, Model, Request, Sets, Sink, SinkError, stream};
use tributary_inputs::{Fingerprint, RunOptions, TrainedRun};
use tributary_model::{CiSet, Prompt, SetAttributions};
use tributary_results::{Inputs, Manifest, ModelInfo, ResultWriter, RunInfo, Settings, Timings};

use crate::args::{AttributeArgs, RunArgs};
use crate::backend_entry::Selected;
use crate::progress::Reporter;
use crate::task::Task;
use crate::{CliError, console, memory, plot, selected_sets, summary};

/// What is to be computed, whatever the backend.
pub(crate) struct Job<'a> {
    args: &'a AttributeArgs,
    run: TrainedRun,
    input: Input,
    /// `None` for a dry run.
    output: Option<(&'a Path, ResultWriter)>,
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
    // An output that cannot be written to is better known before hours of computation than after.
    let output = match &args.out {
        Some(out) if !args.dry_run => Some((out.as_path(), ResultWriter::create(out, args.force, settings(args))?)),
        _ => None,
    };
    let mut reporter = Reporter::new(args.quiet);
    let started = Instant::now();
    reporter.step(&format!("reading {}", args.model.display()));
    let run = load(&args.model, &args.run)?;
    let input = Input::read(args, &run)?;
    let job = Job { args, run, input, output, reporter, started };
    backend.run(Task::Attribute(Box::new(job)))
}

fn settings(args: &AttributeArgs) -> Settings {
    Settings {
        ci_threshold: args.ci_threshold,
        output_prob_threshold: args.output_prob_threshold,
        method: args.method.name(),
        output_probs: !args.no_output_probs,
        threads: args.compute.threads.map(usize::from),
        implied_index: args.implied_index,
        allow_tf32: args.compute.allow_tf32,
    }
}

/// Loads a trained run as the flags say.
pub(crate) fn load(folder: &Path, args: &RunArgs) -> Result<TrainedRun, CliError> {
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
            let wanted = selected_sets::select(&args.sets, &known, file)?;
            read.sets.retain(|set| wanted.contains(&set.name));
        }
        let metadata = read.sets.iter().map(|set| read.metadata.remove(&set.name)).collect();
        Ok(Self::Sets(read.sets, metadata))
    }

    fn sets(&self) -> Sets<'_> {
        match self {
            Self::Sets(sets, _) => Sets::Given(sets),
            Self::Prompts(prompts) => Sets::ModelCi(prompts),
        }
    }

    /// The prompt of a set.
    fn prompt(&self, set: usize) -> &Prompt {
        match self {
            Self::Sets(sets, _) => &sets[set].prompt,
            Self::Prompts(prompts) => &prompts[set],
        }
    }

    /// What came with a set.
    fn metadata(&self, set: usize) -> Option<Value> {
        match self {
            Self::Sets(_, metadata) => metadata[set].clone(),
            Self::Prompts(_) => None,
        }
    }
}

impl Job<'_> {
    /// Computes everything on `backend`, writes the result folder and says what is in it.
    pub(crate) fn run<B: AttributionBackend>(self, backend: B) -> Result<ExitCode, CliError> {
        let Self { args, run, input, output, mut reporter, started } = self;
        let model = Model::upload(backend, &run.weights)?;
        // They are on the backend now.
        let TrainedRun { fingerprint, tokenizer, weights, .. } = run;
        drop(weights);
        let load = started.elapsed().as_secs_f64();
        let max_memory = args.max_memory.map(|size| size.as_u64()).or_else(memory::default_limit);
        let method = args.method.resolve(&model);
        let request = Request { sets: input.sets(), thresholds: args.thresholds(), method, max_memory };
        let Some((out, writer)) = output else {
            let text = dry_run::describe(args, &model, &request, &input, &mut reporter)?;
            reporter.finish();
            console::print(&text)?;
            return Ok(ExitCode::SUCCESS);
        };
        let mut sink = Output { writer, input: &input };
        let cost = stream(&model, &request, &mut sink, &mut |progress| reporter.engine(progress))?;
        reporter.step(&format!("finishing {}", out.display()));
        sink.writer.name_output_tokens(|token| tokenizer.token_string(token));
        let manifest = sink.writer.finish(run_info(args, &model, method, fingerprint, load, cost))?;
        if args.plot {
            reporter.step("plotting");
            plot::beside(out, args.force)?;
        }
        reporter.finish();
        if let Some(note) = plot::stale(out, &manifest, args.plot) {
            console::say(&note);
        }
        report(args, out, &manifest)?;
        Ok(ExitCode::SUCCESS)
    }
}

fn run_info<B: AttributionBackend>(
    args: &AttributeArgs,
    model: &Model<B>,
    method: Method,
    fingerprint: Fingerprint,
    load: f64,
    cost: Cost,
) -> RunInfo {
    let (info, architecture) = (model.backend().device(), model.architecture());
    RunInfo {
        model: ModelInfo {
            class: architecture.model_class.clone(),
            fingerprint: fingerprint.to_string(),
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
            model_ci: cost.timings.model_ci,
            forward: cost.timings.forward,
            attribution: cost.timings.attribution,
            write: 0.0,
        },
    }
}

fn report(args: &AttributeArgs, out: &Path, manifest: &Manifest) -> Result<(), CliError> {
    if args.json {
        return console::print(&summary::json(out, manifest));
    }
    if args.quiet {
        return Ok(());
    }
    for line in summary::borderline(manifest) {
        console::say(&line);
    }
    console::print(&summary::text(out, manifest))
}

/// Writes graphs as they come.
struct Output<'a> {
    writer: ResultWriter,
    input: &'a Input,
}

impl<E: Element> Sink<E> for Output<'_> {
    fn begin(&mut self, set: usize, graph: SetAttributions<E>) -> Result<(), SinkError> {
        Ok(self.writer.begin_set(set, &graph, self.input.prompt(set), self.input.metadata(set))?)
    }

    fn values(&mut self, set: usize, pair: usize, values: &[E]) -> Result<(), SinkError> {
        Ok(self.writer.write_values(set, pair, values)?)
    }

    fn end(&mut self, set: usize) -> Result<(), SinkError> {
        Ok(self.writer.end_set(set)?)
    }
}
