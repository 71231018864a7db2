//! What is to be computed, as one value.

use std::path::{Path, PathBuf};

use tributary_backend::Dtype;
use tributary_engine::{DeltaGradient, Forward, Method};
use tributary_inputs::{RunOptions, TrainedRun, run_folder};
use tributary_model::Thresholds;
use tributary_results as results;

use crate::{Error, OnProgress, OutputTargets, Progress, Until};

/// What is to be computed: [`Settings::new`] has the defaults of everything but the run and the CI sets.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// The trained run.
    pub run: Run,
    /// The CI sets.
    pub input: Input,
    /// What is alive.
    pub thresholds: Thresholds,
    /// Where attributions are evaluated.
    pub forward: Forward,
    /// Up to where sets take part.
    pub until: Until,
    /// What of the output is a node whatever its probability.
    pub output_targets: OutputTargets,
    /// How attributions are computed; `None` for the fastest method that covers the model.
    pub method: Option<Method>,
    /// Bytes of memory to take beside the model; `None` for half of what is free. Sets that do not fit together are computed
    /// one after the other.
    pub max_memory: Option<u64>,
    /// Whether what the model's own causal importances keep alive is recorded beside the sets of a file: its ghosts.
    pub ghosts: bool,
    /// What computes.
    pub compute: Compute,
    /// What is in the files of a result.
    pub files: Files,
}

impl Settings {
    /// The run in `folder` on `input`, and the defaults for all else.
    pub fn new(folder: impl Into<PathBuf>, input: Input) -> Self {
        Self {
            run: Run::new(folder),
            input,
            thresholds: Thresholds::default(),
            forward: Forward::Masked,
            until: Until::default(),
            output_targets: OutputTargets::default(),
            method: None,
            max_memory: None,
            ghosts: true,
            compute: Compute::default(),
            files: Files::default(),
        }
    }

    /// As a manifest records them, without [`output_targets`](Self::output_targets), whose tokens are names yet.
    pub(crate) fn recorded(&self) -> results::Settings {
        results::Settings {
            ci_threshold: self.thresholds.ci,
            output_prob_threshold: self.thresholds.output_prob,
            method: self.method.map_or("auto", Method::name).to_owned(),
            output_probs: self.files.output_probs,
            threads: self.compute.threads,
            implied_index: self.files.implied_index,
            allow_tf32: self.compute.allow_tf32,
            ghosts: self.ghosts,
            output_top: self.thresholds.output_top,
            output_targets: results::OutputTargets::default(),
            forward: match self.forward {
                Forward::Masked => results::Forward::Masked,
                Forward::Target(_) => results::Forward::Target,
            },
            delta: match self.forward {
                Forward::Masked => None,
                Forward::Target(DeltaGradient::Through) => Some(results::Delta::Through),
                Forward::Target(DeltaGradient::Stopped) => Some(results::Delta::Stopped),
                Forward::Target(DeltaGradient::Both) => Some(results::Delta::Both),
            },
        }
    }

    /// Where the inputs are and what was in the file of CI sets, for whoever wants to go back to them.
    pub(crate) fn inputs(&self, ci_sets_sha256: Option<&str>) -> results::Inputs {
        let absolute =
            |path: &PathBuf| std::path::absolute(path).unwrap_or_else(|_| path.clone()).display().to_string();
        results::Inputs {
            model: absolute(&run_folder(&self.run.folder)),
            target: self.run.target.as_ref().map(absolute),
            tokenizer: self.run.tokenizer.as_ref().map(absolute),
            checkpoint: self.run.checkpoint.as_ref().map(|named| {
                // Of the run's folder as it is, so that a run that has moved has it still.
                if run_folder(&self.run.folder).join(named).exists() {
                    named.display().to_string()
                } else {
                    absolute(named)
                }
            }),
            ci_sets: match &self.input {
                Input::CiSets { file, .. } => Some(absolute(file)),
                Input::Prompts(_) | Input::Tokens(_) | Input::TokenFile(_) => None,
            },
            ci_sets_sha256: ci_sets_sha256.map(str::to_owned),
        }
    }
}

