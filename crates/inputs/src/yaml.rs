//! YAML files as typed values.

use std::path::Path;

use serde::de::DeserializeOwned;

use crate::InputError;
use crate::guard::no_panic;

/// Parses the text of `file`. Duplicate keys and wrong types are errors with line and column.
pub(crate) fn parse<T: DeserializeOwned>(file: &Path, bytes: &[u8]) -> Result<T, InputError> {
    let fail = |message: String| InputError::Yaml { file: file.to_owned(), message };
    let parsed = no_panic(|| serde_saphyr::from_slice(bytes)).map_err(fail)?;
    parsed.map_err(|error| fail(error.without_snippet().to_string()))
}
