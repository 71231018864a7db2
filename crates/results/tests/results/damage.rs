//! Damaged and hostile result folders: each is named, none is believed.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde_json::{Value, json};
use tempfile::TempDir;
use tributary_results::{ResultError, ResultFolder};
use tributary_testing::{RandomResults, config};

/// Dtype, shape and bytes of each tensor of a file.
type Tensors = BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>;

/// A written folder whose first set is called `set`.
struct Written {
    out: TempDir,
    file: PathBuf,
    seed: u64,
}

impl Written {
    fn new(seed: u64) -> Self {
        let mut results = RandomResults::new(seed);
        (results.output_probs, results.implied_index) = (true, false);
        "set".clone_into(&mut results.sets[0].0.name);
        let out = tempfile::tempdir().unwrap();
        results.write(out.path(), false).unwrap();
        Self { file: out.path().join("set.safetensors"), out, seed }
    }

    /// A seed whose first set has a pair with at least two source nodes and two edges; and the pair's name.
    fn with_edges() -> (u64, String) {
        let found = (0..1000).find_map(|seed| {
            let tensors = Self::new(seed).tensors();
            let has_two = |name: &str| tensors[name].1[0] >= 2;
            let pairs = tensors.keys().filter_map(|name| name.strip_prefix("edges/h.")?.strip_suffix("/index"));
            let mut pairs = pairs.map(|pair| format!("h.{pair}"));
            let pair = pairs.find(|pair| {
                let (source, _) = pair.split_once("->").unwrap();
                has_two(&format!("nodes/{source}/index")) && has_two(&format!("edges/{pair}/index"))
            })?;
            Some((seed, pair))
        });
        found.unwrap()
    }

    fn tensors(&self) -> Tensors {
        let bytes = fs::read(&self.file).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let owned = |view: TensorView<'_>| (view.dtype(), view.shape().to_vec(), view.data().to_vec());
        file.tensors().into_iter().map(|(name, view)| (name, owned(view))).collect()
    }

    fn edit_tensors(&self, edit: impl FnOnce(&mut Tensors)) {
        let mut tensors = self.tensors();
        edit(&mut tensors);
        let views = tensors
            .iter()
            .map(|(name, (dtype, shape, bytes))| (name, TensorView::new(*dtype, shape.clone(), bytes).unwrap()));
        self.replace_file(&safetensors::serialize(views, None::<HashMap<_, _>>).unwrap());
    }

    /// Replaces the set's file by another and has the manifest vouch for it.
    fn replace_file(&self, bytes: &[u8]) {
        fs::write(&self.file, bytes).unwrap();
        let Err(ResultError::Changed { found, .. }) = self.read() else { return };
        self.edit_manifest(|manifest| manifest["sets"][0]["sha256"] = json!(found));
    }

    fn manifest(&self) -> PathBuf {
        self.out.path().join("manifest.json")
    }

    fn edit_manifest(&self, edit: impl FnOnce(&mut Value)) {
        let mut manifest = serde_json::from_slice(&fs::read(self.manifest()).unwrap()).unwrap();
        edit(&mut manifest);
        fs::write(self.manifest(), manifest.to_string()).unwrap();
    }

    fn read(&self) -> Result<(), ResultError> {
        ResultFolder::open(self.out.path())?.read_set("set").map(drop)
    }

    /// Asserts that reading fails, naming `path` and all of `parts`.
    fn assert_error(&self, path: &Path, parts: &[&str]) {
        let error = self.read().unwrap_err().to_string();
        for part in parts.iter().chain([&path.to_str().unwrap()]) {
            assert!(error.contains(part), "{error:?} does not say {part:?}, seed {}", self.seed);
        }
    }
}

/// A seed of results that hold everything that results can.
fn seed() -> u64 {
    let is_whole = |&seed: &u64| {
        let (set, prompt) = &RandomResults::new(seed).sets[0];
        set.prediction.is_some() && prompt.tokens.len() > 1
    };
    (0..1000).find(is_whole).unwrap()
}

#[test]
fn a_changed_file_is_noticed() {
    let written = Written::new(seed());
    let bytes = fs::read(&written.file).unwrap();
    fs::write(&written.file, &bytes[..bytes.len() - 1]).unwrap();
    written.assert_error(&written.file, &["SHA-256", "damaged"]);
    let mut flipped = bytes;
    *flipped.last_mut().unwrap() ^= 1;
    fs::write(&written.file, flipped).unwrap();
    written.assert_error(&written.file, &["SHA-256", "damaged"]);
    fs::remove_file(&written.file).unwrap();
    written.assert_error(&written.file, &["cannot open"]);
}

#[test]
fn a_file_that_is_no_safetensors_file_is_noticed() {
    let written = Written::new(seed());
    let bytes = fs::read(&written.file).unwrap();
    for broken in [&b""[..], b"{}", &bytes[..100], &bytes[..bytes.len() - 1]] {
        written.replace_file(broken);
        written.assert_error(&written.file, &["not a safetensors file"]);
    }
}

