//! `tributary optimize`: from a run and prompts to a file of CI sets.

use std::process::ExitCode;

use serde_json::json;
use tributary::backend::Providers;
use tributary::{CiDestination, Compute, Optimization, Optimized};
use tributary_files::finish_when_interrupted;

use crate::args::{OptimizeArgs, prompts};
use crate::progress::Reporter;
use crate::{CliError, console};

/// Computes on `compute`, a backend of `L`, and says what came out.
pub(crate) fn run<L: Providers>(args: &OptimizeArgs, compute: Compute) -> Result<ExitCode, CliError> {
    let asked = Optimization {
        run: args.run.of(&args.model),
        input: prompts(&args.prompt, &args.tokens, args.tokens_file.as_ref()),
        label: args.label.clone(),
        against: args.against.clone(),
        position: args.position,
        loss: args.loss(),
        sparsity: args.sparsity.clone(),
        seeds: args.seeds.clone(),
        settings: args.settings(),
        snapshots: args.snapshots.clone(),
        max_memory: args.max_memory.map(|size| size.as_u64()),
        compute,
    };
    let destination = CiDestination { path: &args.out, replace: args.output.force, resume: args.resume };
    let mut reporter = Reporter::new(args.output.quiet);
    // From here on a signal ends the steps, and what is reached is written.
    let interruption = finish_when_interrupted();
    let goes_on = || interruption.signal().is_none();
    let optimized = tributary::optimize::<L>(&asked, destination, &mut |progress| reporter.show(progress), &goes_on)?;
    reporter.finish();
    if args.output.json {
        console::print_json(&json(args, &optimized))?;
    } else if !args.output.quiet {
        console::print(&text(args, &optimized))?;
    }
    match interruption.signal().filter(|_| !optimized.is_complete) {
        Some(signal) => Ok(ExitCode::from(128_u8.saturating_add(signal))),
        None => Ok(ExitCode::SUCCESS),
    }
}

fn text(args: &OptimizeArgs, optimized: &Optimized) -> String {
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
    let end = if optimized.is_complete {
        format!("wrote {}", args.out.display())
    } else {
        format!("interrupted: wrote what is reached to {}; the same command with --resume goes on", args.out.display())
    };
    format!("{table}\n{end}\n")
}

fn json(args: &OptimizeArgs, optimized: &Optimized) -> String {
    let set = |set: &tributary::OptimizedSet| {
        json!({
            "name": set.name,
            "position": set.position,
            "label": set.label,
            "entries": set.entries,
            "step": set.step,
            "metrics": set.metrics,
        })
    };
    let sets: Vec<serde_json::Value> = optimized.sets.iter().map(set).collect();
    format!(
        "{}\n",
        json!({ "ci_sets": args.out.display().to_string(), "complete": optimized.is_complete, "sets": sets })
    )
}
