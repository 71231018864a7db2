//! Which file of a run's folder is its checkpoint.

use std::fs;
use std::path::{Path, PathBuf};

use tributary_model::Remedy;

use crate::InputError;

/// What a checkpoint may be called after its step.
const EXTENSIONS: [&str; 3] = [".pth", ".pt", ".safetensors"];

/// The checkpoint that a user names: a file, or one in the run's folder.
pub(crate) fn given(run: &Path, named: &Path) -> Result<PathBuf, InputError> {
    let inside = run.join(named);
    // A name that is both means the one in the run.
    if let Some(file) = [&inside, named].into_iter().find(|file| file.exists()) {
        return Ok(file.to_owned());
    }
    let problem = format!("not found, and neither is {}; name a checkpoint of the run", inside.display());
    Err(InputError::elsewhere(named, problem, Remedy::Checkpoint))
}

/// The checkpoint of a run with the largest step.
pub(crate) fn find(run: &Path) -> Result<PathBuf, InputError> {
    let mut latest: Option<(u128, Vec<String>)> = None;
    for entry in fs::read_dir(run).map_err(InputError::read(run))? {
        let name = entry.map_err(InputError::read(run))?.file_name();
        let Some((name, step)) = name.to_str().and_then(|name| Some((name.to_owned(), step_of(name)?))) else {
            continue;
        };
        match &mut latest {
            Some((most, _)) if step < *most => {}
            Some((most, names)) if step == *most => names.push(name),
            _ => latest = Some((step, vec![name])),
        }
    }
    let Some((step, mut names)) = latest else {
        let problem = "holds no checkpoint; expected a file named model_STEP.pth, such as model_1500.pth \
                       (or model_STEP.pt, model_STEP.safetensors), or one that is named";
        return Err(InputError::elsewhere(run, problem, Remedy::Checkpoint));
    };
    // The order of a folder is that of its file system.
    names.sort_unstable();
    match names.as_slice() {
        [name] => Ok(run.join(name)),
        names => {
            let problem = format!(
                "holds {} checkpoints of its last step, {step}: {}; which of them is meant is not to be guessed: name it, or \
                 move the other out of the folder",
                names.len(),
                names.join(" and ")
            );
            Err(InputError::Foreign { file: run.to_owned(), problem })
        }
    }
}

fn step_of(name: &str) -> Option<u128> {
    let name = name.strip_prefix("model_")?;
    let step = EXTENSIONS.iter().find_map(|extension| name.strip_suffix(extension))?;
    step.bytes().all(|byte| byte.is_ascii_digit()).then(|| step.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_numbers() {
        for name in ["model_1500.pth", "model_1500.pt", "model_01500.safetensors"] {
            assert_eq!(step_of(name), Some(1500), "{name}");
        }
        for name in ["model_.pth", "model_+1.pth", "model_1.ckpt", "model_1.5.pth", "optimizer_1.pth"] {
            assert_eq!(step_of(name), None, "{name}");
        }
    }
}