#[test]
fn every_tensor_is_needed() {
    let names: Vec<String> = Written::new(seed()).tensors().into_keys().collect();
    for name in names {
        let written = Written::new(seed());
        written.edit_tensors(|tensors| drop(tensors.remove(&name)));
        written.assert_error(&written.file, &[&name, "missing"]);
    }
}

#[test]
fn every_dtype_and_shape_is_checked() {
    let names: Vec<String> = Written::new(seed()).tensors().into_keys().collect();
    for name in names {
        let written = Written::new(seed());
        written.edit_tensors(|tensors| {
            let (dtype, ..) = tensors.get_mut(&name).unwrap();
            *dtype = if *dtype == Dtype::F32 { Dtype::U32 } else { Dtype::F32 };
        });
        written.assert_error(&written.file, &[&name, "dtype"]);

        let written = Written::new(seed());
        written.edit_tensors(|tensors| tensors.get_mut(&name).unwrap().1.push(1));
        written.assert_error(&written.file, &[&name, "shape"]);
    }
}

#[test]
fn indices_are_checked() {
    type Edit = fn(&mut [u8]);
    let (seed, pair) = Written::with_edges();
    let (source, _) = pair.split_once("->").unwrap();
    let index = format!("nodes/{source}/index");
    // Rows of (position, component): out of order, twice the same, out of range.
    let edits: [(Edit, &str); 5] = [
        (|bytes| bytes.rotate_left(8), "ascend"),
        (|bytes| bytes.copy_within(0..8, 8), "ascend"),
        (|bytes| bytes[4..8].copy_from_slice(&(-1_i32).to_le_bytes()), "row 0"),
        (|bytes| bytes[4..8].copy_from_slice(&5_i32.to_le_bytes()), "outside"),
        (|bytes| bytes[3] = 1, "outside"),
    ];
    for (edit, reason) in edits {
        let written = Written::new(seed);
        written.edit_tensors(|tensors| edit(&mut tensors.get_mut(&index).unwrap().2));
        written.assert_error(&written.file, &[&index, reason]);
    }
    let (written, edges) = (Written::new(seed), format!("edges/{pair}/index"));
    written.edit_tensors(|tensors| tensors.get_mut(&edges).unwrap().2.rotate_left(8));
    written.assert_error(&written.file, &[&edges, "row 0 is"]);
    let (written, values) = (Written::new(seed), format!("edges/{pair}/value"));
    written.edit_tensors(|tensors| {
        let (_, shape, bytes) = tensors.get_mut(&values).unwrap();
        shape[0] -= 1;
        bytes.truncate(bytes.len() - 4);
    });
    written.assert_error(&written.file, &[&values, "shape"]);
}

#[test]
fn what_the_target_model_predicts_is_checked() {
    let numbers: [(&str, f32, &str); 4] = [
        ("kl", f32::NAN, "element 0 is NaN"),
        ("kl", -0.5, "expected a finite number that is not negative"),
        ("likeliest", f32::from_bits(u32::MAX), "expected a token of the vocabulary"),
        ("likeliest", f32::from_bits(1000), "element 0 is 1000"),
    ];
    for (tensor, number, reason) in numbers {
        let written = Written::new(seed());
        written.edit_tensors(|tensors| tensors.get_mut(tensor).unwrap().2[..4].copy_from_slice(&number.to_le_bytes()));
        written.assert_error(&written.file, &[tensor, reason]);
    }
    // What the manifest says in short is what the file says at length.
    for (field, value) in [("mean_kl", json!(0.1)), ("agreeing", json!(1000)), ("far_outputs", json!(1000))] {
        let written = Written::new(seed());
        written.edit_manifest(|manifest| manifest["sets"][0]["prediction"][field] = value);
        written.assert_error(&written.file, &["of the prediction of the target model", "manifest.json"]);
    }
}

