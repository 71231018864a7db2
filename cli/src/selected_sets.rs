//! `--sets`: some of the sets that there are.

use std::path::Path;

use tributary::results::{Manifest, SetEntry};
use tributary::select_sets;

use crate::CliError;

/// The sets of a result that `--sets` asks for, in the order of the result; all without it.
pub(crate) fn of_result<'a>(
    values: &[String],
    manifest: &'a Manifest,
    result: &Path,
) -> Result<Vec<&'a SetEntry>, CliError> {
    let known: Vec<&str> = manifest.sets.iter().map(|set| set.name.as_str()).collect();
    let wanted = select_sets(values, &known, result)?;
    Ok(manifest.sets.iter().filter(|set| values.is_empty() || wanted.contains(&set.name)).collect())
}
