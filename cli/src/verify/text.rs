//! What a verification found, in words and as JSON.

use std::fmt::Write as _;

use serde_json::{Value, json};
use tributary::{Difference, OtherNode, Verification};

use crate::visible;

/// For people.
pub(super) fn text(verification: &Verification) -> String {
    let Verification { manifest, comparison, recomputed_by: how, tolerance } = verification;
    let run = &manifest.run;
    let (covered, all) = comparison.pairs;
    let mut text = format!(
        "{} edges, of {covered} of {all} pairs in {} sets, computed by {} on {} {}, {}, and again by {how}\n",
        comparison.edges,
        manifest.sets.len(),
        visible::on_one_line(&run.method),
        visible::on_one_line(&run.backend),
        visible::on_one_line(&run.device),
        visible::on_one_line(&run.dtype)
    );
    let _ = match (comparison.other_nodes.len(), comparison.borderline) {
        (0, 0) => writeln!(text, "nodes: all {} the same", comparison.nodes),
        (0, near) => {
            writeln!(text, "nodes: all {} the same, but for {near} within rounding of a threshold", comparison.nodes)
        }
        (count, _) => writeln!(text, "nodes: {count} differ\n  {}", other_nodes(verification, 10).join("\n  ")),
    };
    let _ = writeln!(text, "their importances and activations: {:.2e} apart at most", comparison.node_values);
    if comparison.predictions > 0 {
        let (positions, largest) = (comparison.predictions, comparison.prediction_values);
        let _ = writeln!(text, "predictions at {positions} positions: {largest:.2e} apart at most");
    }
    if comparison.skipped > 0 {
        let _ = writeln!(text, "{} more edges belong to nodes that differ", comparison.skipped);
    }
    if let Some(Difference { set, edge, recomputed, relative }) = comparison.largest {
        let pair = &manifest.pairs[edge.pair];
        let _ = writeln!(
            text,
            "largest difference of an edge: {relative:.2e} of the largest value at its target, at set {}, {} {:?} -> {} \
             {:?}{}: {:e} stored, {recomputed:e} computed again",
            visible::on_one_line(&manifest.sets[set].name),
            pair.source,
            edge.source,
            pair.target,
            edge.target,
            if edge.stopped { ", gradients stopped at deltas" } else { "" },
            edge.value,
        );
    }
    if let Some(found) = comparison.largest_pair {
        let (set, pair) = (visible::on_one_line(&manifest.sets[found.set].name), &manifest.pairs[found.pair]);
        let _ = writeln!(
            text,
            "largest difference of a pair: {:.2e} of its own L2 norm, at set {set}, {} -> {}",
            found.relative(),
            pair.source,
            pair.target
        );
    }
    let _ = writeln!(text, "relative L2 error of all compared edges: {:.2e}", comparison.relative_l2());
    let failures = comparison.failures(*tolerance);
    let _ = if failures.is_empty() {
        writeln!(text, "passed: differences up to {tolerance:e} are allowed")
    } else {
        writeln!(text, "FAILED: {}; differences up to {tolerance:e} are allowed", failures.join(", "))
    };
    text
}

/// One line for machines.
pub(super) fn json(verification: &Verification) -> String {
    let Verification { manifest, comparison, recomputed_by: how, tolerance } = verification;
    let largest = comparison.largest.map(|Difference { set, edge, recomputed, relative }| {
        let pair = &manifest.pairs[edge.pair];
        json!({
            "set": manifest.sets[set].name,
            "source": pair.source.to_string(),
            "source_entry": edge.source,
            "target": pair.target.to_string(),
            "target_entry": edge.target,
            "value": if edge.stopped { "value_stopped" } else { "value" },
            "stored": edge.value,
            "recomputed": recomputed,
            "relative": relative,
        })
    });
    let largest_pair = comparison.largest_pair.map(|found| {
        let pair = &manifest.pairs[found.pair];
        json!({
            "set": manifest.sets[found.set].name,
            "source": pair.source.to_string(),
            "target": pair.target.to_string(),
            "relative": found.relative(),
        })
    });
    let value: Value = json!({
        "passed": verification.passes(),
        "failures": comparison.failures(*tolerance),
        "tolerance": tolerance,
        "recomputed_by": how,
        "edges": comparison.edges,
        "skipped_edges": comparison.skipped,
        "pairs": comparison.pairs.0,
        "pairs_with_edges": comparison.pairs.1,
        "largest_node_difference": comparison.node_values,
        "predictions": comparison.predictions,
        "largest_prediction_difference": comparison.prediction_values,
        "largest_difference": largest,
        "largest_pair_difference": largest_pair,
        "relative_l2_error": comparison.relative_l2(),
        "nodes": comparison.nodes,
        "differing_nodes": other_nodes(verification, usize::MAX),
        "borderline_nodes": comparison.borderline,
    });
    format!("{value}\n")
}

/// Nodes that only one side has, at most so many.
fn other_nodes(verification: &Verification, most: usize) -> Vec<String> {
    let nodes = verification.comparison.other_nodes.iter().take(most);
    let line = |node: &OtherNode| {
        let OtherNode { set, layer, position, component, side } = node;
        let name = visible::on_one_line(&verification.manifest.sets[*set].name);
        format!("set {name}: {layer} ({position}, {component}) is alive only as {side}")
    };
    nodes.map(line).collect()
}
