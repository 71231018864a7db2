//! Small results of every form, their manifests and set files, whole and broken.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use tributary_fuzz::results::RESULTS;
use tributary_results::MANIFEST_FILE;
use tributary_testing::RandomResults;

use crate::{Seed, seed};

/// Results of a model of one block, of two sets, with what the target model predicts; the smallest of those.
fn small() -> RandomResults {
    let fits = |results: &RandomResults| {
        let of = |set: usize| &results.sets[set].0;
        results.model.n_blocks == 1
            && results.sets.len() == 2
            && of(0).prediction.is_some()
            && of(0).edge_count() > 20
            && results.sets[0].1.tokens.len() > 1
            && of(0).borderline.len() > 1
    };
    let results = (0..5000).map(RandomResults::new).filter(fits);
    results
        .min_by_key(|results| results.sets[0].0.edge_count() + 4 * results.sets[0].0.pairs.len())
        .expect("there is one")
}

/// Writes the results to a folder, and gives seeds of manifests and of set files.
pub(crate) fn seeds(folder: &Path) -> (Vec<Seed>, Vec<Seed>) {
    fs::create_dir_all(folder).expect("the folder can be made");
    let (mut manifests, mut set_files) = (Vec::new(), Vec::new());
    for (index, name) in RESULTS.into_iter().enumerate() {
        let mut results = small();
        // One of them with all that may be there, one with what must be.
        (results.output_probs, results.implied_index) = (name != "implied", name == "implied");
        for (number, (set, _)) in results.sets.iter_mut().enumerate() {
            set.name = format!("{name} {number}");
        }
        let out = tempfile::tempdir().expect("a folder can be made");
        let manifest = results.write(out.path(), true).expect("results can be written");
        let json = fs::read_to_string(out.path().join(MANIFEST_FILE)).expect("it was written");
        let json = if name == "version_1" { first_version(&json) } else { json };
        fs::write(folder.join(format!("{name}.json")), &json).expect("it can be written");
        for set in &manifest.sets {
            fs::copy(out.path().join(&set.file), folder.join(&set.file)).expect("it can be copied");
        }
        manifests.push(seed(name, &json));
        let file = fs::read(out.path().join(&manifest.sets[0].file)).expect("it was written");
        // As the target counts: '0' and 'c' are divisible by 3, and at a letter the length of the header is put right.
        for letter in [b'0', b'c'] {
            let file = [&[letter + index as u8], file.as_slice()].concat();
            set_files.push(seed(&format!("{name}_{}", char::from(letter)), file));
        }
        if name == "indexed" {
            manifests.extend(broken(&json));
            let whole = [b"1".as_slice(), &file].concat();
            set_files.push(seed("cut", &whole[..whole.len() / 2]));
            set_files.push(seed("other_result", [b"0".as_slice(), &file].concat()));
        }
    }
    set_files.push(seed("empty", "1"));
    set_files.push(seed("no_tensors", b"1\x02\0\0\0\0\0\0\0{}"));
    set_files.push(seed("long_header", b"1\xff\xff\xff\xff\xff\xff\xff\x7f{}"));
    (manifests, set_files)
}

/// The manifest as version 1 wrote it.
fn first_version(manifest: &str) -> String {
    let mut manifest: Value = serde_json::from_str(manifest).expect("a manifest is JSON");
    manifest["format_version"] = json!(1);
    manifest["model"].as_object_mut().expect("it is an object").remove("layers");
    manifest["timings"].as_object_mut().expect("it is an object").remove("stages");
    manifest.as_object_mut().expect("it is an object").remove("kind");
    serde_json::to_string_pretty(&manifest).expect("it can be written")
}

fn broken(manifest: &str) -> Vec<Seed> {
    let changed = |name: &str, pointer: &str, value: Value| {
        let mut manifest: Value = serde_json::from_str(manifest).expect("a manifest is JSON");
        *manifest.pointer_mut(pointer).expect("it is there") = value;
        seed(name, serde_json::to_string(&manifest).expect("it can be written"))
    };
    vec![
        changed("newer", "/format_version", json!(3)),
        changed("other_format", "/format", json!("other\u{1}")),
        changed("consensus", "/kind", json!("consensus")),
        changed("unknown_kind", "/kind", json!("a\u{1}b")),
        changed("huge_vocab", "/model/vocab", json!(u64::MAX)),
        changed("no_vocab", "/model/vocab", json!(0)),
        changed("other_layer", "/pairs/0/source", json!("h.0.none")),
        changed("backward_pair", "/pairs/0/source", json!("output")),
        changed("no_positions", "/prompts/0", json!({"text": "", "tokens": [], "token_strings": []})),
        changed("no_prompt", "/sets/0/prompt", json!(7)),
        changed("far_file", "/sets/0/file", json!("../manifest.json")),
        changed("same_name", "/sets/0/name", json!("indexed 1")),
        changed("no_prediction", "/sets/0/prediction", Value::Null),
        changed("crossing", "/pairs/1/crosses_positions", json!(true)),
        seed("cut", &manifest[..manifest.len() / 3]),
        seed("empty", ""),
        seed("list", "[]"),
    ]
}
