//! `tributary inspect`: what is in a folder.

use std::fmt::Write as _;

use serde_json::json;
use tributary_files::recover;
use tributary_inputs::TrainedRun;
use tributary_model::{CiNetwork, Faithfulness, Layer, LinearLayer};
use tributary_results::{MANIFEST_FILE, Manifest, PromptEntry, ResultFolder};

use crate::args::InspectArgs;
use crate::{CliError, console, summary, visible};

pub(crate) fn run(args: &InspectArgs) -> Result<(), CliError> {
    // What a killed run was replacing comes back before it is looked for.
    recover(&args.folder)?;
    if args.folder.join(MANIFEST_FILE).exists() {
        let folder = ResultFolder::open(&args.folder)?;
        let manifest = folder.manifest();
        return if args.json {
            console::print_json(&format!("{}\n", json!(manifest)))
        } else {
            console::print(&result(manifest))
        };
    }
    if args.folder.is_dir() && !TrainedRun::is_in(&args.folder) {
        return Err(CliError::NothingToInspect { folder: args.folder.display().to_string() });
    }
    let run = args.run.of(&args.folder).load()?;
    run.notes.iter().for_each(|note| console::say(&format!("note: {note}")));
    if args.json { console::print_json(&trained_run_json(&run)) } else { console::print(&trained_run(&run)) }
}

fn trained_run(run: &TrainedRun) -> String {
    let architecture = &run.weights.architecture;
    let mut text = format!(
        "{}: {} blocks, d_model {}, {} heads ({} for keys and values), d_mlp {}, vocabulary {}, up to {} positions\n\
         fingerprint {}\ncheckpoint {}\n",
        visible::on_one_line(&architecture.model_class),
        architecture.n_blocks,
        architecture.d_model,
        architecture.n_heads,
        architecture.n_kv_heads,
        architecture.d_mlp,
        architecture.vocab,
        architecture.max_positions,
        run.fingerprint,
        visible::on_one_line(&run.files.checkpoint.display().to_string()),
    );
    let mut table = console::table(["layer", "d_in", "d_out", "components", "CI function"]);
    for &LinearLayer { layer, d_in, d_out, .. } in &run.weights.architecture.linear {
        let (components, function) = match run.weights.decomposed.get(&layer) {
            None => ("not decomposed".to_owned(), String::new()),
            Some(components) => (components.count().to_string(), ci_function(&run.weights.ci_function.network, layer)),
        };
        table.add_row([layer.to_string(), d_in.to_string(), d_out.to_string(), components, function]);
    }
    let _ = writeln!(text, "{table}");
    text
}

/// The CI function of a layer.
fn ci_function(network: &CiNetwork, layer: Layer) -> String {
    match network {
        CiNetwork::Layerwise { layers, .. } => {
            let arrays = layers.get(&layer).map_or(0, |arrays| arrays.shapes().len());
            format!("{}, {} layers", network.name(), arrays / 2)
        }
        _ => network.name().to_owned(),
    }
}

fn trained_run_json(run: &TrainedRun) -> String {
    let architecture = &run.weights.architecture;
    let counts = run.weights.component_counts();
    let layers = architecture.linear.iter().map(|&LinearLayer { layer, d_in, d_out, .. }| {
        json!({ "layer": layer.to_string(), "d_in": d_in, "d_out": d_out, "components": counts.get(&layer) })
    });
    let line = json!({
        "class": architecture.model_class,
        "fingerprint": run.fingerprint.to_string(),
        "n_blocks": architecture.n_blocks,
        "d_model": architecture.d_model,
        "n_heads": architecture.n_heads,
        "n_kv_heads": architecture.n_kv_heads,
        "d_mlp": architecture.d_mlp,
        "vocab": architecture.vocab,
        "max_positions": architecture.max_positions,
        "layers": layers.collect::<Vec<_>>(),
    });
    format!("{line}\n")
}

/// Two cells: divergence and agreement.
fn prediction(prediction: Option<Faithfulness>) -> [String; 2] {
    match prediction {
        None => ["-", "-"].map(str::to_owned),
        Some(Faithfulness { mean_kl, positions, agreeing, .. }) => {
            [format!("{mean_kl:.3}"), format!("{agreeing} of {positions}")]
        }
    }
}

