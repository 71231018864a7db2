//! `tributary verify`: some edges of a result, computed again in another way.
//!
//! Edges are [drawn](sample) evenly from the pairs of all sets, what leads to their targets is computed, and they and
//! all nodes are [compared](comparison) with what the files hold.

mod comparison;
mod sample;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use tributary_backend::{AttributionBackend, Dtype, Element};
use tributary_compare::CONSENSUS_METHOD;
use tributary_engine::{Method, Model, Request, Sets, attribute_to};
use tributary_inputs::TrainedRun;
use tributary_model::Thresholds;
use tributary_results::{Manifest, ResultFolder};

use self::comparison::Comparison;
use self::sample::StoredSet;
use crate::args::{MethodArg, RunArgs, VerifyArgs};
use crate::attribute::load;
use crate::backend_entry::Selected;
use crate::progress::Reporter;
use crate::task::Task;
use crate::{CliError, console, memory};

/// A verification, ready but for its backend.
pub(crate) struct Job<'a> {
    args: &'a VerifyArgs,
    manifest: Manifest,
    stored: Vec<StoredSet>,
    run: TrainedRun,
    ci_sets: Option<PathBuf>,
    reporter: Reporter,
}

pub(crate) fn run(args: &VerifyArgs, backend: &Selected<'_>) -> Result<ExitCode, CliError> {
    let folder = ResultFolder::open(&args.result)?;
    if folder.manifest().run.method == CONSENSUS_METHOD {
        return Err(CliError::Consensus { result: args.result.display().to_string() });
    }
    let mut reporter = Reporter::new(args.quiet);
    let (model, run_args, ci_sets) = inputs(args, folder.manifest())?;
    reporter.step(&format!("reading {}", model.display()));
    let run = load(&model, &run_args)
        .map_err(|error| moved(error, args, args.model.is_none() && !model.is_dir(), "--model"))?;
    let (found, expected) = (run.fingerprint.to_string(), &folder.manifest().run.model.fingerprint);
    if found != *expected {
        let difference = format!(
            "its files (weights, configurations, tokenizer) have the fingerprint {found}, the result's {expected}; give the \
             right one with --model, --target or --tokenizer"
        );
        return Err(other_input(args, &model, difference));
    }
    reporter.step(&format!("drawing edges of {}", args.result.display()));
    let stored = sample::draw(&folder, args.samples, args.seed)?;
    let manifest = folder.manifest().clone();
    backend.run(Task::Verify(Box::new(Job { args, manifest, stored, run, ci_sets, reporter })))
}

/// Where the run and the CI sets are: the flags, else what the manifest says.
fn inputs(args: &VerifyArgs, manifest: &Manifest) -> Result<(PathBuf, RunArgs, Option<PathBuf>), CliError> {
    let unknown = |what, flag| CliError::UnknownInput { result: args.result.display().to_string(), what, flag };
    let known = manifest.run.inputs.as_ref();
    let path = |path: &String| PathBuf::from(path);
    let model = args.model.clone().or_else(|| known.map(|inputs| path(&inputs.model)));
    let model = model.ok_or_else(|| unknown("which trained run", "--model"))?;
    let ci_sets = match (&args.ci_sets, known) {
        (Some(file), _) => Some(file.clone()),
        (None, Some(inputs)) => inputs.ci_sets.as_ref().map(path),
        (None, None) => return Err(unknown("which CI sets", "--ci-sets")),
    };
    // With another --model, the folders that the result names belong to a run that is elsewhere now.
    let known = known.filter(|_| args.model.is_none());
    let run = RunArgs {
        target: args.run.target.clone().or_else(|| known?.target.as_ref().map(path)),
        tokenizer: args.run.tokenizer.clone().or_else(|| known?.tokenizer.as_ref().map(path)),
    };
    Ok((model, run, ci_sets))
}

/// The error, with what to do where an input is no longer where the result says.
fn moved(error: CliError, args: &VerifyArgs, is_gone: bool, flag: &'static str) -> CliError {
    if is_gone {
        CliError::Moved { source: Box::new(error), result: args.result.display().to_string(), flag }
    } else {
        error
    }
}

fn other_input(args: &VerifyArgs, input: &Path, difference: String) -> CliError {
    CliError::OtherInput { result: args.result.display().to_string(), input: input.display().to_string(), difference }
}

