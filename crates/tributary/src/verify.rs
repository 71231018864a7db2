//! Some edges of a result, computed again in another way.
//!
//! Edges are [drawn](crate::sample) evenly from the pairs of all sets, what leads to their targets is computed, and they and
//! all nodes are [compared](comparison) with what the files hold.

mod comparison;

use std::path::PathBuf;

use tributary_backend::{AttributionBackend, Dtype, Element, Providers, Work};
use tributary_engine::{Method, Model, Request, Targets, attribute_to};
use tributary_model::Weights;
use tributary_results::{Manifest, PromptEntry};

use crate::output_targets::AskedOutput;
use crate::result_inputs::{ResultInputs, forward, thresholds};
use crate::sample::{self, StoredSet};
use crate::sets::InputSets;
use crate::{Compute, Error, OnProgress, Progress, ResultRun, memory, on_backend};

pub use comparison::{Comparison, Difference, OtherNode, PairDifference};

/// Which edges of a result are computed again, and how.
#[derive(Clone, Debug, PartialEq)]
pub struct Verify {
    /// The result.
    pub result: ResultRun,
    /// The file of CI sets; `None` for the one the result names, if it names one.
    pub ci_sets: Option<PathBuf>,
    /// What computes.
    pub compute: Compute,
    /// How attributions are computed; `None` for the other method than the result's, where the model allows.
    pub method: Option<Method>,
    /// How many edges are drawn, evenly from the pairs of all sets; `None` for one of each pair of each set, and at least 200.
    pub samples: Option<u64>,
    /// Which edges are drawn: the same ones for the same seed.
    pub seed: u64,
    /// The largest [difference](Difference::relative) that passes; `None` for what rounding explains.
    pub tolerance: Option<f64>,
}

impl Verify {
    /// A result, against the run and the CI sets that it names: on the CPU in float64, by the other method.
    pub fn new(result: impl Into<PathBuf>) -> Self {
        Self {
            result: ResultRun::new(result),
            ci_sets: None,
            compute: Compute { device: Some("cpu".to_owned()), dtype: Dtype::F64, ..Compute::default() },
            method: None,
            samples: None,
            seed: 0,
            tolerance: None,
        }
    }

    fn inputs(&self) -> ResultInputs<'_> {
        ResultInputs { result: &self.result, ci_sets: self.ci_sets.as_deref() }
    }
}

/// What a verification found.
#[derive(Clone, Debug)]
pub struct Verification {
    /// The result's manifest.
    pub manifest: Manifest,
    /// What was compared.
    pub comparison: Comparison,
    /// Method, backend, device and type of the second computation, for showing.
    pub recomputed_by: String,
    /// The largest difference that passes.
    pub tolerance: f64,
}

impl Verification {
    /// Whether nodes are the same and no value differs by more than the tolerance.
    pub fn passes(&self) -> bool {
        self.comparison.passes(self.tolerance)
    }
}

/// Computes some edges of a result again on a backend of `L` and compares them, and all nodes, with what its files hold.
pub fn verify<L: Providers>(settings: &Verify, on_progress: &mut OnProgress<'_>) -> Result<Verification, Error> {
    let folder = settings.result.folder()?;
    let run = settings.result.open(folder.manifest(), on_progress)?;
    let inputs = settings.inputs();
    let ci_sets = inputs.ci_sets_file(folder.manifest())?;
    on_progress(Progress::Drawing(&settings.result.result));
    let stored = sample::draw(&folder, settings.samples, settings.seed)?;
    let manifest = folder.manifest().clone();
    let sets = match &ci_sets {
        Some(file) => inputs.sets(file, &run, &manifest, &stored, &mut |text| on_progress(Progress::Note(text)))?,
        None => inputs.prompts(&run, &manifest)?,
    };
    let job = Job { settings, manifest, stored, weights: run.weights, sets, on_progress };
    on_backend::<L, _, _, _>(&settings.compute, job)
}

/// A verification, ready but for its backend.
struct Job<'a, 'p> {
    settings: &'a Verify,
    manifest: Manifest,
    stored: Vec<StoredSet>,
    weights: Weights,
    sets: InputSets,
    on_progress: &'a mut OnProgress<'p>,
}

impl Work for Job<'_, '_> {
    type Output = Result<Verification, Error>;

    fn run<B: AttributionBackend>(self, backend: B) -> Self::Output {
        let Self { settings, manifest, stored, weights, sets, on_progress } = self;
        let model = Model::upload(backend, weights)?;
        let method = settings.method.unwrap_or_else(|| {
            let by_autograd = manifest.run.method == Method::Autograd.name();
            if by_autograd { model.fastest_method() } else { Method::Autograd }
        });
        let targets: Vec<Targets> = stored.iter().map(|set| set.targets(&manifest.pairs)).collect();
        let until: Vec<Option<usize>> = manifest.sets.iter().map(|set| set.until).collect();
        let asked = {
            let prompts = manifest.sets.iter().map(|set| (&manifest.prompts[set.prompt], set.until));
            let last = |(prompt, until): (&PromptEntry, Option<usize>)| until.unwrap_or(prompt.tokens.len() - 1);
            AskedOutput::of(&manifest.settings.output_targets, manifest.run.model.vocab, prompts.map(last))
        };
        let request = Request {
            output: asked.entries(),
            thresholds: thresholds(&manifest),
            forward: forward(&manifest),
            method,
            until: &until,
            max_memory: memory::default_limit(),
            ghosts: manifest.settings.ghosts,
            ..Request::new(sets.sets())
        };
        let mut progress = |progress| on_progress(Progress::Engine(progress));
        let recomputed = attribute_to(&model, &request, &targets, &mut progress)?;
        let comparison = Comparison::new(&manifest, &stored, &recomputed.sets);
        let rounding = || tolerance(&manifest, B::Element::DTYPE, settings.compute.allow_tf32);
        let tolerance = settings.tolerance.unwrap_or_else(rounding);
        let info = model.backend().device();
        let recomputed_by = format!("{} on {} {}, {}", method.name(), info.backend, info.device, info.dtype);
        Ok(Verification { manifest, comparison, recomputed_by, tolerance })
    }
}

/// How far apart two correct computations may be, as a part of the largest value at an edge's target
/// (see [`Difference::relative`]).
///
/// An attribution is a sum of some hundred to thousand rounded terms of about that size, some ten layers deep. In f32
/// that leaves a few times 2^-24 = 6e-8 in the mean, and in the worst of many edges some ten times more. Between two
/// float64 computations, it is the float32 of the files that counts. TF32 keeps 10 bits of each factor.
fn tolerance(manifest: &Manifest, dtype: Dtype, allow_tf32: bool) -> f64 {
    if allow_tf32 || manifest.settings.allow_tf32 {
        1e-2
    } else if manifest.run.dtype == Dtype::F32.to_string() || dtype == Dtype::F32 {
        1e-5
    } else {
        1e-6
    }
}
