//! Cases with reference results of the published implementation.

#![allow(clippy::missing_panics_doc, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use safetensors::SafeTensors;
use tributary_backend::Element;
use tributary_model::SetAttributions;

/// A model, a prompt, CI sets, and what the published implementation gave for them when run in float64.
pub struct GoldenCase {
    /// `MODEL/CASE`.
    pub name: String,
    /// Folder of the trained run.
    pub run: PathBuf,
    /// CI-set file.
    pub ci_sets: PathBuf,
    /// `ci_threshold` of the case.
    pub ci_threshold: f64,
    /// `output_prob_threshold` of the case.
    pub output_prob_threshold: f64,
    tensors: Vec<u8>,
}

/// How far a set is from its reference.
#[derive(Clone, Copy, Debug, Default)]
pub struct Distance {
    /// Sum of squared differences over all values.
    pub squared_error: f64,
    /// Sum of squared reference values.
    pub squared_norm: f64,
    /// Largest difference of an output probability.
    pub output_probs: f64,
    /// Number of edges compared.
    pub edges: usize,
}

impl GoldenCase {
    /// The cases kept in this repository.
    pub fn bundled() -> Vec<Self> {
        let root = root();
        let runs = |model: &str| match model {
            "gpt2s-2L" => root.join("data/gpt2s-2L"),
            _ => root.join("tests/models").join(model),
        };
        Self::all_in(&root.join("tests/golden"), runs)
    }

    /// The larger cases, where a folder `shared` with them lies beside the repository; says loudly when it does not.
    pub fn shared() -> Vec<Self> {
        let shared = root().join("../shared");
        if !shared.join("golden").is_dir() {
            // Not `eprintln!`, which the test harness keeps to itself when a test passes.
            std::io::stderr().write_all(b"SKIPPED: the larger golden cases, because there is no folder ../shared/golden beside the repository\n").unwrap();
            return Vec::new();
        }
        Self::all_in(&shared.join("golden"), |model| shared.join("models").join(model))
    }

    fn all_in(golden: &Path, run: impl Fn(&str) -> PathBuf) -> Vec<Self> {
        let mut cases = Vec::new();
        for model in sorted_folders(golden) {
            for case in sorted_folders(&golden.join(&model)) {
                cases.push(Self::open(&golden.join(&model).join(&case), run(&model), format!("{model}/{case}")));
            }
        }
        assert!(!cases.is_empty(), "no golden cases in {}", golden.display());
        cases
    }

    fn open(folder: &Path, run: PathBuf, name: String) -> Self {
        let case: serde_json::Value =
            serde_json::from_str(&std::fs::read_to_string(folder.join("case.json")).unwrap()).unwrap();
        Self {
            name,
            run,
            ci_sets: folder.join("ci_sets.json"),
            ci_threshold: case["ci_threshold"].as_f64().unwrap(),
            output_prob_threshold: case["output_prob_threshold"].as_f64().unwrap(),
            tensors: std::fs::read(folder.join("golden.safetensors")).unwrap(),
        }
    }

