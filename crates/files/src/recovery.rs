//! Undoing what killed programs left.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::journal::Journal;
use crate::lock::{Attempt, FolderLock, try_lock};
use crate::place::{open_own, unless_missing};
use crate::{FilesError, PARTIAL};

/// Locked by the program whose files are in a folder of a run.
pub(crate) const ALIVE: &str = "alive";
/// How long somebody may take for moving files in the folder.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Undoes what killed programs left in `folder`: files that were written and not moved into place go away, and files that were
/// being replaced come back. Waits for a program that is moving files there at this moment.
///
/// To be called before anything in the folder is read. It does nothing where nothing was left, and fails where files were being
/// replaced and cannot be brought back; what is only in the way, in a folder that cannot be written to, stays.
pub fn recover(folder: &Path) -> Result<(), FilesError> {
    let partial = folder.join(PARTIAL);
    if !fs::symlink_metadata(&partial).is_ok_and(|found| found.is_dir()) {
        return Ok(());
    }
    let recovered = FolderLock::acquire(folder, PATIENCE).and_then(|lock| undo_left(folder, &lock));
    match recovered {
        Err(FilesError::Io { source, .. }) => {
            let runs = runs(&partial).unwrap_or_default();
            if runs.iter().any(|run| Journal::is_begun(run)) {
                return Err(FilesError::NotUndone { path: partial, source });
            }
            Ok(())
        }
        done => done,
    }
}

/// Undoes what killed programs left in `folder`, which is locked.
pub(crate) fn undo_left(folder: &Path, lock: &FolderLock) -> Result<(), FilesError> {
    // Without locks it cannot be told who is still there.
    if !lock.is_locked {
        return Ok(());
    }
    let partial = folder.join(PARTIAL);
    for run in runs(&partial).map_err(FilesError::io("list", &partial))? {
        if is_left(&run).map_err(FilesError::io("lock", &run.join(ALIVE)))? {
            undo(folder, &run)?;
        }
    }
    Ok(())
}

/// Undoes the run in the folder `run`, whether it was killed or fails.
pub(crate) fn undo(folder: &Path, run: &Path) -> Result<(), FilesError> {
    let not_undone = |source| FilesError::NotUndone { path: folder.join(PARTIAL), source };
    Journal::undo(folder, run).map_err(not_undone)?;
    remove(run).map_err(FilesError::io("remove", run))
}

/// Removes the folder of a run, in which another thread may still be making files.
pub(crate) fn remove(run: &Path) -> io::Result<()> {
    for _ in 0..100 {
        match unless_missing(fs::remove_dir_all(run)) {
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {}
            done => return done.map(drop),
        }
    }
    Err(io::ErrorKind::DirectoryNotEmpty.into())
}

/// The folders of runs.
pub(crate) fn runs(partial: &Path) -> io::Result<Vec<PathBuf>> {
    let mut runs = Vec::new();
    for entry in fs::read_dir(partial)? {
        let entry = entry?;
        if is_run(&entry.file_name().to_string_lossy()) && entry.file_type()?.is_dir() {
            runs.push(entry.path());
        }
    }
    Ok(runs)
}

/// What the name of a run's folder begins with: one that lets no other of its kind write to the folder, or one that does.
pub(crate) const EXCLUSIVE: &str = "results-";
pub(crate) const SHARED: &str = "files-";

fn is_run(name: &str) -> bool {
    name.starts_with(EXCLUSIVE) || name.starts_with(SHARED)
}

/// Whether the program of a run is gone. One without the file that it locks was killed before it had one.
fn is_left(run: &Path) -> io::Result<bool> {
    let Some(file) = unless_missing(open_own(&run.join(ALIVE), false))? else { return Ok(true) };
    Ok(try_lock(&file)? == Attempt::Locked)
}
