//! `--from-prompt`: CI sets made, their graphs, and what they are worth, one after the other.

use std::process::ExitCode;

use tributary::backend::Providers;
use tributary::optimization::Trials;
use tributary::results::ResultFolder;
use tributary::{CiDestination, Compute, EvaluatedSet, Evaluation, Folder, Input, Selections, Settings, Subjects};
use tributary_files::finish_when_interrupted;

use crate::args::{AttributeArgs, prompts};
use crate::own_folder::refuse_own_folder;
use crate::progress::Reporter;
use crate::{CliError, console, plot};

/// Name of the file of CI sets in the folder of the result.
const CI_SETS: &str = "ci_sets.json";

/// Computes on `compute`, a backend of `L`, and says what came out.
pub(super) fn run<L: Providers>(args: &AttributeArgs, compute: Compute) -> Result<ExitCode, CliError> {
    let Some(out) = args.out.as_deref() else { unreachable!("it is required, and a dry run goes elsewhere") };
    let force = args.output.force;
    refuse_own_folder(out, &[&args.model])?;
    if args.plot && !force {
        plot::refuse_figures(out)?;
    }
    let file = out.join(CI_SETS);
    let settings = settings(args, Input::ci_sets(&file), compute.clone());
    let folder = Folder { path: out, replace: force };
    tributary::check_folder(&settings, folder)?;
    let mut reporter = Reporter::new(args.output.quiet);

    reporter.step("1 of 3: making CI sets");
    let input = prompts(&args.prompt, &args.tokens, args.tokens_file.as_ref());
    let asked = args.optimization.of(settings.run.clone(), input, settings.max_memory, compute.clone());
    let destination = CiDestination { path: &file, beside: None, replace: force, resume: args.resume };
    // From here on a signal ends the steps, and what is reached is written.
    let interruption = finish_when_interrupted();
    let goes_on = || interruption.signal().is_none();
    let made = tributary::optimize::<L>(&asked, destination, &mut |progress| reporter.show(progress), &goes_on)?;
    if let Some(signal) = interruption.signal().filter(|_| !made.is_complete) {
        reporter.finish();
        let file = file.display();
        console::say(&format!(
            "interrupted: wrote what is reached to {file}; the same command with --resume goes on, and no graph is computed yet"
        ));
        return Ok(ExitCode::from(128_u8.saturating_add(signal)));
    }
    drop(interruption);
    if let Some(failure) = made.failure(&file) {
        return Err(failure.into());
    }

    reporter.step("2 of 3: computing their graphs");
    let manifest = tributary::attribute::<L>(&settings, folder, &mut |progress| reporter.show(progress))?;

    reporter.step("3 of 3: putting them to the test");
    let evaluation = Evaluation {
        subjects: Subjects::Result { result: args.run.of_result(out, Some(&args.model)), sets: Vec::new() },
        label: None,
        position: None,
        selections: Selections::default(),
        mask_by_ci: false,
        trials: Trials {
            adversary: args.optimization.adversary.map_or(Trials::default().adversary, |args| args.0),
            ..Trials::default()
        },
        max_memory: settings.max_memory,
        compute,
    };
    let evaluated = tributary::evaluate::<L>(&evaluation, &mut |progress| reporter.show(progress))?;
    EvaluatedSet::record(out, &evaluated)?;
    if args.plot {
        reporter.step("plotting");
        plot::all(out, force)?;
    }
    reporter.finish();
    if let Some(note) = plot::stale(out, &manifest, args.plot) {
        console::say(&note);
    }
    super::report(args, out, ResultFolder::open(out)?.manifest())?;
    Ok(ExitCode::SUCCESS)
}

/// As without `--from-prompt`, with the label as a node of the output whatever its probability.
fn settings(args: &AttributeArgs, input: Input, compute: Compute) -> Settings {
    let mut settings = Settings { input, ..super::settings(args, compute) };
    let position = args.optimization.position;
    let label = args.optimization.label.iter().cloned();
    settings.output_targets.tokens.extend(label.clone().map(|label| (position, label)));
    let against = args.optimization.against.iter().cloned();
    settings.output_targets.contrasts.extend(label.zip(against).map(|(label, against)| (position, label, against)));
    settings
}
