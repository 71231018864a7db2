//! The lock of a folder, which is held while its files are moved.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use crate::place::open_own;
use crate::{FilesError, PARTIAL, interrupted};

const LOCK: &str = "lock";
const PAUSE: Duration = Duration::from_millis(5);

/// The hidden folder in a folder, locked. Dropped, it goes away unless somebody's files are in it.
#[derive(Debug)]
pub(crate) struct FolderLock {
    partial: PathBuf,
    /// Held for its lock.
    _file: File,
    /// Whether the file system has locks.
    pub(crate) is_locked: bool,
}

impl FolderLock {
    /// Locks `folder`, making the hidden folder in it if need be. A lock dies with its process, and is held for the time of
    /// some renames: `Busy` after `patience`.
    pub(crate) fn acquire(folder: &Path, patience: Duration) -> Result<Self, FilesError> {
        let partial = folder.join(PARTIAL);
        let started = Instant::now();
        loop {
            match attempt(&partial)? {
                Some(lock) => return Ok(lock),
                None if started.elapsed() >= patience || interrupted() => {
                    return Err(FilesError::Busy { path: folder.to_owned() });
                }
                None => thread::sleep(PAUSE),
            }
        }
    }
}

/// `None` when another has it, or ended just now and took the hidden folder away.
fn attempt(partial: &Path) -> Result<Option<FolderLock>, FilesError> {
    match fs::create_dir(partial) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        made => made.map_err(FilesError::io("create the folder", partial))?,
    }
    let taken = take(partial);
    if taken.is_err() {
        // Empty, or the files in it are somebody's.
        let _ = fs::remove_dir(partial);
    }
    taken
}

/// Takes the lock in the hidden folder.
fn take(partial: &Path) -> Result<Option<FolderLock>, FilesError> {
    let path = partial.join(LOCK);
    // A link would lead out of the folder, to files that are not ours to move.
    if fs::symlink_metadata(partial).is_ok_and(|found| !found.is_dir()) {
        return Err(FilesError::NotAFolder { path: partial.to_owned() });
    }
    let file = match open_own(&path, true) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file.map_err(FilesError::io("create", &path))?,
    };
    let is_locked = match try_lock(&file).map_err(FilesError::io("lock", &path))? {
        Attempt::Taken => return Ok(None),
        Attempt::Locked => true,
        Attempt::NoLocks => false,
    };
    Ok(is_at(&file, &path).then(|| FolderLock { partial: partial.to_owned(), _file: file, is_locked }))
}

impl Drop for FolderLock {
    fn drop(&mut self) {
        let is_other = |entry: io::Result<fs::DirEntry>| entry.map_or(true, |entry| entry.file_name() != LOCK);
        if fs::read_dir(&self.partial).is_ok_and(|mut entries| !entries.any(is_other)) {
            // Still locked, so that nobody takes this lock for their own; and the folder only when it is empty, so that who
            // begins at this moment keeps their own lock in it.
            let _ = fs::remove_file(self.partial.join(LOCK));
            let _ = fs::remove_dir(&self.partial);
        }
    }
}

/// What came of trying to lock a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Attempt {
    Locked,
    /// Another has it.
    Taken,
    /// The file system has no locks: runs there are trusted not to collide.
    NoLocks,
}

/// Tries to lock a file.
pub(crate) fn try_lock(file: &File) -> io::Result<Attempt> {
    match file.try_lock() {
        Ok(()) => Ok(Attempt::Locked),
        Err(TryLockError::WouldBlock) => Ok(Attempt::Taken),
        Err(TryLockError::Error(error)) if has_no_locks(&error) => Ok(Attempt::NoLocks),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

fn has_no_locks(error: &io::Error) -> bool {
    #[cfg(unix)]
    if error.raw_os_error() == Some(rustix::io::Errno::NOLCK.raw_os_error()) {
        return true;
    }
    error.kind() == io::ErrorKind::Unsupported
}

/// Whether `path` still names the open `file`.
#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let identity = |metadata: &fs::Metadata| (metadata.dev(), metadata.ino());
    matches!((file.metadata(), fs::metadata(path)), (Ok(open), Ok(named)) if identity(&open) == identity(&named))
}

/// Whether `path` still names the open `file`: elsewhere open files cannot be removed.
#[cfg(not(unix))]
fn is_at(_file: &File, path: &Path) -> bool {
    path.exists()
}
