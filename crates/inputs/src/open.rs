//! Opening a trained run, in any of the forms that its folder may have.

use std::path::Path;

use tributary_model::Remedy;

use crate::checkpoint::StateDict;
use crate::config::Config;
use crate::fingerprint::Hasher;
use crate::reference::{Kind, Reference, run_folder};
use crate::run::{RunFiles, RunOptions, TOKENIZER, TrainedRun, note_on_ci, read_tokenizer};
use crate::target;
use crate::{InputError, assemble, checkpoint, classes, neutral, target_weights, text};

/// The config of a run: as it was called up to the middle of 2026, and since.
const CONFIGS: [&str; 2] = ["final_config.yaml", "experiment_config.yaml"];

impl TrainedRun {
    /// Whether a folder looks like that of a run: it holds a config.
    pub fn is_in(folder: &Path) -> bool {
        CONFIGS.iter().chain([&neutral::CONFIG]).any(|config| folder.join(config).exists())
    }

    /// Reads a run's folder, which may be named by a reference to Weights & Biases where the published code has put it.
    ///
    /// The folder holds `final_config.yaml`, or `experiment_config.yaml`, and `model_STEP.pth`, `.pt` or `.safetensors` (of several, the one with the largest
    /// step). The target
    /// model's `model_config.yaml`, of a class of `transformers` its `config.json`, is sought in `options.target`, else in
    /// `target/` of the run, else where `pretrained_model_name` or `pretrained_model_path` of the config point to; its
    /// `tokenizer.json` is `options.tokenizer`, else lies beside that file.
    ///
    /// Where there is no such config, a `run.yaml` makes it a neutral run, which `docs/runs.md` describes.
    pub fn load(folder: &Path, options: &RunOptions<'_>) -> Result<Self, InputError> {
        let named = folder;
        let folder = &*run_folder(named);
        if !folder.is_dir() {
            if let Some(reference) = named.to_str().and_then(Reference::parse).filter(|_| !named.exists()) {
                let problem = format!("is a run at Weights & Biases, {}", reference.advice(Kind::Decomposition));
                return Err(InputError::elsewhere(named, problem, Remedy::Run));
            }
            if named.to_str().is_some_and(|name| name.starts_with("wandb:")) && !named.exists() {
                let problem = "is no reference to a run; expected wandb:ENTITY/PROJECT/runs/ID".to_owned();
                return Err(InputError::elsewhere(named, problem, Remedy::Run));
            }
            let problem = if folder.exists() { "is not a folder" } else { "there is no such folder" };
            return Err(InputError::missing(folder, format!("{problem}; expected the folder of a trained run")));
        }
        let [config_file, later] = CONFIGS.map(|name| folder.join(name));
        let config_file = match (config_file.exists(), later.exists()) {
            (true, false) => config_file,
            (false, true) => later,
            (false, false) if folder.join(neutral::CONFIG).exists() => return neutral::load(folder, options),
            (false, false) => {
                let problem =
                    "not found, and no experiment_config.yaml either; the folder of a trained run holds one of them";
                return Err(InputError::missing(config_file, problem));
            }
            (true, true) => {
                let problem = "there is an experiment_config.yaml beside it; keep the one that belongs to the run";
                return Err(InputError::missing(config_file, problem));
            }
        };
        let config_bytes = text::read(&config_file, "a config", text::CONFIG)?;
        let config = Config::parse(&config_file, &config_bytes)?;

        let target_folder = target::find_folder(folder, &config, options.target)?;
        let model_config = target_folder.join(config.class.config);
        let model_bytes = text::read(&model_config, "a config", text::CONFIG)?;
        let mut architecture = config.class.read(&model_config, &model_bytes)?;
        let counts = config.components(&config_file, &mut architecture)?;

        let tokenizer_file = options.tokenizer.map_or_else(|| target_folder.join(TOKENIZER), Path::to_owned);
        let (tokenizer, tokenizer_bytes) = read_tokenizer(&tokenizer_file)?;

        let checkpoint = match options.checkpoint {
            Some(given) => checkpoint::given(folder, given)?,
            None => checkpoint::find(folder)?,
        };
        let mut hasher = Hasher::new();
        hasher.add(CONFIGS[0], &config_bytes);
        hasher.add(classes::MODEL_CONFIG, &model_bytes);
        hasher.add(TOKENIZER, &tokenizer_bytes);
        let mut of_target = Vec::new();
        // Both read all of the file, and neither waits for the disk when the other has just been there.
        let (read, hashed) = hasher.add_file_beside("checkpoint", &checkpoint, || {
            let mut tensors = StateDict::open(&checkpoint)?;
            if config.class.config == classes::CONFIG_JSON && !tensors.has_any("target_model.") {
                of_target = target_weights::files(&target_folder)?;
                if of_target.is_empty() {
                    return Err(target_weights::missing(&checkpoint, &target_folder));
                }
                for file in &of_target {
                    tensors.add_target(file, config.class.base())?;
                }
            }
            if config.class.config == classes::CONFIG_JSON && !classes::is_tied(config.class.name, &model_bytes) {
                tensors.require("target_model.lm_head.weight", "tie_word_embeddings of config.json is false")?;
            }
            assemble::weights(tensors, architecture, &config, &counts)
        });
        let (weights, mut notes) = read?;
        let mut hasher = hashed?;
        for file in &of_target {
            hasher.add_file("target", file)?;
        }
        let fingerprint = hasher.finish();
        notes.extend(note_on_ci(&weights));
        let files = RunFiles { config: config_file, checkpoint, model_config, tokenizer: tokenizer_file };
        Ok(Self { weights, tokenizer, fingerprint, files, notes })
    }
}
