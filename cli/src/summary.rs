//! What `tributary attribute` says at the end.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::json;
use tributary_model::{Faithfulness, FarOutput};
use tributary_results::{Forward, Manifest, SetEntry, Settings};

use crate::{console, visible};

/// A table of pairs for each set, then where it all is.
pub(crate) fn text(out: &Path, manifest: &Manifest) -> String {
    let mut text = String::new();
    for set in &manifest.sets {
        let _ = writeln!(
            text,
            "set {}: {} nodes, {} edges{}, in {}",
            visible::on_one_line(&set.name),
            set.nodes,
            set.edges,
            until(set),
            set.file,
        );
        if let Some(prediction) = &set.prediction {
            let _ = writeln!(text, "{prediction}");
        }
        if let Some(line) = evaluation(manifest, set) {
            let _ = writeln!(text, "{line}");
        }
        if let Some(distance) = set.delta_distance {
            let _ = writeln!(text, "{}", delta_distance(distance));
        }
        let _ = writeln!(text, "{}", pairs(manifest, set));
    }
    let timings = &manifest.run.timings;
    let _ = writeln!(
        text,
        "{} sets in {} ({} on {}, {}, {}): load {:.3} s, model's own CI {:.3} s, attribution {:.3} s \
         (of it forward {:.3} s), write {:.3} s",
        manifest.sets.len(),
        out.display(),
        manifest.run.backend,
        manifest.run.device,
        manifest.run.dtype,
        manifest.run.method,
        timings.load,
        timings.model_ci,
        timings.attribution,
        timings.forward,
        timings.write,
    );
    text
}

/// Where attributions were evaluated, if not at the masked model's activations: after a list of settings.
pub(crate) fn forward(settings: &Settings) -> String {
    let Some(evaluated) = settings.evaluated() else { return String::new() };
    let top = settings.output_top.map_or_else(String::new, |top| format!(", at most {top} outputs a position"));
    format!("{top}; {evaluated}")
}

/// Up to where a set takes part, if not to its end: after a list of its counts.
pub(crate) fn until(set: &SetEntry) -> String {
    set.until.map_or_else(String::new, |last| format!(", up to position {last}"))
}

/// How far the two attributions of a set lie apart, and what that says.
pub(crate) fn delta_distance(distance: f32) -> String {
    format!(
        "attributions whose gradients stop at deltas are {:.3} % (relative L2) from those through them: what components leave out",
        100.0 * distance
    )
}

/// What came of putting a set to the test, where its metadata say so.
pub(crate) fn evaluation(manifest: &Manifest, set: &SetEntry) -> Option<String> {
    let line = match manifest.evaluation_line(set)? {
        Ok(line) => line,
        Err(problem) => format!("the evaluation in its metadata is not understood: {problem}"),
    };
    Some(visible::on_one_line(&line))
}

/// A line for each set with entries that rounding decides over.
pub(crate) fn borderline(manifest: &Manifest) -> Vec<String> {
    let line = |set: &SetEntry| {
        let shown =
            set.borderline.iter().take(3).map(|entry| {
                format!("{} ({}, {}) {:.7}", entry.layer, entry.position, entry.component, entry.importance)
            });
        let more = if set.borderline.len() > 3 { ", ..." } else { "" };
        format!(
            "note: set {}: {} entries are within rounding of a threshold, and another backend may decide otherwise who of \
             them is alive: {}{more} (all in manifest.json)",
            visible::on_one_line(&set.name),
            set.borderline.len(),
            shown.collect::<Vec<_>>().join(", "),
        )
    };
    manifest.sets.iter().filter(|set| !set.borderline.is_empty()).map(line).collect()
}

/// Lines for sets whose graphs explain something else than the target model: of each that its masked model is far from it,
/// and which output node is most.
pub(crate) fn far(manifest: &Manifest) -> Vec<String> {
    manifest.sets.iter().flat_map(|set| far_set(manifest, set)).collect()
}

fn far_set(manifest: &Manifest, set: &SetEntry) -> Vec<String> {
    let name = visible::on_one_line(&set.name);
    let mut lines = Vec::new();
    let components = set.layers.iter().filter(|(layer, _)| layer.is_linear());
    if components.map(|(_, counts)| counts.nodes).sum::<usize>() == 0 {
        let threshold = manifest.settings.ci_threshold;
        let passes = if manifest.settings.forward == Forward::Target { "is above" } else { "reaches" };
        lines.push(format!(
            "warning: set {name}: no component is alive: none of its causal importances {passes} {threshold}"
        ));
    }
    let Some(prediction) = set.prediction else { return lines };
    if prediction.is_far() {
        lines.push(format!("warning: set {name}: {}: {prediction}", manifest.settings.far()));
    }
    if let Some(FarOutput { position, token, prob, target_prob }) = prediction.farthest {
        let token = manifest.output_label(token);
        let nodes = match prediction.far_outputs {
            1 => "the probability of an output node is".to_owned(),
            count => format!("the probabilities of {count} output nodes are"),
        };
        let most = if prediction.far_outputs == 1 { "" } else { "the largest difference is that of " };
        lines.push(format!(
            "note: set {name}: {nodes} more than ten times off the target model's, {most}{token:?} at position {position}: \
             {prob:.3} where the target model gives {target_prob:.1e}"
        ));
    }
    lines
}

/// Shape, entries, nonzero and largest of every pair of a set.
pub(crate) fn pairs(manifest: &Manifest, set: &SetEntry) -> comfy_table::Table {
    let positions = manifest.prompts[set.prompt].tokens.len();
    let mut table = console::table(["source", "target", "[s_in, c_in, s_out, c_out]", "entries", "nonzero", "largest"]);
    for (pair, counts) in manifest.pairs.iter().zip(&set.pairs) {
        table.add_row([
            pair.source.to_string(),
            pair.target.to_string(),
            format!("[{positions}, {}, {positions}, {}]", counts.n_c_in, counts.n_c_out),
            counts.edges.to_string(),
            counts.nonzero.to_string(),
            counts.largest.map_or_else(|| "-".to_owned(), |largest| format!("{largest:.3e}")),
        ]);
    }
    for column in 2..6 {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(comfy_table::CellAlignment::Right);
        }
    }
    table
}

/// One line for machines.
pub(crate) fn json(out: &Path, manifest: &Manifest) -> String {
    let prediction = |prediction: Faithfulness| {
        json!({
            "mean_kl": prediction.mean_kl,
            "agreement": prediction.agreement(),
            "far_outputs": prediction.far_outputs,
            "is_far": prediction.is_far(),
        })
    };
    let set = |set: &SetEntry| {
        json!({
            "name": set.name,
            "file": set.file,
            "nodes": set.nodes,
            "edges": set.edges,
            "prediction": set.prediction.map(prediction),
        })
    };
    let line = json!({
        "out": out.to_string_lossy(),
        "sets": manifest.sets.iter().map(set).collect::<Vec<_>>(),
        "backend": manifest.run.backend,
        "device": manifest.run.device,
        "dtype": manifest.run.dtype,
        "method": manifest.run.method,
        "timings": manifest.run.timings,
    });
    format!("{line}\n")
}
