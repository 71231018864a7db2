//! `manifest.json` of a result folder.

use serde_json::{Value, json};

use crate::Attack;
use crate::attack::{refused, taken};
use crate::scene::{Scene, export, inspect, line};

const FILE: &str = "out/manifest.json";

fn edit(scene: &Scene, edit: impl FnOnce(&mut Value)) {
    scene.edit(FILE, edit);
}

pub(crate) fn attacks() -> Vec<Attack> {
    [documents(), fields(), sets()].concat()
}

fn documents() -> Vec<Attack> {
    vec![
        refused("empty-file", "a file of no bytes", FILE, |s| {
            s.write(FILE, "");
            inspect()
        }),
        refused("deep-lists", "100 000 lists in each other", FILE, |s| {
            s.write(FILE, "[".repeat(100_000));
            inspect()
        }),
        refused("deep-metadata", "metadata of a set, 100 000 lists deep", FILE, |s| {
            let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
            edit(s, |manifest| manifest["sets"][0]["metadata"] = json!("HERE"));
            s.replace(FILE, "\"HERE\"", deep);
            inspect()
        }),
        refused("cut-short", "half of a manifest", FILE, |s| {
            s.cut(FILE, |length| length / 2);
            inspect()
        })
        .varying("where the middle is depends on durations"),
        refused("text-after-the-end", "a second document", FILE, |s| {
            s.append(FILE, "{}");
            inspect()
        }),
        refused("format-twice", "a key with two values", FILE, |s| {
            s.replace(FILE, "{", "{\"format\": \"other\",");
            inspect()
        }),
        refused("format-of-a-million-characters", "a format whose name fills the screen", FILE, |s| {
            edit(s, |manifest| manifest["format"] = json!("f".repeat(1_000_000)));
            inspect()
        }),
        refused("version-0", "a version before the first", FILE, |s| {
            edit(s, |manifest| manifest["format_version"] = json!(0));
            inspect()
        }),
        refused("version-3", "a version after the last", FILE, |s| {
            edit(s, |manifest| manifest["format_version"] = json!(3));
            inspect()
        }),
        refused("version-2-to-63", "a version of 2^63", FILE, |s| {
            edit(s, |manifest| manifest["format_version"] = json!(1_u64 << 63));
            inspect()
        }),
        refused("version-negative", "a version of -1", FILE, |s| {
            edit(s, |manifest| manifest["format_version"] = json!(-1));
            inspect()
        }),
        refused("two-gigabytes", "a file larger than any manifest", FILE, |s| {
            std::fs::File::options().write(true).open(s.path(FILE)).unwrap().set_len(2 << 30).unwrap();
            inspect()
        }),
        refused("a-gigabyte-of-nothing", "a file that is as large as a manifest may be, of NUL bytes", FILE, |s| {
            std::fs::File::create(s.path(FILE)).unwrap().set_len(1 << 30).unwrap();
            inspect()
        }),
    ]
}

fn fields() -> Vec<Attack> {
    vec![
        refused("threshold-negative", "a threshold of -1", FILE, |s| {
            edit(s, |manifest| manifest["settings"]["ci_threshold"] = json!(-1));
            inspect()
        }),
        taken("threshold-7", "a threshold that no importance reaches", |s| {
            edit(s, |manifest| manifest["settings"]["ci_threshold"] = json!(7));
            inspect()
        }),
        taken("output-threshold-7", "a threshold that no probability reaches", |s| {
            edit(s, |manifest| manifest["settings"]["output_prob_threshold"] = json!(7));
            inspect()
        }),
        refused("threshold-nan", "NaN, which Python writes", FILE, |s| {
            edit(s, |manifest| manifest["settings"]["ci_threshold"] = json!("HERE"));
            s.replace(FILE, "\"HERE\"", "NaN");
            inspect()
        }),
        refused("blocks-negative", "-1 blocks", FILE, |s| {
            edit(s, |manifest| manifest["model"]["n_blocks"] = json!(-1));
            inspect()
        }),
        taken("blocks-a-million-million", "10^12 blocks, for each of which a figure has rows", |s| {
            edit(s, |manifest| manifest["model"]["n_blocks"] = json!(1_000_000_000_000_u64));
            line(["plot", "out", "--out", "new", "--quiet"])
        }),
        taken("block-of-a-layer-huge", "a layer in block 10^15", |s| {
            edit(s, |manifest| manifest["model"]["layers"][1]["block"] = json!(1_000_000_000_000_000_u64));
            line(["plot", "out", "--out", "new", "--quiet"])
        }),
        refused("vocabulary-none", "a vocabulary of nothing", "out", |s| {
            edit(s, |manifest| {
                manifest["model"]["vocab"] = json!(0);
                manifest["prompts"][0].as_object_mut().unwrap().remove("target_likeliest");
                for set in manifest["sets"].as_array_mut().unwrap() {
                    set.as_object_mut().unwrap().remove("prediction");
                }
            });
            export()
        }),
        refused("components-none", "a layer of no components", "out", |s| {
            edit(s, |manifest| manifest["model"]["components"]["h.0.attn.q_proj"] = json!(0));
            export()
        }),
        refused("layers-twice", "a layer that is listed twice", FILE, |s| {
            edit(s, |manifest| {
                let first = manifest["model"]["layers"][0].clone();
                manifest["model"]["layers"].as_array_mut().unwrap().push(first);
            });
            inspect()
        }),
        refused("layer-name-of-a-million-characters", "a pair of a layer whose name fills the screen", FILE, |s| {
            edit(s, |manifest| manifest["pairs"][0]["source"] = json!("x".repeat(1_000_000)));
            inspect()
        }),
        refused("role-of-a-million-characters", "a role whose name fills the screen", FILE, |s| {
            edit(s, |manifest| manifest["model"]["layers"][0]["role"] = json!("x".repeat(1_000_000)));
            inspect()
        }),
        refused("pairs-as-numbers", "numbers in place of pairs", FILE, |s| {
            edit(s, |manifest| manifest["pairs"] = json!([1, 2]));
            inspect()
        }),
        taken("seconds-negative", "durations that are negative", |s| {
            edit(s, |manifest| manifest["timings"]["load"] = json!(-5));
            inspect()
        }),
        refused("tokens-without-strings", "tokens without their strings", FILE, |s| {
            edit(s, |manifest| manifest["prompts"][0]["token_strings"] = json!([]));
            inspect()
        }),
    ]
}

