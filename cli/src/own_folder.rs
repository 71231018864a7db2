//! What is read is not written over.

use std::path::Path;

use crate::CliError;

/// Refuses to write to a folder that is read, a result or a trained run: it would hold both, or lose what is in it.
pub(crate) fn refuse_own_folder(out: &Path, results: &[impl AsRef<Path>]) -> Result<(), CliError> {
    let out = if out.as_os_str().is_empty() { Path::new(".") } else { out };
    let Ok(folder) = out.canonicalize() else { return Ok(()) };
    match results.iter().find(|result| result.as_ref().canonicalize().is_ok_and(|result| result == folder)) {
        Some(result) => Err(CliError::OwnFolder { result: result.as_ref().display().to_string() }),
        None => Ok(()),
    }
}