/// The target model's likeliest tokens at every position.
fn likeliest(manifest: &Manifest, prompt: &PromptEntry) -> comfy_table::Table {
    let mut table = console::table(["position", "token", "likeliest after it"]);
    for (position, (token, likeliest)) in prompt.labels().iter().zip(&prompt.target_likeliest).enumerate() {
        let shown = likeliest.iter().map(|entry| {
            format!("\"{}\" {:.3}", visible::on_one_line(&manifest.output_label(entry.token)), entry.prob)
        });
        table.add_row([position.to_string(), visible::on_one_line(token), shown.collect::<Vec<_>>().join(", ")]);
    }
    table
}

fn result(manifest: &Manifest) -> String {
    let run = &manifest.run;
    let mut text = format!(
        "{} CI sets of a model of class {} with {} blocks (fingerprint {})\ncomputed by tributary {} on {} ({}, {}, {}); CI threshold {}, output \
         probability threshold {}\n",
        manifest.sets.len(),
        visible::on_one_line(&run.model.class),
        run.model.n_blocks,
        visible::on_one_line(&run.model.fingerprint),
        visible::on_one_line(&manifest.tool_version),
        visible::on_one_line(&run.backend),
        visible::on_one_line(&run.device),
        visible::on_one_line(&run.dtype),
        visible::on_one_line(&run.method),
        manifest.settings.ci_threshold,
        manifest.settings.output_prob_threshold,
    );
    text.insert_str(text.len() - 1, &crate::summary::forward(&manifest.settings));
    for (index, prompt) in manifest.prompts.iter().enumerate() {
        let _ =
            writeln!(text, "prompt {index}, {} tokens: {}", prompt.tokens.len(), visible::on_one_line(&prompt.text));
    }
    let is_known = manifest.sets.iter().any(|set| set.prediction.is_some());
    let mut sets = console::table([]);
    let columns = ["set", "prompt", "nodes", "ghosts", "edges"].into_iter();
    let of_prediction = if is_known { &["mean KL", "likeliest the same"][..] } else { &[] };
    sets.set_header(columns.chain(of_prediction.iter().copied()).chain(["file"]));
    for set in &manifest.sets {
        let ghosts: usize = set.layers.values().map(|counts| counts.ghosts).sum();
        let mut row = vec![
            visible::on_one_line(&set.name),
            set.prompt.to_string(),
            set.nodes.to_string(),
            ghosts.to_string(),
            set.edges.to_string(),
        ];
        if is_known {
            row.extend(prediction(set.prediction));
        }
        row.push(visible::on_one_line(&set.file));
        sets.add_row(row);
    }
    let _ = writeln!(text, "{sets}");
    for set in manifest.sets.iter().filter(|set| set.until.is_some()) {
        let _ = writeln!(
            text,
            "set {} takes part{}",
            visible::on_one_line(&set.name),
            summary::until(set).trim_start_matches(',')
        );
    }
    for set in &manifest.sets {
        if let Some(line) = summary::evaluation(manifest, set) {
            let _ = writeln!(text, "set {}: {line}", visible::on_one_line(&set.name));
        }
    }
    for line in summary::far(manifest) {
        let _ = writeln!(text, "{line}");
    }
    for set in &manifest.sets {
        if let Some(distance) = set.delta_distance {
            let (name, distance) = (visible::on_one_line(&set.name), summary::delta_distance(distance));
            let _ = writeln!(text, "set {name}: {distance}");
        }
    }
    for prompt in manifest.prompts.iter().filter(|prompt| !prompt.target_likeliest.is_empty()) {
        let _ = writeln!(text, "what the target model says comes next\n{}", likeliest(manifest, prompt));
    }
    let names: Vec<String> = manifest.sets.iter().map(|set| visible::on_one_line(&set.name)).collect();
    let delta = (!run.deltas.is_empty()).then(|| "delta".to_owned());
    let header = ["layer".to_owned(), "components".to_owned()].into_iter().chain(delta).chain(names);
    let mut layers = console::table([]);
    layers.set_header(header);
    for (layer, components) in run.model.node_layers() {
        let counts = manifest.sets.iter().map(|set| match set.layers.get(&layer) {
            Some(counts) => format!("{} nodes, {} ghosts", counts.nodes, counts.ghosts),
            None => String::new(),
        });
        let delta = (!run.deltas.is_empty()).then(|| match run.deltas.get(layer.path()) {
            Some(size) => format!("{:.2} % of the weight", 100.0 * size),
            None => String::new(),
        });
        layers.add_row([layer.to_string(), components.to_string()].into_iter().chain(delta).chain(counts));
    }
    let _ = writeln!(text, "{layers}");
    for set in &manifest.sets {
        let _ = writeln!(text, "set {}\n{}", visible::on_one_line(&set.name), summary::pairs(manifest, set));
    }
    text
}