fn sets() -> Vec<Attack> {
    vec![
        refused("no-sets", "results without a set", "out", |s| {
            edit(s, |manifest| manifest["sets"] = json!([]));
            export()
        }),
        refused("no-sets-in-a-page", "a page of results without a set", "out", |s| {
            edit(s, |manifest| manifest["sets"] = json!([]));
            line(["report", "out", "-o", "new/page.html"])
        }),
        refused("set-twice", "a set that is listed twice", FILE, |s| {
            edit(s, |manifest| {
                let first = manifest["sets"][0].clone();
                manifest["sets"].as_array_mut().unwrap().push(first);
            });
            inspect()
        }),
        refused("name-of-a-million-characters-twice", "two sets of a name that fills the screen", FILE, |s| {
            edit(s, |manifest| {
                manifest["sets"][0]["name"] = json!("x".repeat(1_000_000));
                manifest["sets"][1]["name"] = json!("x".repeat(1_000_000));
            });
            inspect()
        }),
        refused("100000-sets", "100 000 sets that are nearly the same", FILE, |s| {
            edit(s, |manifest| {
                let mut one = manifest["sets"][0].clone();
                (one["layers"], one["pairs"]) = (json!({}), json!([]));
                let sets = (0..100_000).map(|n| {
                    let mut set = one.clone();
                    (set["name"], set["file"]) = (json!(format!("s{n}")), json!(format!("s{n}.safetensors")));
                    set
                });
                manifest["sets"] = sets.collect();
            });
            inspect()
        }),
        refused("file-that-leads-out", "a set's file beside the folder", FILE, |s| {
            edit(s, |manifest| manifest["sets"][0]["file"] = json!("../out/low.safetensors"));
            export()
        }),
        refused("file-absolute", "a set's file anywhere", FILE, |s| {
            edit(s, |manifest| manifest["sets"][0]["file"] = json!("/etc/passwd"));
            export()
        }),
        refused("file-of-another-set", "two sets in one file", FILE, |s| {
            edit(s, |manifest| manifest["sets"][1]["file"] = json!("low.safetensors"));
            export()
        }),
        refused("file-of-a-million-characters", "a file name that fills the screen", FILE, |s| {
            edit(s, |manifest| manifest["sets"][0]["file"] = json!("x".repeat(1_000_000)));
            inspect()
        }),
        refused("prompt-that-is-not-there", "a set of prompt 2^60", FILE, |s| {
            edit(s, |manifest| manifest["sets"][0]["prompt"] = json!(1_u64 << 60));
            inspect()
        }),
        refused("count-negative", "-1 nodes", FILE, |s| {
            edit(s, |manifest| manifest["sets"][0]["nodes"] = json!(-1));
            inspect()
        }),
        refused("count-huge", "2^63 edges", "out/low.safetensors", |s| {
            edit(s, |manifest| manifest["sets"][0]["edges"] = json!(1_u64 << 63));
            export()
        }),
        refused("sha-of-a-million-characters", "a checksum that fills the screen", "out/low.safetensors", |s| {
            edit(s, |manifest| manifest["sets"][0]["sha256"] = json!("x".repeat(1_000_000)));
            export()
        }),
        refused("importance-infinite", "a borderline entry of 1e999", FILE, |s| {
            edit(s, |manifest| manifest["sets"][0]["borderline"] = json!([{"layer": "output", "importance": "HERE"}]));
            s.replace(FILE, "\"HERE\"", "1e999");
            inspect()
        }),
        taken("unknown-keys", "keys that a later version may have", |s| {
            edit(s, |manifest| manifest["later"] = json!({ "__proto__": 1 }));
            inspect()
        }),
        refused("inputs-elsewhere", "results that say their run is a device", "/dev/zero", |s| {
            edit(s, |manifest| manifest["inputs"]["model"] = json!("/dev/zero"));
            line(["verify", "out"])
        }),
        refused("inputs-of-a-million-characters", "results whose run has a name that fills the screen", "x", |s| {
            edit(s, |manifest| manifest["inputs"]["model"] = json!("x".repeat(1_000_000)));
            line(["verify", "out"])
        }),
    ]
}
