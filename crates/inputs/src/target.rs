//! The target model's folder, and the file in it that describes the model.

use std::path::{Path, PathBuf};

use tributary_model::Remedy;

use crate::InputError;
use crate::config::Config;
use crate::error::shortened;
use crate::reference::{Kind, Reference};

/// Finds the folder that holds the file that describes a model of the config's class: the one that is given, else
/// `RUN/target/`, else where the config points to.
pub(crate) fn find_folder(run: &Path, config: &Config, given: Option<&Path>) -> Result<PathBuf, InputError> {
    let file = config.class.config;
    if let Some(folder) = given {
        return if holds(folder, file) {
            Ok(folder.to_owned())
        } else {
            let problem = format!("not found; name the folder that holds the target model's {file}");
            Err(InputError::elsewhere(folder.join(file), problem, Remedy::Target))
        };
    }
    let beside = run.join("target");
    if beside.is_dir() {
        return if holds(&beside, file) {
            Ok(beside)
        } else {
            let problem = format!("not found; put the target model's {file} there, or name its folder");
            Err(InputError::elsewhere(beside.join(file), problem, Remedy::Target))
        };
    }
    if let Some(folder) = config.target_references.iter().find_map(|reference| follow(run, reference, file)) {
        return Ok(folder);
    }
    let remote =
        config.target_references.iter().filter_map(|reference| Some((reference, Reference::parse(reference)?)));
    let remote: Vec<_> = remote.collect();
    if let Some(folder) = remote.iter().find_map(|(_, run)| run.cached(Kind::Target).filter(|at| holds(at, file))) {
        return Ok(folder);
    }
    if let Some((named, run)) = remote.first() {
        let problem = format!(
            "not found, and the config names the target model as {}, a run at Weights & Biases, {}; or fetch the model's {file} \
             and tokenizer.json into a folder and name that folder",
            shortened(named),
            run.advice(Kind::Target)
        );
        return Err(InputError::elsewhere(beside, problem, Remedy::Target));
    }
    let named = match config.target_references.first() {
        Some(reference) => {
            format!("the config names the target model as {}, which is not there either", shortened(reference))
        }
        None => "the config does not name the target model".to_owned(),
    };
    let problem = format!(
        "not found, and {named}; fetch the model's {file} and tokenizer.json into a folder and name that folder"
    );
    Err(InputError::elsewhere(beside, problem, Remedy::Target))
}

fn holds(folder: &Path, file: &str) -> bool {
    // Something else than a file by that name is refused where it is read.
    folder.join(file).exists()
}

/// The folder a local reference means. It may be the folder or a checkpoint in it or in a subfolder, and is relative to
/// the run or to the current folder.
fn follow(run: &Path, reference: &str, file: &str) -> Option<PathBuf> {
    if reference.is_empty() {
        return None;
    }
    let paths = [run.join(reference), PathBuf::from(reference)];
    paths.into_iter().filter(|path| path.exists()).find_map(|path| {
        let folders = if path.is_dir() { 0..1 } else { 1..3 };
        path.ancestors().skip(folders.start).take(folders.len()).find(|folder| holds(folder, file)).map(Path::to_owned)
    })
}
