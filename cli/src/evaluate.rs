//! `tributary evaluate`: what the model predicts with nothing but the nodes of CI sets.

mod effects;
mod sweep;

use std::process::ExitCode;

use comfy_table::Table;
use serde_json::{Value, json};
use tributary::backend::Providers;
use tributary::optimization::{Predicted, PredictedBySample, Sampled};
use tributary::{Compute, EvaluatedSelection, EvaluatedSet, Evaluation};

use crate::args::EvaluateArgs;
use crate::progress::Reporter;
use crate::{CliError, console};
use sweep::Sweep;

/// Computes on `compute`, a backend of `L`, and says what came out.
pub(crate) fn run<L: Providers>(args: &EvaluateArgs, compute: Compute) -> Result<ExitCode, CliError> {
    if args.edges.is_some() {
        return effects::run::<L>(args, compute);
    }
    if args.result.is_some() && args.ci_sets.is_some() {
        return Err(CliError::TwoSubjects);
    }
    let asked = Evaluation {
        subjects: args.subjects(),
        label: args.label.clone(),
        position: args.position,
        selections: args.selections(),
        mask_by_ci: args.mask_by_ci,
        trials: args.trials(),
        max_memory: args.max_memory.map(|size| size.as_u64()),
        compute,
    };
    let sweep = args.sweep.as_ref().map(|figure| Sweep::begin(figure, args.output.force)).transpose()?;
    let mut reporter = Reporter::new(args.output.quiet);
    let sets = tributary::evaluate::<L>(&asked, &mut |progress| reporter.show(progress))?;
    if let Some(sweep) = sweep {
        sweep.draw(&sets)?;
    }
    if let Some(result) = args.result.as_ref().filter(|_| args.record) {
        EvaluatedSet::record(result, &sets)?;
    }
    reporter.finish();
    if args.output.json {
        let sets: Vec<Value> = sets.iter().map(EvaluatedSet::to_json).collect();
        console::print_json(&format!("{}\n", json!({ "sets": sets })))?;
    } else {
        for set in &sets {
            console::print(&text(set))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn text(set: &EvaluatedSet) -> String {
    let (id, label) = &set.label;
    let about = format!("set {}: label {label} (token {id}) at position {}", set.name, set.position);
    let Some((whole, selections)) = set.selections.split_first() else { return format!("{about}\n") };
    let regimes = format!("{about}, {} nodes\n{}\n", whole.nodes, regimes(whole));
    if selections.is_empty() { regimes } else { format!("{regimes}{}\n", selected(&set.selections)) }
}

/// What the model predicts with the nodes of the whole set.
fn regimes(EvaluatedSelection { evaluated, tokens, .. }: &EvaluatedSelection) -> Table {
    let mut table = console::table(["regime", "p(label)", "KL", "KL, all positions", "most probable"]);
    let predicted = [("target", &evaluated.target), ("ci", &evaluated.ci), ("ablated", &evaluated.ablated)];
    for (regime, Predicted { label_prob, kl, kl_mean, top }) in predicted {
        let top: Vec<String> = top.iter().take(3).map(|(token, prob)| format!("{} {prob:.3}", tokens[token])).collect();
        let numbers = [label_prob, kl, kl_mean].map(|number| format!("{number:.4}"));
        table.add_row([regime.to_owned()].into_iter().chain(numbers).chain([top.join(", ")]));
    }
    let sampled = [
        ("stochastic", &evaluated.stochastic),
        ("adversarial", &evaluated.adversarial),
        ("adversarial, dead at 0", &evaluated.adversarial_dead_at_zero),
    ];
    for (regime, PredictedBySample { label_prob, kl, kl_mean }) in sampled {
        let least = format!("{}, least {:.4}", number(label_prob), label_prob.min);
        table.add_row([regime.to_owned(), least, number(kl), number(kl_mean), String::new()]);
    }
    table
}

/// The probability of the label with the nodes of each selection, the whole set among them.
fn selected(selections: &[EvaluatedSelection]) -> Table {
    let header = ["kept", "nodes", "p(label) ci", "ablated", "stochastic", "adversarial", "adversarial, dead at 0"];
    let mut table = console::table(header);
    for EvaluatedSelection { name, nodes, evaluated, .. } in selections {
        let sampled = [&evaluated.stochastic, &evaluated.adversarial, &evaluated.adversarial_dead_at_zero];
        let predicted = [&evaluated.ci, &evaluated.ablated].map(|predicted| format!("{:.4}", predicted.label_prob));
        let sampled = sampled.map(|sampled| number(&sampled.label_prob));
        table.add_row([name.clone(), nodes.to_string()].into_iter().chain(predicted).chain(sampled));
    }
    table
}

fn number(sampled: &Sampled) -> String {
    format!("{:.4} ± {:.4}", sampled.mean, sampled.standard_error)
}
