//! Looking for a shared library.

use std::fmt;

use libloading::Library;

/// A library that no name or path led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// What is missing.
    pub library: &'static str,
    /// What was tried, each with what the loader said.
    pub tried: Vec<String>,
    /// What to do about it.
    pub remedy: String,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { library, tried, remedy } = self;
        write!(f, "{library} was not found (tried {}); {remedy}", tried.join("; "))
    }
}

/// Loads the first of `names` that can be loaded; a name without a folder is looked for where the system's loader looks
/// (`LD_LIBRARY_PATH` and the system's library folders on Linux).
pub fn find(library: &'static str, names: &[String], remedy: &str) -> Result<Library, Missing> {
    let mut tried = Vec::new();
    for name in names {
        // SAFETY: what runs on loading is the initialisation of NVIDIA's own libraries, which any program that uses them
        // lets run.
        #[expect(unsafe_code, reason = "loading a library runs its initialisation")]
        match unsafe { Library::new(name) } {
            Ok(library) => return Ok(library),
            Err(error) => tried.push(describe(name, &error)),
        }
    }
    Err(Missing { library, tried, remedy: remedy.to_owned() })
}

fn describe(name: &str, error: &libloading::Error) -> String {
    // What the loader said is the source of the error.
    let text = std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string);
    // The loader repeats the name when the file is not there, and says something of its own when it is.
    if text.contains("No such file") || text.contains("cannot find") {
        name.to_owned()
    } else {
        format!("{name}: {text}")
    }
}