impl Job<'_> {
    /// Computes the sampled edges on `backend` and compares them. Fails by its exit status when they differ.
    pub(crate) fn run<B: AttributionBackend>(self, backend: B) -> Result<ExitCode, CliError> {
        let Self { args, manifest, stored, run, ci_sets, mut reporter } = self;
        let model = Model::upload(backend, &run.weights)?;
        let method = match args.method {
            MethodArg::Auto if manifest.run.method == Method::Autograd.name() => Method::fastest(&model),
            MethodArg::Auto => Method::Autograd,
            method => method.resolve(&model),
        };
        let settings = &manifest.settings;
        let thresholds = Thresholds { ci: settings.ci_threshold, output_prob: settings.output_prob_threshold };
        let targets: Vec<_> = stored.iter().map(|set| set.targets(&manifest.pairs)).collect();
        let mut progress = |progress| reporter.engine(progress);
        let max_memory = memory::default_limit();
        let request = |sets| Request { sets, thresholds, method, max_memory };
        let recomputed = if let Some(file) = &ci_sets {
            let read = run.ci_sets(file, &[]).map_err(CliError::from);
            let mut read =
                read.map_err(|error| moved(error, args, args.ci_sets.is_none() && !file.exists(), "--ci-sets"))?.sets;
            let mut sets = Vec::with_capacity(stored.len());
            for set in &stored {
                let Some(at) = read.iter().position(|read| read.name == set.name) else {
                    return Err(other_input(
                        args,
                        file,
                        format!("it has no set {:?}; give the right file with --ci-sets", set.name),
                    ));
                };
                let read = read.swap_remove(at);
                if let Some(layer) = set.differs_from(&read, thresholds) {
                    let difference = format!(
                        "the causal importances of set {:?} at {layer} are not the result's; give the right file with \
                         --ci-sets",
                        set.name
                    );
                    return Err(other_input(args, file, difference));
                }
                if read.prompt.tokens != manifest.prompts[manifest.sets[sets.len()].prompt].tokens {
                    let difference = format!(
                        "the prompt of set {:?} is not the result's; give the right file with --ci-sets",
                        set.name
                    );
                    return Err(other_input(args, file, difference));
                }
                sets.push(read);
            }
            attribute_to(&model, &request(Sets::Given(&sets)), &targets, &mut progress)?
        } else {
            let prompts = manifest.sets.iter().map(|set| run.prompt(&manifest.prompts[set.prompt].text));
            let prompts = prompts.collect::<Result<Vec<_>, _>>()?;
            if let Some(at) =
                (0..prompts.len()).find(|&at| prompts[at].tokens != manifest.prompts[manifest.sets[at].prompt].tokens)
            {
                let difference = format!("it splits the prompt of set {:?} into other tokens", manifest.sets[at].name);
                return Err(other_input(args, Path::new(&manifest.run.model.class), difference));
            }
            attribute_to(&model, &request(Sets::ModelCi(&prompts)), &targets, &mut progress)?
        };
        reporter.finish();
        let comparison = Comparison::new(&manifest, &stored, &recomputed.sets);
        let tolerance =
            args.tolerance.unwrap_or_else(|| tolerance(&manifest, B::Element::DTYPE, args.compute.allow_tf32));
        let info = model.backend().device();
        let how = format!("{} on {} {}, {}", method.name(), info.backend, info.device, info.dtype);
        let text = if args.json {
            comparison.json(&manifest, &how, tolerance)
        } else {
            comparison.text(&manifest, &how, tolerance)
        };
        console::print(&text)?;
        Ok(if comparison.passes(tolerance) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// How far apart two correct computations may be, as a part of the largest value at an edge's target
/// (see `TargetScales`).
///
/// An attribution is a sum of some hundred to thousand rounded terms of about that size, some ten layers deep. In f32
/// that leaves a few times 2^-24 = 6e-8 in the mean, and in the worst of many edges some ten times more. Between two
/// float64 computations, it is the float32 of the files that counts. TF32 keeps 10 bits of each factor.
fn tolerance(manifest: &Manifest, dtype: Dtype, allow_tf32: bool) -> f64 {
    if allow_tf32 || manifest.settings.allow_tf32 {
        1e-2
    } else if manifest.run.dtype == Dtype::F32.to_string() || dtype == Dtype::F32 {
        1e-5
    } else {
        1e-6
    }
}
