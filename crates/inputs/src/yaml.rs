//! YAML files as typed values.

use std::path::Path;

use serde::de::DeserializeOwned;

use crate::InputError;
use crate::guard::no_panic;

/// Parses the text of `file`. Duplicate keys and wrong types are errors with line and column.
pub(crate) fn parse<T: DeserializeOwned>(file: &Path, bytes: &[u8]) -> Result<T, InputError> {
    let fail = |message: String| InputError::Yaml { file: file.to_owned(), message };
    let parsed = no_panic(|| serde_saphyr::from_slice(bytes)).map_err(fail)?;
    parsed.map_err(|error| fail(for_users(&error.without_snippet().to_string())))
}

/// The parser's message without the advice it has for programmers.
fn for_users(message: &str) -> String {
    message
        .replace(", set DuplicateKeyPolicy in Options if acceptable", "; give it once")
        .replace("; use from_str_multiple or from_str_multiple_with_options", "; expected one")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_for_users() {
        let message = |text: &str| parse::<serde_json::Value>(Path::new("f"), text.as_bytes()).unwrap_err().to_string();
        assert_eq!(message("a: 1\na: 2\n"), "f: duplicate mapping key: a; give it once at line 2, column 1");
        let two = message("a: 1\n---\nb: 2\n");
        assert!(two.starts_with("f: multiple YAML documents detected; expected one at line "), "{two}");
    }
}
