//! `tributary evaluate --edges`: whether attributions predict what happens without their sources.

use std::collections::BTreeMap;
use std::process::ExitCode;

use serde_json::{Value, json};
use tributary::backend::Providers;
use tributary::engine::{Node, Parts};
use tributary::model::Layer;
use tributary::{Agreement, Compute, Correlation, EdgeEffect, PairAgreement, SetEffects, TargetParts};

use crate::args::EvaluateArgs;
use crate::progress::Reporter;
use crate::{CliError, console};

/// Measures on `compute`, a backend of `L`, and says what came out; nothing where no edges are asked for.
pub(super) fn run<L: Providers>(args: &EvaluateArgs, compute: Compute) -> Result<ExitCode, CliError> {
    let Some(asked) = args.effects(compute) else { return Ok(ExitCode::SUCCESS) };
    let mut reporter = Reporter::new(args.output.quiet);
    let sets = tributary::effects::<L>(&asked, &mut |progress| reporter.show(progress))?;
    reporter.finish();
    if args.output.json {
        let sets: Vec<Value> = sets.iter().map(set_json).collect();
        console::print_json(&format!("{}\n", json!({ "sets": sets })))?;
    } else {
        for set in &sets {
            console::print(&text(set))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Two tables of a set: pair by pair how far attributions go together with effects, and layer by layer what activations of targets
/// are made of.
fn text(set: &SetEffects) -> String {
    let mut pairs =
        console::table(["source", "target", "edges", "segment: Pearson", "Spearman", "model: Pearson", "Spearman"]);
    for PairAgreement { source, target, agreement } in &set.pairs {
        pairs.add_row(row([source.to_string(), target.to_string()], agreement));
    }
    pairs.add_row(row(["all".to_owned(), String::new()], &set.overall));
    format!(
        "set {}: attributions beside what their targets lose without the source\n{pairs}\n\
         what the activations of targets are made of, means of absolute values\n{}\n",
        set.name,
        activations(&set.targets)
    )
}

fn row([source, target]: [String; 2], Agreement { n, in_segment, in_model }: &Agreement) -> [String; 7] {
    let number = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.3}"));
    let [segment, model] =
        [in_segment, in_model].map(|Correlation { pearson, spearman }| [*pearson, *spearman].map(number));
    let ([segment_pearson, segment_spearman], [model_pearson, model_spearman]) = (segment, model);
    [source, target, n.to_string(), segment_pearson, segment_spearman, model_pearson, model_spearman]
}

/// A part by its name.
type Named = (&'static str, fn(&Parts) -> f64);

const PARTS: [Named; 8] = [
    ("activation", |parts| parts.activation),
    ("edges", |parts| parts.edges),
    ("dead", |parts| parts.dead),
    ("other positions", |parts| parts.other_positions),
    ("biases", |parts| parts.biases),
    ("Delta", |parts| parts.deltas),
    ("held", |parts| parts.held),
    ("curvature", Parts::curvature),
];

fn activations(targets: &[TargetParts]) -> comfy_table::Table {
    let has_some = |&&(_, part): &&Named| targets.iter().any(|target| part(&target.parts) != 0.0);
    let columns: Vec<&Named> = PARTS.iter().filter(has_some).collect();
    let header = ["target", "targets"].into_iter().chain(columns.iter().map(|(name, _)| *name));
    let mut table = console::table([]);
    table.set_header(header);
    let mut layers: BTreeMap<Layer, Vec<&Parts>> = BTreeMap::new();
    for TargetParts { node, parts } in targets {
        layers.entry(node.layer).or_default().push(parts);
    }
    for (layer, parts) in layers {
        let mean =
            |part: fn(&Parts) -> f64| parts.iter().map(|parts| part(parts).abs()).sum::<f64>() / parts.len() as f64;
        let means = columns.iter().map(|&&(_, part)| format!("{:.4}", mean(part)));
        table.add_row([layer.to_string(), parts.len().to_string()].into_iter().chain(means));
    }
    table
}

fn set_json(set: &SetEffects) -> Value {
    let SetEffects { name, edges, pairs, overall, targets } = set;
    json!({
        "name": name,
        "edges": edges.iter().map(edge_json).collect::<Vec<_>>(),
        "pairs": pairs.iter().map(pair_json).collect::<Vec<_>>(),
        "overall": agreement_json(overall),
        "targets": targets.iter().map(target_json).collect::<Vec<_>>(),
    })
}

/// As nodes are named everywhere in this command.
fn node_name(Node { layer, position, component }: Node) -> String {
    format!("{layer}:{position}:{component}")
}

fn edge_json(edge: &EdgeEffect) -> Value {
    let &EdgeEffect { source, target, attribution, in_segment, in_model, source_activation, target_activation } = edge;
    json!({
        "source": node_name(source),
        "target": node_name(target),
        "attribution": attribution,
        "in_segment": in_segment,
        "in_model": in_model,
        "source_activation": source_activation,
        "target_activation": target_activation,
    })
}

fn pair_json(PairAgreement { source, target, agreement }: &PairAgreement) -> Value {
    let mut pair = agreement_json(agreement);
    pair["source"] = source.to_string().into();
    pair["target"] = target.to_string().into();
    pair
}

fn agreement_json(Agreement { n, in_segment, in_model }: &Agreement) -> Value {
    json!({
        "n": n,
        "pearson": in_segment.pearson,
        "spearman": in_segment.spearman,
        "pearson_in_model": in_model.pearson,
        "spearman_in_model": in_model.spearman,
    })
}

fn target_json(TargetParts { node, parts }: &TargetParts) -> Value {
    let &Parts { activation, edges, dead, other_positions, biases, deltas, held } = parts;
    json!({
        "node": node_name(*node),
        "activation": activation,
        "edges_sum": edges,
        "rest": {
            "dead": dead,
            "other_positions": other_positions,
            "biases": biases,
            "delta": deltas,
            "held": held,
            "curvature": parts.curvature(),
        },
    })
}
