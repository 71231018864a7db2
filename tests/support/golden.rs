//! Cases with reference results of the published implementation.

#![allow(clippy::missing_panics_doc, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use safetensors::SafeTensors;
use tributary_backend::Element;
use tributary_model::{CausalImportances, CiSet, Layer, Pair, Role, SetAttributions};
use tributary_testing::skip;

use crate::distance::Distance;

/// Largest difference of an output probability: some ten roundings of numbers up to 1, in f32.
const LARGEST_OF_PROBS: f64 = 1e-6;

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
    /// Last position of each set, of those that have one: of attributions at the target model's activations.
    pub until: BTreeMap<String, usize>,
    /// Name of the array of values.
    values: &'static str,
    /// Whether the reference says what is originally alive.
    has_original: bool,
    tensors: Vec<u8>,
    /// The model's own causal importances, where they were kept: `[positions, components]` by layer.
    own_ci: Option<Vec<u8>>,
}

/// What a computation may be off of a pair: a part of the pair's own L2 norm, and a part of that of the whole case.
pub type Bound = (f64, f64);

/// How far all sets of a case are from their references.
#[derive(Clone, Debug)]
pub struct Checked {
    /// Of all pairs of all sets.
    pub whole: Distance,
    /// Largest difference of an output probability.
    pub output_probs: f64,
    /// Number of edges compared.
    pub edges: usize,
}

/// How far a set is from its reference.
#[derive(Clone, Debug)]
struct Compared {
    /// Of every pair that has edges.
    pairs: Vec<(Pair, Distance)>,
    /// Largest difference of an output probability.
    output_probs: f64,
    /// Number of edges compared.
    edges: usize,
}

/// Panics where a pair is farther off than it may be.
pub fn check_pair(distance: Distance, whole: Distance, (of_pair, of_case): Bound, context: &str) {
    let bound = of_pair * distance.norm() + of_case * whole.norm();
    let (error, norm) = (distance.error(), distance.norm());
    assert!(
        error <= bound,
        "{context}: {error:e} off, at most {bound:e}; norm {norm:e}, of the case {:e}",
        whole.norm()
    );
}

