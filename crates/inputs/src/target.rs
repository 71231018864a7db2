//! The target model's folder and its `model_config.yaml`.

use std::path::{Path, PathBuf};

use tributary_model::Remedy;

use crate::InputError;
use crate::config::Config;
use crate::error::shortened;

/// Name of the file that describes a target model.
pub(crate) const MODEL_CONFIG: &str = "model_config.yaml";

/// Finds the folder that holds `model_config.yaml`: the one that is given, else `RUN/target/`, else where the config points to.
pub(crate) fn find_folder(run: &Path, config: &Config, given: Option<&Path>) -> Result<PathBuf, InputError> {
    if let Some(folder) = given {
        return if holds_model(folder) {
            Ok(folder.to_owned())
        } else {
            let problem = "not found; name the folder that holds the target model's model_config.yaml";
            Err(InputError::elsewhere(folder.join(MODEL_CONFIG), problem, Remedy::Target))
        };
    }
    let beside = run.join("target");
    if beside.is_dir() {
        return if holds_model(&beside) {
            Ok(beside)
        } else {
            let problem = "not found; put the target model's model_config.yaml there, or name its folder";
            Err(InputError::elsewhere(beside.join(MODEL_CONFIG), problem, Remedy::Target))
        };
    }
    if let Some(folder) = config.target_references.iter().find_map(|reference| follow(run, reference)) {
        return Ok(folder);
    }
    let named = match config.target_references.first() {
        Some(reference) if is_remote(reference) => {
            format!("the config names the target model as {}, which is not fetched from here", shortened(reference))
        }
        Some(reference) => {
            format!("the config names the target model as {}, which is not there either", shortened(reference))
        }
        None => "the config does not name the target model".to_owned(),
    };
    let problem = format!(
        "not found, and {named}; fetch the model's model_config.yaml and tokenizer.json into a folder and name that folder"
    );
    Err(InputError::elsewhere(beside, problem, Remedy::Target))
}

fn holds_model(folder: &Path) -> bool {
    // Something else than a file by that name is refused where it is read.
    folder.join(MODEL_CONFIG).exists()
}

fn is_remote(reference: &str) -> bool {
    reference.starts_with("wandb:")
}

/// The folder a local reference means. It may be the folder or a checkpoint in it or in a subfolder, and is relative to
/// the run or to the current folder.
fn follow(run: &Path, reference: &str) -> Option<PathBuf> {
    if is_remote(reference) || reference.is_empty() {
        return None;
    }
    let paths = [run.join(reference), PathBuf::from(reference)];
    paths.into_iter().filter(|path| path.exists()).find_map(|path| {
        let folders = if path.is_dir() { 0..1 } else { 1..3 };
        path.ancestors().skip(folders.start).take(folders.len()).find(|folder| holds_model(folder)).map(Path::to_owned)
    })
}
