//! What can go wrong with files.

use std::io;
use std::path::{Path, PathBuf};

/// Why files could not be written, or one not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FilesError {
    /// Where a folder is to be, there is a file, a device or no name at all.
    #[error("{path:?} is not a folder; choose a folder to write to, which may be one that does not exist yet")]
    NotAFolder {
        /// The path.
        path: PathBuf,
    },
    /// Where a file is to be, there is a folder or device, or its path is empty.
    #[error("{path:?} is a folder, a device or no name at all; choose a file to write to")]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// A file to be written is there already, and replacing it was not asked for.
    #[error("{path:?} already exists; choose another name, or have it replaced")]
    FileExists {
        /// The file.
        path: PathBuf,
    },
    /// Another run is writing to the folder.
    #[error("another run is writing to {path:?}; wait for it to end, or choose another folder")]
    Busy {
        /// The folder.
        path: PathBuf,
    },
    /// A run was interrupted while it moved files into place, and what it had moved cannot be moved back.
    #[error(
        "{path:?} holds what an interrupted run was moving into place, which cannot be undone: {source}; nothing is lost: \
         make {path:?} and its folder writable and try again"
    )]
    NotUndone {
        /// The hidden folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// An input that is no regular file.
    #[error("{path:?} is {found}, expected a regular file; {advice}")]
    NotRegular {
        /// The input.
        path: PathBuf,
        /// What it is.
        found: &'static str,
        /// What to do.
        advice: &'static str,
    },
    /// An input that is larger than any of its kind.
    #[error("{path:?} has {found} bytes, more than the {limit} that {what} may have; give another file")]
    TooLarge {
        /// The input.
        path: PathBuf,
        /// What it is to be.
        what: &'static str,
        /// Its size in bytes.
        found: u64,
        /// The largest size that is read.
        limit: u64,
    },
    /// What is to be read or made of it does not fit into memory.
    #[error(
        "{path:?}: what is asked for takes about {} of memory, and only {} can be had; free some, raise the limit (`ulimit -v`), or \
         use a machine with more",
        size(*needed), size(*free)
    )]
    TooLittleMemory {
        /// The file or folder.
        path: PathBuf,
        /// Bytes that it takes.
        needed: u64,
        /// Bytes that can be had.
        free: u64,
    },
    /// The operating system refused something.
    #[error("cannot {action} {path:?}: {source}")]
    Io {
        /// What was attempted.
        action: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
}

impl FilesError {
    /// For `map_err`: the error of doing `action` to `path`.
    pub fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }
}

/// A number of bytes for people.
fn size(bytes: u64) -> String {
    match bytes {
        1_000_000_000.. => format!("{:.1} GB", bytes as f64 / 1e9),
        _ => format!("{} MB", bytes.div_ceil(1_000_000)),
    }
}