/// Where a trained run is, and what is not in its folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// Holds `final_config.yaml` and `model_STEP.pth`; or a reference to Weights & Biases, such as
    /// `wandb:ENTITY/PROJECT/runs/ID`, of a run that the published code has fetched.
    pub folder: PathBuf,
    /// Folder of the target model, with `model_config.yaml` and `tokenizer.json`; `None` for `target/` in the run's folder,
    /// else where its config points to.
    pub target: Option<PathBuf>,
    /// The tokenizer; `None` for the target model's.
    pub tokenizer: Option<PathBuf>,
    /// The checkpoint: a file, or the name of one in the folder; `None` for that with the largest step.
    pub checkpoint: Option<PathBuf>,
}

impl Run {
    /// A run with all of its files in its folder, or where its config points to.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into(), target: None, tokenizer: None, checkpoint: None }
    }

    /// Reads it.
    pub fn load(&self) -> Result<TrainedRun, Error> {
        let options = RunOptions {
            target: self.target.as_deref(),
            tokenizer: self.tokenizer.as_deref(),
            checkpoint: self.checkpoint.as_deref(),
        };
        Ok(TrainedRun::load(&self.folder, &options)?)
    }

    /// Reads it, and says so and what is worth knowing of it.
    pub(crate) fn open(&self, on_progress: &mut OnProgress<'_>) -> Result<TrainedRun, Error> {
        on_progress(Progress::Reading(&self.folder));
        let run = self.load()?;
        run.notes.iter().for_each(|text| on_progress(Progress::Note(text)));
        Ok(run)
    }
}

/// Where CI sets come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// A file has them.
    CiSets {
        /// The file, in one of the four JSON formats.
        file: PathBuf,
        /// The sets that are wanted, as [`select_sets`](crate::select_sets) takes them; empty for all.
        sets: Vec<String>,
        /// What the prompts of the file must be; empty for whatever they are.
        prompts: Vec<String>,
    },
    /// The model's own causal importances on these texts, as sets named `prompt_0`, `prompt_1`, ...
    Prompts(Vec<String>),
    /// The same on prompts of these token ids, of which none need be what the tokenizer makes of a text.
    Tokens(Vec<Vec<u64>>),
    /// The same on prompts of a file of token ids: one prompt a line, or JSON.
    TokenFile(PathBuf),
}

impl Input {
    /// All sets of a file.
    pub fn ci_sets(file: impl Into<PathBuf>) -> Self {
        Self::CiSets { file: file.into(), sets: Vec::new(), prompts: Vec::new() }
    }

    /// The model's own causal importances on a text.
    pub fn prompt(text: impl Into<String>) -> Self {
        Self::Prompts(vec![text.into()])
    }
}

/// What computes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compute {
    /// Name of the backend, one of those there are; `None` for the first that can be used.
    pub backend: Option<String>,
    /// The backend's device: `cpu`, `cuda`, `cuda:1`; `None` for its first.
    pub device: Option<String>,
    /// The type that is computed in.
    pub dtype: Dtype,
    /// Whether an NVIDIA GPU may multiply f32 numbers in TF32, of 10 bits: faster, and off by about 1e-3.
    pub allow_tf32: bool,
    /// Threads of the CPU backends; `None` for as many as there are cores. matrixmultiply, under the backend `ndarray`, keeps
    /// threads of its own, whose number the environment variable `MATMUL_NUM_THREADS` says.
    pub threads: Option<usize>,
}

impl Default for Compute {
    fn default() -> Self {
        Self { backend: None, device: None, dtype: Dtype::F32, allow_tf32: false, threads: None }
    }
}

/// What is in the files of a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Files {
    /// Whether they hold the output probabilities.
    pub output_probs: bool,
    /// Whether they leave out the index of edges, nearly two thirds of them, which follows from the nodes.
    pub implied_index: bool,
}

impl Default for Files {
    fn default() -> Self {
        Self { output_probs: true, implied_index: false }
    }
}

/// A folder that a result is written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Folder<'a> {
    /// The folder, which is made if it does not exist.
    pub path: &'a Path,
    /// Whether results that are already in it are replaced.
    pub replace: bool,
}

impl<'a> Folder<'a> {
    /// A folder in which there are no results yet.
    pub fn new(path: &'a (impl AsRef<Path> + ?Sized)) -> Self {
        Self { path: path.as_ref(), replace: false }
    }
}
