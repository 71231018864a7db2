//! Texts that would do something to a terminal.

use std::ffi::OsString;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};
use tributary_inputs::test_support::{RandomWeights, StoredTensor, Style, state_dict, write_pth};

use crate::Attack;
use crate::attack::{refused, taken};
use crate::scene::{Scene, attribute, inspect, line};

/// Begins a line as if it were ours, turns the terminal red, sets its title, turns the direction of writing, and is not seen.
const EVIL: &str = "\nFAKE\u{1b}[31m\u{1b}]0;title\u{7}\u{202e}\u{2066}\u{200b}\u{feff}\u{9b}1A\r\u{8}";

fn manifest(scene: &Scene, edit: impl FnOnce(&mut Value)) -> Vec<OsString> {
    scene.edit("out/manifest.json", edit);
    inspect()
}

/// A plugin that describes itself so.
fn plugin(scene: &Scene, name: &str, script: &str) {
    let file = format!("bin/tributary-backend-{name}");
    scene.write(&file, format!("#!/bin/sh\n{script}\n"));
    fs::set_permissions(scene.path(file), Permissions::from_mode(0o755)).unwrap();
}

fn described(text: &str) -> Value {
    let device = json!({ "name": text, "description": text, "memory": 1, "dtypes": ["f32"] });
    json!({
        "name": "evil", "description": text, "version": env!("CARGO_PKG_VERSION"), "tf32": true, "devices": [device],
        "note": text, "unusable_because": null,
    })
}

pub(crate) fn attacks() -> Vec<Attack> {
    [inputs(), results(), plugins()].concat()
}

fn inputs() -> Vec<Attack> {
    vec![
        taken("set-name", "a set's name", |s| {
            s.replace("sets.json", "\"low\"", json!(EVIL).to_string());
            attribute()
        }),
        refused("set-name-twice", "the name of two sets", "sets.json", |s| {
            s.replace("sets.json", "\"low\"", json!(EVIL).to_string());
            s.replace("sets.json", "\"high\"", json!(EVIL).to_string());
            attribute()
        }),
        refused("layer-name", "a layer's name", "sets.json", |s| {
            s.replace("sets.json", "h.0.attn.q_proj", "\\u001b[31m\\u202e");
            attribute()
        }),
        taken("prompt-of-the-file", "the prompt of the file", |s| {
            s.edit("sets.json", |sets| sets["prompt"] = json!(format!("w1 {EVIL}")));
            attribute()
        }),
        taken("metadata", "metadata of a set", |s| {
            s.edit("sets.json", |sets| sets["metadata"] = json!({ "low": { EVIL: EVIL } }));
            attribute()
        }),
        taken("token-strings", "the spelling of the tokens", |s| {
            s.edit("run/target/tokenizer.json", |tokenizer| tokenizer["model"]["vocab"] = json!({ "w0": 0, EVIL: 1 }));
            s.edit("sets.json", |sets| sets["prompt"] = json!("w0 w0 w0"));
            attribute()
        }),
        refused("tensor-name", "the name of a tensor", "run/model_1.pth", |s| {
            let mut tensors = state_dict(&RandomWeights::gpt2_simple(3).weights(), Style::Current);
            tensors.push(StoredTensor::float(EVIL, &[1], &[0.0]));
            write_pth(&s.path("run/model_1.pth"), &tensors);
            attribute()
        }),
        refused("config-key", "an unknown key of the model's config", "run/target/model_config.yaml", |s| {
            s.append("run/target/model_config.yaml", "\"\\e[31m\\u202e\\u200b\": 1\n");
            attribute()
        }),
        refused("config-value", "a value of the run's config", "run/final_config.yaml", |s| {
            s.replace("run/final_config.yaml", "leaky_hard", "\"\\e[31m\\u202e\\u200b\"");
            attribute()
        }),
        refused("target-reference", "where the target model is said to be", "run/target", |s| {
            s.remove("run/target");
            s.replace("run/final_config.yaml", "wandb:team", "\"\\e[31m\\u202e\" #");
            attribute()
        }),
        refused("tokenizer-model", "the type of the tokenizer's model", "run/target/tokenizer.json", |s| {
            s.edit("run/target/tokenizer.json", |tokenizer| tokenizer["model"]["type"] = json!(EVIL));
            attribute()
        }),
    ]
}

fn results() -> Vec<Attack> {
    vec![
        taken("results-set-name", "the name of a set of results", |s| {
            manifest(s, |manifest| manifest["sets"][0]["name"] = json!(EVIL))
        }),
        taken("results-prompt", "the prompt of results", |s| {
            manifest(s, |manifest| manifest["prompts"][0]["text"] = json!(EVIL))
        }),
        taken("results-tokens", "the tokens of results", |s| {
            manifest(s, |manifest| manifest["prompts"][0]["token_strings"] = json!([EVIL, EVIL, EVIL]));
            line(["report", "out", "-o", "new/page.html"])
        }),
        taken("results-names-of-all-kinds", "class, backend, device and version of results", |s| {
            manifest(s, |manifest| {
                for name in ["backend", "device", "method", "dtype", "tool_version"] {
                    manifest[name] = json!(EVIL);
                }
                manifest["model"]["class"] = json!(EVIL);
                manifest["model"]["fingerprint"] = json!(EVIL);
            })
        }),
        taken("results-as-json", "all of that in the output for machines", |s| {
            manifest(s, |manifest| {
                manifest["sets"][0]["name"] = json!(EVIL);
                manifest["prompts"][0]["text"] = json!(EVIL);
                manifest["device"] = json!(EVIL);
            });
            line(["inspect", "out", "--json"])
        }),
        refused("results-format", "the name of the format", "out/manifest.json", |s| {
            manifest(s, |manifest| manifest["format"] = json!(EVIL))
        }),
        refused("results-layer", "the name of a layer", "out/manifest.json", |s| {
            manifest(s, |manifest| manifest["pairs"][0]["source"] = json!(EVIL))
        }),
        refused("results-file", "the name of a set's file", "out/manifest.json", |s| {
            manifest(s, |manifest| manifest["sets"][0]["file"] = json!(EVIL))
        }),
        refused("results-unknown-set", "a set that is asked for and not there", "out", |s| {
            manifest(s, |manifest| manifest["sets"][0]["name"] = json!(EVIL));
            line(["export", "out", "--format", "graphml", "--out", "new", "--sets", "nothing"])
        }),
    ]
}

fn plugins() -> Vec<Attack> {
    vec![
        taken("plugin-description", "what a plugin says of itself", |s| {
            plugin(s, "evil", &format!("cat <<'END'\n{}\nEND", described(EVIL)));
            line(["backends"])
        }),
        taken("plugin-description-as-json", "the same for machines", |s| {
            plugin(s, "evil", &format!("cat <<'END'\n{}\nEND", described(EVIL)));
            line(["backends", "--json"])
        }),
        taken("plugin-error", "what a plugin says on stderr", |s| {
            plugin(s, "evil", "printf '\\033[31mred\\033]0;title\\007' >&2; exit 3");
            line(["backends"])
        }),
        taken("plugin-megabytes", "a plugin that does not stop talking", |s| {
            plugin(s, "evil", "exec yes");
            line(["backends"])
        }),
        refused("plugin-of-no-device", "a device of a plugin that is asked for by its name", "evil", |s| {
            plugin(s, "evil", &format!("cat <<'END'\n{}\nEND", described(EVIL)));
            let mut args = attribute();
            args[8] = "evil".into();
            [args, line(["--device", "\u{1b}[31m"])].concat()
        }),
    ]
}
