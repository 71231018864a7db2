//! `tributary attribute`: from a run and CI sets to a result folder.

mod dry_run;
mod from_prompt;

use std::path::Path;
use std::process::ExitCode;

use tributary::backend::Providers;
use tributary::engine::{DeltaGradient, Forward};
use tributary::results::Manifest;
use tributary::{Compute, Files, Folder, Input, OutputTargets, Settings, Until};

use crate::args::{AttributeArgs, DeltaArg, ForwardArg, OutputArg, prompts};
use crate::own_folder::refuse_own_folder;
use crate::progress::Reporter;
use crate::{CliError, console, plot, summary};

/// Computes on `compute`, a backend of `L`, and says what came out.
pub(crate) fn run<L: Providers>(args: &AttributeArgs, compute: Compute) -> Result<ExitCode, CliError> {
    if args.delta.is_some() && args.forward() == ForwardArg::Masked {
        return Err(CliError::DeltaOfMasked);
    }
    if let Some(twice) = args
        .until
        .iter()
        .enumerate()
        .find_map(|(at, until)| args.until[..at].iter().any(|before| before.set == until.set).then_some(until))
    {
        let what = twice.set.as_ref().map_or_else(|| "all sets".to_owned(), |set| format!("set {set:?}"));
        return Err(CliError::UntilTwice { what });
    }
    if args.from_prompt {
        return from_prompt::run::<L>(args, compute);
    }
    if !args.optimization.is_default() {
        return Err(CliError::WithoutFromPrompt);
    }
    let settings = settings(args, compute);
    let mut reporter = Reporter::new(args.output.quiet);
    let Some(out) = args.out.as_deref().filter(|_| !args.dry_run) else {
        let outline = tributary::outline::<L>(&settings, &mut |progress| reporter.show(progress))?;
        reporter.finish();
        dry_run::print(args, &outline)?;
        return Ok(ExitCode::SUCCESS);
    };
    refuse_own_folder(out, &[&args.model])?;
    let folder = Folder { path: out, replace: args.output.force };
    if args.plot && !args.output.force {
        plot::refuse_figures(out)?;
    }
    let results = tributary::write::<L>(&settings, folder, &mut |progress| reporter.show(progress))?;
    if args.plot {
        reporter.step("plotting");
        plot::with(&results, args.output.force)?;
    }
    let manifest = results.commit()?;
    reporter.finish();
    if let Some(note) = plot::stale(out, &manifest, args.plot) {
        console::say(&note);
    }
    report(args, out, &manifest)?;
    Ok(ExitCode::SUCCESS)
}

fn settings(args: &AttributeArgs, compute: Compute) -> Settings {
    Settings {
        run: args.run.of(&args.model),
        input: match &args.ci_sets {
            Some(file) => Input::CiSets { file: file.clone(), sets: args.sets.clone(), prompts: args.prompt.clone() },
            None => prompts(&args.prompt, &args.tokens, args.tokens_file.as_ref()),
        },
        thresholds: args.thresholds(),
        forward: match (args.forward(), args.delta) {
            (ForwardArg::Masked, _) => Forward::Masked,
            (ForwardArg::Target, Some(DeltaArg::Both)) => Forward::Target(DeltaGradient::Both),
            (ForwardArg::Target, Some(DeltaArg::Stopped)) => Forward::Target(DeltaGradient::Stopped),
            (ForwardArg::Target, Some(DeltaArg::Through) | None) => Forward::Target(DeltaGradient::Through),
        },
        until: Until {
            all: args.until.iter().rev().find(|until| until.set.is_none()).map(|until| until.position),
            of_sets: args.until.iter().filter_map(|until| Some((until.set.clone()?, until.position))).collect(),
        },
        output_targets: OutputTargets {
            tokens: args.output_token.iter().map(|OutputArg(at, name)| (*at, name.clone())).collect(),
            contrasts: args.output_contrast.iter().map(|OutputArg(at, (a, b))| (*at, a.clone(), b.clone())).collect(),
        },
        method: args.method.into(),
        max_memory: args.max_memory.map(|size| size.as_u64()),
        ghosts: !args.no_ghosts,
        compute,
        files: Files { output_probs: !args.no_output_probs, implied_index: args.implied_index },
    }
}

fn report(args: &AttributeArgs, out: &Path, manifest: &Manifest) -> Result<(), CliError> {
    for line in summary::far(manifest).iter().filter(|_| !args.output.quiet) {
        console::say(line);
    }
    if args.output.json {
        return console::print_json(&summary::json(out, manifest));
    }
    if args.output.quiet {
        return Ok(());
    }
    for line in summary::borderline(manifest) {
        console::say(&line);
    }
    console::print(&summary::text(out, manifest))
}