    /// Compares one set's graph with the reference: panics where nodes or edges differ, measures where values do.
    pub fn compare<E: Element>(&self, set: &SetAttributions<E>) -> Distance {
        let golden = SafeTensors::deserialize(&self.tensors).unwrap();
        let context = format!("{} set {}", self.name, set.name);
        let mut distance = Distance::default();
        let mut pairs = 0;
        for pair in &set.pairs {
            let key = format!("{}/{}->{}", set.name, pair.pair.source, pair.pair.target);
            let Ok(coords) = golden.tensor(&format!("{key}/coords")) else {
                assert!(pair.values.is_empty(), "{context}: the reference has no edges of {key}");
                continue;
            };
            pairs += 1;
            let coords: Vec<[i16; 4]> = i16s(coords.data()).chunks_exact(4).map(|c| [c[0], c[1], c[2], c[3]]).collect();
            let values = f32s(golden.tensor(&format!("{key}/values")).unwrap().data());
            let expected: BTreeMap<[i16; 4], f32> = coords.into_iter().zip(values).collect();
            let (source, target) = (entries(&pair.source), entries(&pair.target));
            let mut got = BTreeMap::new();
            for ((from, to), &value) in pair.edges().zip(&pair.values) {
                got.insert([source[from].0, source[from].1, target[to].0, target[to].1], value);
            }
            assert_eq!(got.len(), pair.values.len(), "{context}: {key} has an edge twice");
            assert!(got.keys().eq(expected.keys()), "{context}: the edges of {key} are not those of the reference");
            for (got, expected) in got.values().zip(expected.values()) {
                distance.squared_error += (got.to_f64() - f64::from(*expected)).powi(2);
                distance.squared_norm += f64::from(*expected).powi(2);
            }
            distance.edges += got.len();
        }
        let prefix = format!("{}/", set.name);
        let with_values = golden.names().iter().filter(|n| n.starts_with(&prefix) && n.ends_with("/values")).count();
        assert_eq!(pairs, with_values, "{context}: pairs of the reference that were compared");
        let probs = f32s(golden.tensor(&format!("{}/output_probs", set.name)).unwrap().data());
        assert_eq!(probs.len(), set.output_probs.len());
        let differences = probs.iter().zip(&set.output_probs).map(|(a, b)| (f64::from(*a) - b.to_f64()).abs());
        distance.output_probs = differences.fold(0.0, f64::max);
        self.compare_original(&golden, set);
        distance
    }

    fn compare_original<E>(&self, golden: &SafeTensors<'_>, set: &SetAttributions<E>) {
        for (layer, nodes) in &set.nodes {
            if !layer.is_linear() {
                continue;
            }
            let mask = golden.tensor(&format!("{}/model_alive/{layer}", set.name)).unwrap();
            let components = mask.shape()[1];
            let positions = mask.shape()[0];
            let alive = (0..mask.data().len()).filter(|&at| mask.data()[at] != 0);
            let mut alive: Vec<(usize, usize)> = if self.name.starts_with("llama") {
                // The masks of this run were saved in column-major order: read so, they are what the case's own CI set
                // `model`, the model's causal importances, says is alive.
                alive.map(|at| (at % positions, at / positions)).collect()
            } else {
                alive.map(|at| (at / components, at % components)).collect()
            };
            alive.sort_unstable();
            let got: Vec<(usize, usize)> = nodes.original.iter().collect();
            assert_eq!(got, alive, "{}: original alive entries of {layer} in set {}", self.name, set.name);
        }
    }
}

impl Distance {
    /// Relative L2 error over all values.
    pub fn relative(&self) -> f64 {
        (self.squared_error / self.squared_norm).sqrt()
    }

    /// Two sets' distances together.
    #[must_use]
    pub fn merge(self, other: Self) -> Self {
        Self {
            squared_error: self.squared_error + other.squared_error,
            squared_norm: self.squared_norm + other.squared_norm,
            output_probs: self.output_probs.max(other.output_probs),
            edges: self.edges + other.edges,
        }
    }
}

/// Folder of the repository: where the suites were built, or where `TRIBUTARY_ROOT` says that its data lie now.
fn root() -> PathBuf {
    let built_in = || Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    std::env::var_os("TRIBUTARY_ROOT").map_or_else(built_in, PathBuf::from)
}

fn entries(alive: &tributary_model::AliveEntries) -> Vec<(i16, i16)> {
    alive.iter().map(|(s, c)| (i16::try_from(s).unwrap(), i16::try_from(c).unwrap())).collect()
}

fn sorted_folders(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let folders = entries.map(Result::unwrap).filter(|entry| entry.path().is_dir());
    let mut names: Vec<String> = folders.map(|entry| entry.file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn i16s(bytes: &[u8]) -> Vec<i16> {
    bytes.as_chunks::<2>().0.iter().map(|b| i16::from_le_bytes(*b)).collect()
}

fn f32s(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect()
}
