//! What has to be on the disk before something else is.

use std::fs::File;
use std::io;
use std::path::Path;

/// From this many files on, the whole file system is asked once: each file on its own costs some milliseconds.
#[cfg(target_os = "linux")]
const MANY: usize = 64;

/// Waits until the contents of `files`, which lie in `folder`, and their names are on the disk.
pub(crate) fn contents<'a>(folder: &Path, files: &[impl AsRef<Path> + 'a]) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    if files.len() >= MANY {
        return Ok(rustix::fs::syncfs(File::open(folder)?)?);
    }
    files.iter().try_for_each(|file| File::open(file.as_ref())?.sync_data())?;
    names(folder)
}

/// Waits until the names in `folder` are on the disk.
pub(crate) fn names(folder: &Path) -> io::Result<()> {
    #[cfg(unix)]
    match File::open(folder)?.sync_all() {
        // Some file systems know no such thing for folders, and keep their names in order otherwise.
        Err(error) if matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) => {}
        done => return done,
    }
    let _ = folder;
    Ok(())
}
