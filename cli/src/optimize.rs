//! `tributary optimize`: from a run and prompts to a file of CI sets.

use std::path::Path;
use std::process::ExitCode;

use serde_json::json;
use tributary::backend::Providers;
use tributary::{CiDestination, Compute, Optimized, make_ci_sets};
use tributary_files::finish_when_interrupted;

use crate::args::{OptimizeArgs, prompts};
use crate::progress::Reporter;
use crate::{CliError, console, curves};

/// Computes on `compute`, a backend of `L`, and says what came out.
pub(crate) fn run<L: Providers>(args: &OptimizeArgs, compute: Compute) -> Result<ExitCode, CliError> {
    let input = prompts(&args.prompt, &args.tokens, args.tokens_file.as_ref());
    let max_memory = args.max_memory.map(|size| size.as_u64());
    let asked = args.optimization.of(args.run.of(&args.model), input, max_memory, compute);
    let figure = args.figure();
    let destination =
        CiDestination { path: &args.out, beside: figure.as_deref(), replace: args.output.force, resume: args.resume };
    let mut reporter = Reporter::new(args.output.quiet);
    // From here on a signal ends the steps, and what is reached is written.
    let interruption = finish_when_interrupted();
    let goes_on = || interruption.signal().is_none();
    let pending = make_ci_sets::<L>(&asked, destination, &mut |progress| reporter.show(progress), &goes_on)?;
    let drawn = figure.as_deref().map(|figure| curves::draw(figure, args, pending.optimized())).transpose();
    // What took hours to make is there even where it cannot be drawn.
    let (drawn, failure) = match drawn {
        Ok(drawn) => (drawn, None),
        Err(error) => (None, Some(error)),
    };
    let optimized = pending.commit(drawn.as_deref())?;
    reporter.finish();
    let figure = figure.as_deref().filter(|_| drawn.is_some());
    if args.output.json {
        console::print_json(&json(args, figure, &optimized))?;
    } else if !args.output.quiet {
        console::print(&text(args, figure, &optimized))?;
    }
    let failure = optimized.failure(&args.out).map(CliError::from).or(failure);
    match (interruption.signal().filter(|_| !optimized.is_complete), failure) {
        (Some(signal), failure) => {
            if let Some(failure) = failure {
                console::say(&format!("error: {}", failure.with_flag()));
            }
            console::say(&interrupted(args));
            Ok(ExitCode::from(128_u8.saturating_add(signal)))
        }
        (None, Some(failure)) => Err(failure),
        (None, None) => Ok(ExitCode::SUCCESS),
    }
}

fn interrupted(args: &OptimizeArgs) -> String {
    format!("interrupted: wrote what is reached to {}; the same command with --resume goes on", args.out.display())
}

fn text(args: &OptimizeArgs, figure: Option<&Path>, optimized: &Optimized) -> String {
    let mut table = console::table([
        "set",
        "position",
        "label",
        "steps",
        "alive of",
        "L0",
        "p(label) ci",
        "stochastic",
        "adversarial",
    ]);
    for set in &optimized.sets {
        let number = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.4}"));
        let metrics = set.metrics.as_ref();
        table.add_row([
            set.name.clone(),
            set.position.to_string(),
            set.label.clone(),
            set.step.to_string(),
            set.entries.to_string(),
            metrics.map_or_else(|| "-".to_owned(), |metrics| format!("{:.2}", metrics.l0_total)),
            number(metrics.map(|metrics| metrics.ci_masked_label_prob)),
            number(metrics.map(|metrics| metrics.stoch_masked_label_prob)),
            number(metrics.and_then(|metrics| metrics.adv_pgd_label_prob)),
        ]);
    }
    let out = args.out.display();
    let and_figure = figure.map(|figure| format!(" and {}", figure.display())).unwrap_or_default();
    let end = match (optimized.was_complete, optimized.is_complete, figure) {
        (true, _, Some(figure)) => format!("{out} is complete already; wrote {}", figure.display()),
        (true, _, None) => format!("{out} is complete already; nothing was computed"),
        (false, true, _) => format!("wrote {out}{and_figure}"),
        (false, false, _) => format!("wrote what is reached to {out}{and_figure}"),
    };
    format!("{table}\n{end}\n")
}

fn json(args: &OptimizeArgs, figure: Option<&Path>, optimized: &Optimized) -> String {
    let set = |set: &tributary::OptimizedSet| {
        json!({
            "name": set.name,
            "position": set.position,
            "label": set.label,
            "entries": set.entries,
            "step": set.step,
            "metrics": set.metrics,
            "loss_not_finite_at_step": set.failed,
        })
    };
    let sets: Vec<serde_json::Value> = optimized.sets.iter().map(set).collect();
    let written = json!({
        "ci_sets": args.out.display().to_string(),
        "figure": figure.map(|figure| figure.display().to_string()),
        "complete": optimized.is_complete,
        "sets": sets,
    });
    format!("{written}\n")
}
