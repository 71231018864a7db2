//! Weights of a target model that lie in its own folder, as the `transformers` library saves them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::Value;

use tributary_model::Remedy;

use crate::{InputError, text};

const INDEX: &str = "model.safetensors.index.json";
const WHOLE: [&str; 2] = ["model.safetensors", "pytorch_model.bin"];

/// The error where weights of the target model are neither in the checkpoint nor in its folder.
pub(crate) fn missing(checkpoint: &Path, folder: &Path) -> InputError {
    let names = [INDEX].into_iter().chain(WHOLE).collect::<Vec<_>>().join(", ");
    let problem = format!(
        "has none of {names}, and {} has no weights of the target model; put one of them there, or name the folder that has it",
        checkpoint.display()
    );
    InputError::elsewhere(folder, problem, Remedy::Target)
}

/// The files of a target model in its folder: those that an index lists, else the one with all of it; none where neither
/// is there.
pub(crate) fn files(folder: &Path) -> Result<Vec<PathBuf>, InputError> {
    let index = folder.join(INDEX);
    if !index.exists() {
        let whole = WHOLE.iter().map(|name| folder.join(name)).find(|file| file.exists());
        return Ok(whole.into_iter().collect());
    }
    let fail = |problem: String| InputError::config(&index, "weight_map", problem);
    let bytes = text::read(&index, "an index", text::CONFIG)?;
    let parsed: Value = serde_json::from_slice(&bytes).map_err(|error| fail(format!("cannot be read: {error}")))?;
    let map = parsed.get("weight_map").and_then(Value::as_object);
    let map =
        map.ok_or_else(|| fail("is missing; expected an object from tensors to the files they are in".to_owned()))?;
    let mut names = BTreeSet::new();
    for (tensor, file) in map {
        // A name alone: nothing outside the folder is read for it.
        let name = file.as_str().filter(|name| Path::new(name).file_name().is_some_and(|last| last == *name));
        names.insert(name.ok_or_else(|| fail(format!("says that {tensor} is in {file}, which is no name of a file")))?);
    }
    let files: Vec<PathBuf> = names.into_iter().map(|name| folder.join(name)).collect();
    match files.iter().find(|file| !file.exists()) {
        Some(file) => Err(InputError::missing(file, format!("not found; {INDEX} lists it, so fetch it too"))),
        None => Ok(files),
    }
}
