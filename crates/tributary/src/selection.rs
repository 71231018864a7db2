//! Some of the sets that there are.

use std::path::Path;

use crate::Error;

/// The names that `wanted` stands for. A text that is the name of a set is taken whole, so that names may hold commas;
/// others are split at them.
pub fn set_names(wanted: &[String], is_known: impl Fn(&str) -> bool) -> Vec<String> {
    let split = |text: &String| {
        if is_known(text) { vec![text.clone()] } else { text.split(',').map(str::to_owned).collect() }
    };
    wanted.iter().flat_map(split).collect()
}

/// The same, each of them known. `file` is where the sets are.
pub fn select_sets(wanted: &[String], known: &[&str], file: &Path) -> Result<Vec<String>, Error> {
    let wanted = set_names(wanted, |text| known.contains(&text));
    match wanted.iter().find(|name| !known.contains(&name.as_str())) {
        Some(name) => Err(Error::UnknownSet {
            file: file.to_owned(),
            name: name.clone(),
            known: known.iter().map(|&name| name.to_owned()).collect(),
        }),
        None => Ok(wanted),
    }
}
