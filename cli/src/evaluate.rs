//! `tributary evaluate`: what the model predicts with nothing but the nodes of CI sets.

mod effects;
mod sweep;

use std::process::ExitCode;

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
    let header = ["kept", "nodes", "regime", "p(label)", "KL", "KL, all positions", "most probable"];
    let mut table = console::table(header);
    for selection in &set.selections {
        let EvaluatedSelection { name, nodes, evaluated, tokens, .. } = selection;
        let predicted = [("target", &evaluated.target), ("ci", &evaluated.ci), ("ablated", &evaluated.ablated)];
        for (regime, Predicted { label_prob, kl, kl_mean, top }) in predicted {
            let top: Vec<String> =
                top.iter().take(3).map(|(token, prob)| format!("{} {prob:.3}", tokens[token])).collect();
            let (name, nodes) =
                if regime == "target" { (name.as_str(), nodes.to_string()) } else { ("", String::new()) };
            table.add_row([
                name.to_owned(),
                nodes,
                regime.to_owned(),
                format!("{label_prob:.4}"),
                format!("{kl:.4}"),
                format!("{kl_mean:.4}"),
                top.join(", "),
            ]);
        }
        let sampled = [
            ("stochastic", &evaluated.stochastic),
            ("adversarial", &evaluated.adversarial),
            ("adversarial, dead at 0", &evaluated.adversarial_dead_at_zero),
        ];
        for (regime, PredictedBySample { label_prob, kl, kl_mean }) in sampled {
            let number = |sampled: &Sampled| format!("{:.4} ± {:.4}", sampled.mean, sampled.standard_error);
            table.add_row([
                String::new(),
                String::new(),
                regime.to_owned(),
                format!("{}, least {:.4}", number(label_prob), label_prob.min),
                number(kl),
                number(kl_mean),
                String::new(),
            ]);
        }
    }
    let (id, label) = &set.label;
    format!("set {}: label {label} (token {id}) at position {}\n{table}\n", set.name, set.position)
}
