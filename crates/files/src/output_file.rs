//! A file of a transaction.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::FilesError;

/// A file that is being written and will be at its path when its [`Transaction`](crate::Transaction) commits.
#[derive(Debug)]
pub struct OutputFile {
    path: PathBuf,
    out: BufWriter<File>,
}

impl OutputFile {
    pub(crate) fn new(path: PathBuf, file: File) -> Self {
        Self { path, out: BufWriter::new(file) }
    }

    /// Where the file will be.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes all that is in it.
    pub fn write_whole(mut self, contents: &[u8]) -> Result<(), FilesError> {
        self.out.write_all(contents).map_err(FilesError::io("write", &self.path))?;
        self.close()
    }

    /// Ends writing. Dropped without it, what is buffered is written too, but nobody learns whether that failed.
    pub fn close(self) -> Result<(), FilesError> {
        let Self { path, out } = self;
        out.into_inner().map(drop).map_err(|error| FilesError::io("write", &path)(error.into_error()))
    }
}

impl Write for OutputFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
