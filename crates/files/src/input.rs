//! What is read: regular files of a plausible size.
//!
//! A FIFO would be waited for without end, a device such as `/dev/zero` fill the memory.

use std::fs::{File, FileType, OpenOptions};
use std::io::Read;
use std::path::Path;

use crate::FilesError;

/// Opens the regular file at `path`.
pub fn open(path: &Path) -> Result<File, FilesError> {
    let mut options = OpenOptions::new();
    options.read(true);
    // Opening a FIFO waits for somebody who writes to it, unless told not to; what was opened is looked at, and not what was
    // at the path before.
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, rustix::fs::OFlags::NONBLOCK.bits() as i32);
    let file = options.open(path).map_err(FilesError::io("open", path))?;
    let metadata = file.metadata().map_err(FilesError::io("open", path))?;
    match describe(metadata.file_type()) {
        None => Ok(file),
        Some((found, advice)) => Err(FilesError::NotRegular { path: path.to_owned(), found, advice }),
    }
}

/// Reads the whole regular file at `path`, which is `what` and has at most `limit` bytes.
pub fn read(path: &Path, what: &'static str, limit: u64) -> Result<Vec<u8>, FilesError> {
    let file = open(path)?;
    let size = file.metadata().map_err(FilesError::io("read", path))?.len();
    let too_large = |found| Err(FilesError::TooLarge { path: path.to_owned(), what, found, limit });
    if size > limit {
        return too_large(size);
    }
    let mut bytes = Vec::new();
    let reserved = bytes.try_reserve_exact(size as usize).map_err(|_| std::io::ErrorKind::OutOfMemory.into());
    reserved.map_err(FilesError::io("read", path))?;
    // It may have grown since, or be one of those of /proc, whose size is 0.
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(FilesError::io("read", path))?;
    if bytes.len() as u64 > limit {
        return too_large(bytes.len() as u64);
    }
    Ok(bytes)
}

/// What a file that is not regular is, and what to do about it.
fn describe(file_type: FileType) -> Option<(&'static str, &'static str)> {
    if file_type.is_file() {
        return None;
    }
    if file_type.is_dir() {
        return Some(("a folder", "give the file itself"));
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt;
        if file_type.is_fifo() {
            return Some(("a pipe", "write what comes out of it to a file first"));
        }
        if file_type.is_socket() {
            return Some(("a socket", "write what comes out of it to a file first"));
        }
    }
    Some(("a device", "give a file"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regular_files_are_read_up_to_their_limit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        std::fs::write(&path, b"12345").unwrap();
        assert_eq!(read(&path, "a test", 5).unwrap(), b"12345");
        let error = read(&path, "a test", 4).unwrap_err().to_string();
        assert!(error.contains("5 bytes, more than the 4 that a test may have"), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn nothing_else_is_waited_for_or_read() {
        let folder = tempfile::tempdir().unwrap();
        let fifo = folder.path().join("fifo");
        assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        let error = |path: &Path| read(path, "a test", 1 << 20).unwrap_err().to_string();
        assert!(error(&fifo).contains("is a pipe"), "{}", error(&fifo));
        assert!(error(folder.path()).contains("is a folder"));
        assert!(error(Path::new("/dev/zero")).contains("is a device"));
        assert!(error(&folder.path().join("none")).contains("cannot open"));
    }

    /// Files of `/proc` are regular and say that they are empty.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_file_of_unknown_size_is_bounded_too() {
        assert!(read(Path::new("/proc/self/status"), "a test", 10).unwrap_err().to_string().contains("11 bytes"));
    }
}