#[test]
fn manifests_are_checked() {
    type Edit = fn(&mut Value);
    let edits: [(Edit, &str); 22] = [
        (
            |manifest| manifest["format_version"] = json!(3),
            "format version 3; this version of tributary reads versions 1 to 2",
        ),
        (|manifest| manifest["format"] = json!("other"), "format is \"other\""),
        (|manifest| *manifest = json!([]), "not a manifest"),
        (|manifest| drop(manifest.as_object_mut().unwrap().remove("sets")), "missing field `sets`"),
        (|manifest| manifest["sets"][0]["file"] = json!("../x.safetensors"), "sets[0].file"),
        (|manifest| manifest["sets"][0]["file"] = json!("/etc/passwd"), "sets[0].file"),
        (|manifest| manifest["sets"][0]["prompt"] = json!(9), "sets[0].prompt is 9"),
        (|manifest| manifest["sets"][0]["pairs"] = json!([]), "sets[0].pairs"),
        (
            |manifest| {
                let first = manifest["sets"][0].clone();
                manifest["sets"].as_array_mut().unwrap().insert(0, first);
            },
            "sets[1] is named \"set\"",
        ),
        (|manifest| manifest["pairs"][0]["source"] = json!("h.7.mlp.c_fc"), "pairs[0].source is \"h.7.mlp.c_fc\""),
        (|manifest| manifest["pairs"][0]["target"] = json!(""), "pairs[0].target is \"\", which is not a layer"),
        (
            |manifest| {
                let counts = json!({ "nodes": 0, "ghosts": 0 });
                manifest["sets"][0]["layers"].as_object_mut().unwrap().insert("x".to_owned(), counts);
            },
            "a key of sets[0].layers is \"x\"",
        ),
        (
            |manifest| {
                let entry = json!({ "layer": "x", "position": 0, "component": 0, "importance": 0.5 });
                manifest["sets"][0]["borderline"] = json!([entry]);
            },
            "sets[0].borderline[0].layer is \"x\"",
        ),
        (|manifest| manifest["model"]["layers"][0]["role"] = json!("key"), "the role \"key\" and the block None"),
        (
            |manifest| manifest["model"]["layers"][0]["role"] = json!("gate"),
            "one of the roles embedding, token_embedding, query",
        ),
        (|manifest| manifest["model"]["layers"][0]["name"] = json!("embedding"), "has \"embedding\" with the role"),
        (
            |manifest| {
                let first = manifest["model"]["layers"][0].clone();
                manifest["model"]["layers"].as_array_mut().unwrap().push(first);
            },
            "model.layers names \"wte\" twice",
        ),
        (
            |manifest| drop(manifest["prompts"][0]["target_likeliest"].as_array_mut().unwrap().pop()),
            "lists of target_likeliest",
        ),
        (
            |manifest| manifest["prompts"][0]["target_likeliest"][0][0]["token"] = json!(1000),
            "prompts[0].target_likeliest has token 1000",
        ),
        (
            |manifest| {
                for prompt in manifest["prompts"].as_array_mut().unwrap() {
                    prompt.as_object_mut().unwrap().remove("target_likeliest");
                }
            },
            "sets[0] has a prediction, but",
        ),
        (|manifest| manifest["prompts"][0]["token_strings"] = json!([]), "prompts[0] has"),
        (
            |manifest| manifest["model"]["components"] = json!({ "lm_head": 3 }),
            "which is no linear layer of model.layers",
        ),
    ];
    for (edit, reason) in edits {
        let written = Written::new(seed());
        written.edit_manifest(edit);
        written.assert_error(&written.manifest(), &[reason]);
    }
    let written = Written::new(seed());
    fs::write(written.manifest(), "{").unwrap();
    written.assert_error(&written.manifest(), &["not a manifest"]);
    fs::remove_file(written.manifest()).unwrap();
    written.assert_error(written.out.path(), &["holds no results", "manifest.json"]);
    let error = ResultFolder::open(&written.out.path().join("nowhere")).unwrap_err();
    assert!(error.to_string().contains("nowhere"), "{error}");
}

#[test]
fn unknown_fields_are_left_to_later_versions() {
    let written = Written::new(seed());
    written.edit_manifest(|manifest| manifest["later"] = json!({ "x": 1 }));
    written.read().unwrap();
}

#[test]
fn an_unknown_set_is_named_with_the_known_ones() {
    let written = Written::new(seed());
    let error = ResultFolder::open(written.out.path()).unwrap().read_set("other").unwrap_err().to_string();
    assert!(error.contains("no set \"other\"") && error.contains("\"set\""), "{error}");
}

proptest! {
    #![proptest_config(config(128))]

    #[test]
    fn no_set_file_makes_the_reader_panic(seed in 0_u64..20, flips in prop::collection::vec((any::<prop::sample::Index>(), 0_u8..8), 1..4)) {
        let written = Written::new(seed);
        let mut bytes = fs::read(&written.file).unwrap();
        for (offset, bit) in flips {
            let offset = offset.index(bytes.len());
            bytes[offset] ^= 1 << bit;
        }
        written.replace_file(&bytes);
        let _ = written.read();
    }

    #[test]
    fn no_manifest_makes_the_reader_panic(seed in 0_u64..20, offset: prop::sample::Index, replacement in "[0-9a-z\"\\[\\]{},:-]") {
        let written = Written::new(seed);
        let mut text = fs::read_to_string(written.manifest()).unwrap();
        let offset = offset.index(text.len());
        if text.is_char_boundary(offset) && text.is_char_boundary(offset + 1) {
            text.replace_range(offset..=offset, &replacement);
        }
        fs::write(written.manifest(), text).unwrap();
        let _ = written.read();
    }
}
