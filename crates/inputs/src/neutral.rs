//! A neutral run: a folder that any program can write, with the target model, its components and no CI function.

use std::path::Path;

use crate::checkpoint::{self, StateDict};
use crate::config::Config;
use crate::error::shortened;
use crate::fingerprint::Hasher;
use crate::run::{TOKENIZER, note_on_ci, read_tokenizer};
use crate::yaml::{Keys, Yaml};
use crate::{InputError, RunFiles, RunOptions, TrainedRun, assemble, classes, text};

/// What makes a folder a neutral run.
pub(crate) const CONFIG: &str = "run.yaml";
const CHECKPOINT: &str = "model.safetensors";
const FORMAT: &str = "tributary-run";
const VERSION: usize = 1;

/// The keys of the config. `source` is for readers: where the run came from, in any form.
const KEYS: [&str; 8] =
    ["format", "format_version", "model_class", "model_config", "components", "sigmoid", "tokenizer", "source"];

/// Reads one.
pub(crate) fn load(folder: &Path, options: &RunOptions<'_>) -> Result<TrainedRun, InputError> {
    let config_file = folder.join(CONFIG);
    let config_bytes = text::read(&config_file, "a config", text::CONFIG)?;
    let keys = Keys::parse(&config_file, &config_bytes)?;
    check_format(&keys)?;
    if options.target.is_some() {
        return Err(keys.fail("model_config", "describes the target model, so no folder of it is read; name none"));
    }
    let class = keys.require("model_class", Yaml::text)?;
    let class = classes::by_path(&class).ok_or_else(|| {
        let problem = format!("{} is an unknown model class; supported are {}", shortened(&class), classes::names());
        keys.fail("model_class", problem)
    })?;
    let Some(model) = keys.section("model_config")? else {
        let problem = format!("is missing; expected what the {} of a {} holds", class.config, class.name);
        return Err(keys.fail("model_config", problem));
    };
    let mut architecture = class.read_keys(&config_file, &model).map_err(in_section)?;
    let reason = format!(
        "{}: a neutral run holds no CI function",
        tributary_files::visible::on_one_line(&config_file.display().to_string())
    );
    let config = Config::neutral(&keys, class, reason)?;
    let counts = config.components(&config_file, &mut architecture)?;

    let tokenizer = keys.get("tokenizer", Yaml::text)?;
    let tokenizer = folder.join(tokenizer.as_deref().unwrap_or(TOKENIZER));
    let tokenizer_file = options.tokenizer.map_or(tokenizer, Path::to_owned);
    let (tokenizer, tokenizer_bytes) = read_tokenizer(&tokenizer_file)?;

    let checkpoint = match options.checkpoint {
        Some(given) => checkpoint::given(folder, given)?,
        None => folder.join(CHECKPOINT),
    };
    if !checkpoint.exists() {
        let problem = "not found; a neutral run holds its tensors in it";
        return Err(InputError::missing(checkpoint, problem));
    }
    let mut hasher = Hasher::new();
    hasher.add(CONFIG, &config_bytes);
    hasher.add(TOKENIZER, &tokenizer_bytes);
    // Both read all of the file, and neither waits for the disk when the other has just been there.
    let (read, hashed) = hasher.add_file_beside("checkpoint", &checkpoint, || {
        assemble::weights(StateDict::open_neutral(&checkpoint)?, architecture, &config, &counts)
    });
    let (weights, mut notes) = read?;
    notes.extend(note_on_ci(&weights));
    let files =
        RunFiles { model_config: config_file.clone(), config: config_file, checkpoint, tokenizer: tokenizer_file };
    Ok(TrainedRun { weights, tokenizer, fingerprint: hashed?.finish(), files, notes })
}

fn check_format(keys: &Keys<'_>) -> Result<(), InputError> {
    let format = keys.require("format", Yaml::text)?;
    if format != FORMAT {
        return Err(keys.fail("format", format!("is {}, expected {FORMAT}", shortened(&format))));
    }
    let version = keys.require("format_version", Yaml::count)?;
    if version != VERSION {
        let problem = format!("is {version}, but {VERSION} is what is read here; a newer tributary may read it");
        return Err(keys.fail("format_version", problem));
    }
    match keys.other_than(&[&KEYS]) {
        Some(key) => Err(keys.fail(&key, format!("is an unknown key; those of a neutral run are {}", KEYS.join(", ")))),
        None => Ok(()),
    }
}

/// Classes name keys as they stand in a file of their own.
fn in_section(error: InputError) -> InputError {
    match error {
        InputError::Config { file, key, problem } if !key.starts_with("model_config.") => {
            InputError::config(&file, format!("model_config.{key}"), problem)
        }
        error => error,
    }
}