impl GoldenCase {
    /// Panics unless nodes and edges of all sets are those of the references and values as near as `bound` says.
    pub fn check<E: Element>(&self, sets: &[SetAttributions<E>], bound: Bound) -> Checked {
        let compared: Vec<Compared> = sets.iter().map(|set| self.compare(set)).collect();
        let whole: Distance = compared.iter().flat_map(|set| &set.pairs).map(|&(_, distance)| distance).sum();
        for (compared, set) in compared.iter().zip(sets) {
            for &(pair, distance) in &compared.pairs {
                let context = format!("{} set {}, {} -> {}", self.name, set.name, pair.source, pair.target);
                check_pair(distance, whole, bound, &context);
            }
        }
        let output_probs = compared.iter().map(|set| set.output_probs).max_by(f64::total_cmp).unwrap();
        assert!(output_probs <= LARGEST_OF_PROBS, "{}: output probabilities {output_probs:e}", self.name);
        let edges: usize = compared.iter().map(|set| set.edges).sum();
        assert!(edges > 0, "{}", self.name);
        Checked { whole, output_probs, edges }
    }

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
            skip("the larger golden cases", "there is no folder ../shared/golden beside the repository");
            return Vec::new();
        }
        let mut cases = Self::all_in(&shared.join("golden"), |model| shared.join("models").join(model));
        // Runs with results of newer semantics too, which have the model's own causal importances.
        let reference = shared.join("reference");
        for model in sorted_folders(&reference) {
            let run = reference.join(&model);
            for case in sorted_folders(&run) {
                let Some(of) = case.strip_suffix("-masked") else { continue };
                let mut opened = Self::open(&run.join(&case), run.clone(), format!("{model}/{of}"));
                opened.own_ci = Some(std::fs::read(run.join(of).join("golden.safetensors")).unwrap());
                cases.push(opened);
            }
        }
        cases
    }

    /// The cases of attributions at the target model's activations that are kept in this repository, with gradients through
    /// deltas or stopped there.
    pub fn bundled_at_target(is_through: bool) -> Vec<Self> {
        let root = root();
        let cases = Self::all_in(&root.join("tests/golden_target"), |model| root.join("tests/models").join(model));
        cases.into_iter().map(|case| case.at_target(is_through)).collect()
    }

    /// The larger of these, as [`shared`](Self::shared).
    pub fn shared_at_target(is_through: bool) -> Vec<Self> {
        let reference = root().join("../shared/reference");
        if !reference.is_dir() {
            skip("the larger golden cases", "there is no folder ../shared/reference beside the repository");
            return Vec::new();
        }
        let mut cases = Vec::new();
        for model in sorted_folders(&reference) {
            let run = reference.join(&model);
            for case in sorted_folders(&run) {
                let folder = run.join(&case);
                if folder.join("golden.safetensors").is_file() && !case.ends_with("-masked") {
                    cases.push(Self::open(&folder, run.clone(), format!("{model}/{case}")).at_target(is_through));
                }
            }
        }
        cases
    }

    fn at_target(self, is_through: bool) -> Self {
        Self { values: if is_through { "values" } else { "values_delta_stopped" }, has_original: false, ..self }
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
            // Of attributions at the target model's activations it is said in words.
            ci_threshold: case["ci_threshold"].as_f64().unwrap_or(0.0),
            output_prob_threshold: case["output_prob_threshold"].as_f64().unwrap(),
            until: case["sets"].as_object().map_or_else(BTreeMap::new, |sets| {
                let last = |set: &serde_json::Value| set["loss_seq_pos"].as_u64().map(|last| last as usize);
                sets.iter().filter_map(|(name, set)| Some((name.clone(), last(set)?))).collect()
            }),
            values: "values",
            has_original: true,
            tensors: std::fs::read(folder.join("golden.safetensors")).unwrap(),
            own_ci: std::fs::read(folder.join("own_ci.safetensors")).ok(),
        }
    }

    /// The largest difference of the model's own causal importances from the reference; `None` where it has none.
    pub fn compare_own_ci(&self, own: &CiSet) -> Option<f64> {
        let golden = SafeTensors::deserialize(self.own_ci.as_ref()?).unwrap();
        // By themselves, or among other numbers.
        let start = if golden.names().iter().any(|name| name.starts_with("model/ci/")) { "model/ci/" } else { "" };
        let count = golden.names().iter().filter(|name| name.starts_with(start)).count();
        assert_eq!(count, own.layers.len(), "{}: layers with causal importances", self.name);
        let of_layer = |(layer, ci): (&Layer, &CausalImportances)| {
            let expected = f32s(golden.tensor(&format!("{start}{layer}")).unwrap().data());
            assert_eq!(expected.len(), ci.positions() * ci.components(), "{}: {layer}", self.name);
            let differences = ci.to_dense().into_iter().zip(expected).map(|(a, b)| (f64::from(a) - f64::from(b)).abs());
            differences.max_by(f64::total_cmp).unwrap()
        };
        own.layers.iter().map(of_layer).max_by(f64::total_cmp)
    }

    /// Compares one set's graph with the reference: panics where nodes or edges differ, measures where values do.
    fn compare<E: Element>(&self, set: &SetAttributions<E>) -> Compared {
        let golden = SafeTensors::deserialize(&self.tensors).unwrap();
        let context = format!("{} set {}", self.name, set.name);
        let (mut pairs, mut edges) = (Vec::new(), 0);
        for pair in &set.pairs {
            let key = format!("{}/{}->{}", set.name, pair.pair.source, pair.pair.target);
            let Ok(coords) = golden.tensor(&format!("{key}/coords")) else {
                assert!(pair.values.is_empty(), "{context}: the reference has no edges of {key}");
                continue;
            };
            let coords: Vec<[i16; 4]> = i16s(coords.data()).chunks_exact(4).map(|c| [c[0], c[1], c[2], c[3]]).collect();
            let values = f32s(golden.tensor(&format!("{key}/{}", self.values)).unwrap().data());
            let expected: BTreeMap<[i16; 4], f32> = coords.into_iter().zip(values).collect();
            let (source, target) = (entries(&pair.source), entries(&pair.target));
            let mut got = BTreeMap::new();
            for ((from, to), &value) in pair.edges().zip(&pair.values) {
                got.insert([source[from].0, source[from].1, target[to].0, target[to].1], value);
            }
            assert_eq!(got.len(), pair.values.len(), "{context}: {key} has an edge twice");
            assert!(got.keys().eq(expected.keys()), "{context}: the edges of {key} are not those of the reference");
            let expected = expected.values().map(|&value| f64::from(value));
            pairs.push((pair.pair, Distance::of(got.values().map(|value| value.to_f64()), expected)));
            edges += got.len();
        }
        let prefix = format!("{}/", set.name);
        let with_values = golden.names().iter().filter(|n| n.starts_with(&prefix) && n.ends_with("/values")).count();
        assert_eq!(pairs.len(), with_values, "{context}: pairs of the reference that were compared");
        let probs = output_probs(&golden, &set.name).expect("every set has them");
        assert_eq!(probs.len(), set.output_probs.len());
        let differences = probs.iter().zip(&set.output_probs).map(|(a, b)| (f64::from(*a) - b.to_f64()).abs());
        if self.has_original {
            self.compare_original(&golden, set);
        }
        // Not `f64::max`, which takes a number over NaN.
        let largest = differences.max_by(f64::total_cmp).expect("a prompt has positions");
        Compared { pairs, output_probs: largest, edges }
    }

    /// Panics unless the originally alive entries are those of the reference.
    fn compare_original<E>(&self, golden: &SafeTensors<'_>, set: &SetAttributions<E>) {
        for (layer, nodes) in &set.nodes {
            let got: Vec<(usize, usize)> = nodes.original.iter().collect();
            let context = format!("{}: original alive entries of {layer} in set {}", self.name, set.name);
            match layer.role() {
                Role::Embedding => {
                    assert!(got.into_iter().eq((0..nodes.original.positions()).map(|s| (s, 0))), "{context}");
                }
                Role::Output => self.compare_original_output(golden, &got, nodes.original.positions(), &context),
                _ => {
                    let mask = golden.tensor(&format!("{}/model_alive/{layer}", set.name)).unwrap();
                    let components = mask.shape()[1];
                    let alive = mask.data().iter().enumerate().filter(|&(_, &alive)| alive != 0);
                    let alive: Vec<_> = alive.map(|(at, _)| (at / components, at % components)).collect();
                    assert_eq!(got, alive, "{context}");
                }
            }
        }
    }

    /// The reference does not say which outputs are originally alive, but where the model's own causal importances are one
    /// of the sets, that set's probabilities do.
    fn compare_original_output(
        &self,
        golden: &SafeTensors<'_>,
        got: &[(usize, usize)],
        positions: usize,
        context: &str,
    ) {
        let Some(probs) = output_probs(golden, "model") else { return };
        let vocab = probs.len() / positions;
        let threshold = self.output_prob_threshold;
        let near = probs.iter().filter(|&&prob| (f64::from(prob) - threshold).abs() < LARGEST_OF_PROBS).count();
        assert_eq!(near, 0, "{context}: a probability so near to the threshold that rounding decides");
        let alive = probs.iter().enumerate().filter(|&(_, &prob)| f64::from(prob) >= threshold);
        let alive: Vec<_> = alive.map(|(at, _)| (at / vocab, at % vocab)).collect();
        assert_eq!(got, alive, "{context}");
    }
}

/// Probabilities of the outputs in one set, `[positions, vocab]`.
fn output_probs(golden: &SafeTensors<'_>, set: &str) -> Option<Vec<f32>> {
    golden.tensor(&format!("{set}/output_probs")).ok().map(|tensor| f32s(tensor.data()))
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
