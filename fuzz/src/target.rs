//! What a target is.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// Something that reads a file, with all that lies beside that file.
pub trait Target {
    /// What stays the same from input to input. `repository` is the folder of the repository.
    fn new(repository: &Path) -> Self;

    /// Reads one input. Panics when what comes of it is neither a value nor an error that is fit to be shown.
    fn run(&self, input: &[u8]);
}

/// The folder of the repository.
pub fn repository() -> PathBuf {
    // Tests of other packages have this file, too.
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    let found = own.ancestors().find(|folder| folder.join("fuzz/Cargo.toml").is_file());
    found.expect("it lies in the repository").to_owned()
}

/// A folder for inputs: readers take paths, so every input becomes a file. In memory where that can be, because there are
/// thousands of them each second.
pub fn scratch() -> TempDir {
    let memory = Path::new("/dev/shm");
    // The command that starts the programs sets this, to remove what a killed one leaves.
    let made = match std::env::var_os("TRIBUTARY_FUZZ_SCRATCH") {
        Some(folder) => TempDir::new_in(folder),
        None if memory.is_dir() => TempDir::new_in(memory),
        None => TempDir::new(),
    };
    made.expect("a folder for inputs can be made")
}

/// Runs the target on its seeds and on what was found with it, as the ordinary tests do.
pub fn check_all<T: Target>(name: &str) {
    let repository = repository();
    let target = T::new(&repository);
    let mut count = 0;
    for kind in ["corpus", "regressions"] {
        let folder = repository.join("fuzz").join(kind).join(name);
        // Of some targets nothing was found.
        let Ok(entries) = std::fs::read_dir(folder) else { continue };
        for entry in entries {
            let path = entry.expect("the folder can be listed").path();
            let input = std::fs::read(&path).expect("an input can be read");
            let outcome = catch_unwind(AssertUnwindSafe(|| target.run(&input)));
            assert!(outcome.is_ok(), "{} does more than be refused: see above", path.display());
            count += 1;
        }
    }
    assert!(count > 0, "there are seeds of {name}");
}
