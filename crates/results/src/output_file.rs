//! Single files that appear whole or not at all: figures, reports, exports.

use std::fs;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use tempfile::{NamedTempFile, TempPath};

use crate::ResultError;

/// A file that is written beside its path and moved there by [`finish`](Self::finish). Dropped before, it leaves
/// nothing.
#[derive(Debug)]
pub struct OutputFile {
    path: PathBuf,
    force: bool,
    partial: BufWriter<NamedTempFile>,
}

impl OutputFile {
    /// Begins a file at `path`, whose folder is made if need be. A file that is there is refused unless `force`.
    pub fn create(path: &Path, force: bool) -> Result<Self, ResultError> {
        if path.file_name().is_none() || path.is_dir() {
            return Err(ResultError::NotAFile { path: path.to_owned() });
        }
        // Renaming over a device or a pipe would remove it; a link is replaced, not what it points to.
        if path.symlink_metadata().is_ok_and(|found| !found.is_file() && !found.is_symlink()) {
            return Err(ResultError::NotAFile { path: path.to_owned() });
        }
        if !force && path.symlink_metadata().is_ok() {
            return Err(ResultError::FileExists { path: path.to_owned() });
        }
        let folder = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        if folder.exists() && !folder.is_dir() {
            return Err(ResultError::NotAFolder { path: folder.to_owned() });
        }
        fs::create_dir_all(folder).map_err(ResultError::io("create the folder", folder))?;
        let mut builder = tempfile::Builder::new();
        builder.prefix(".tributary-partial-");
        // A temporary file is private by default; this one becomes an ordinary file, which the umask decides over.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        let partial = builder.tempfile_in(folder).map_err(ResultError::io("write in", folder))?;
        Ok(Self { path: path.to_owned(), force, partial: BufWriter::new(partial) })
    }

    /// Writes a whole file at once.
    pub fn write(path: &Path, force: bool, contents: &[u8]) -> Result<(), ResultError> {
        let mut file = Self::create(path, force)?;
        file.write_whole(contents)?;
        file.finish()
    }

    /// Writes all that is in it.
    pub fn write_whole(&mut self, contents: &[u8]) -> Result<(), ResultError> {
        self.write_all(contents).map_err(ResultError::io("write", &self.path))
    }

    /// Where the file will be.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Ends writing without moving the file to its path yet, so that several files can be moved together.
    pub fn close(self) -> Result<ClosedFile, ResultError> {
        let Self { path, force, partial } = self;
        match partial.into_inner() {
            Ok(partial) => Ok(ClosedFile { path, force, partial: partial.into_temp_path() }),
            Err(error) => Err(ResultError::io("write", &path)(error.into_error())),
        }
    }

    /// Moves the file to its path.
    pub fn finish(self) -> Result<(), ResultError> {
        self.close()?.finish()
    }
}

/// A file that is written whole but not at its path yet. Dropped, it leaves nothing. The operating system holds no open
/// file for it, so there may be any number.
#[derive(Debug)]
pub struct ClosedFile {
    path: PathBuf,
    force: bool,
    partial: TempPath,
}

impl ClosedFile {
    /// Where the file will be.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Moves the file to its path.
    pub fn finish(self) -> Result<(), ResultError> {
        let Self { path, force, partial } = self;
        let moved = if force { partial.persist(&path) } else { partial.persist_noclobber(&path) };
        match moved {
            Ok(()) => Ok(()),
            Err(error) if !force && error.error.kind() == io::ErrorKind::AlreadyExists => {
                Err(ResultError::FileExists { path: path.clone() })
            }
            Err(error) => Err(ResultError::io("write", &path)(error.error)),
        }
    }
}

impl Write for OutputFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.partial.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.partial.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_appears_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new folder").join("a.txt");
        let mut file = OutputFile::create(&path, false).unwrap();
        file.write_all(b"half").unwrap();
        assert!(!path.exists());
        drop(file);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 0);
        let mut file = OutputFile::create(&path, false).unwrap();
        file.write_all(b"closed").unwrap();
        drop(file.close().unwrap());
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 0);
        OutputFile::write(&path, false, b"whole").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"whole");
    }

    #[test]
    fn what_is_there_is_kept_without_force() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        let late = OutputFile::create(&path, false).unwrap();
        fs::write(&path, b"old").unwrap();
        assert!(matches!(late.finish(), Err(ResultError::FileExists { .. })));
        assert!(matches!(OutputFile::create(&path, false), Err(ResultError::FileExists { .. })));
        assert_eq!(fs::read(&path).unwrap(), b"old");
        OutputFile::write(&path, true, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert!(matches!(OutputFile::create(folder.path(), true), Err(ResultError::NotAFile { .. })));
        #[cfg(unix)]
        {
            let socket = folder.path().join("socket");
            let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
            assert!(matches!(OutputFile::create(&socket, true), Err(ResultError::NotAFile { .. })));
        }
        assert!(matches!(OutputFile::create(Path::new(""), true), Err(ResultError::NotAFile { .. })));
    }
}
