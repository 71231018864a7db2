//! The text of a CI-set file, which may be large, compressed, or begin with a byte order mark.

use std::io::{self, BufReader, Cursor, Read, Seek};
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::thread::{self, ScopedJoinHandle};

use flate2::read::MultiGzDecoder;
use tributary_files::{input, sha256};

use crate::InputError;
use crate::error::clipped;
use crate::sniff::{self, Foreign, HEAD, foreign};
use crate::stretch::Stretches;
use crate::zstd::Frames;

/// A file of at most so many bytes is read into memory as it is.
const AT_ONCE: u64 = 1 << 26;

/// Bytes of a larger file that are read at once.
const BUFFER: usize = 1 << 20;

/// The most text that a compressed file may hold: more than the largest published runs give, and what a disk may hold that a
/// small file asks for.
const DECOMPRESSED: u64 = 8 << 30;

/// The byte order mark in UTF-8, which editors put before a text.
const MARK: &[u8] = b"\xef\xbb\xbf";

/// The text of a CI-set file.
pub(crate) struct CiText {
    file: PathBuf,
    /// The text of a small file, which is not compressed.
    held: Option<Vec<u8>>,
    compression: Option<Compression>,
}

/// How a text is compressed.
#[derive(Clone, Copy, Debug)]
enum Compression {
    Gzip,
    Zstd,
}

impl Compression {
    fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }
}

impl CiText {
    pub(crate) fn open(path: &Path) -> Result<Self, InputError> {
        let mut file = input::open(path)?;
        let head = head_of(&mut file).map_err(InputError::read(path))?;
        let compression = match foreign(&head) {
            None => None,
            Some(Foreign::Gzip) => Some(Compression::Gzip),
            Some(Foreign::Zstd) => Some(Compression::Zstd),
            Some(foreign) => return Err(sniff::refused(path, foreign, "")),
        };
        let mut text = Self { file: path.to_owned(), held: None, compression };
        if compression.is_some() {
            let head = head_of(&mut text.stream()?).map_err(|error| text.unreadable(error))?;
            if let Some(foreign) = foreign(&head) {
                return Err(sniff::refused(path, foreign, "and that once more: decompress it once, with gunzip"));
            }
        } else if file.metadata().map_err(InputError::read(path))?.len() <= AT_ONCE {
            let mut bytes = Vec::new();
            file.rewind().map_err(InputError::read(path))?;
            file.take(AT_ONCE + 1).read_to_end(&mut bytes).map_err(InputError::read(path))?;
            // It may have grown, and is read as a large one then.
            text.held = Some(bytes).filter(|bytes| bytes.len() as u64 <= AT_ONCE);
        }
        Ok(text)
    }

    /// All of it, of a small file.
    pub(crate) fn held(&self) -> Option<&[u8]> {
        self.held.as_deref().map(|bytes| bytes.strip_prefix(MARK).unwrap_or(bytes))
    }

    /// What `reads` gives, and, where another thread can compute it at the same time, SHA-256 of a text that is held.
    pub(crate) fn hashed_beside<T>(&self, reads: impl FnOnce() -> T) -> (T, Option<String>) {
        let Some(bytes) = self.held.as_ref().filter(|bytes| bytes.len() >= BUFFER) else { return (reads(), None) };
        thread::scope(|scope| {
            let hash = thread::Builder::new().spawn_scoped(scope, || sha256::of(bytes));
            let read = reads();
            match hash.map(ScopedJoinHandle::join) {
                Ok(Ok(sha256)) => (read, Some(sha256)),
                Ok(Err(panic)) => resume_unwind(panic),
                Err(_) => (read, None),
            }
        })
    }

    /// SHA-256 of the file as it is, in hexadecimal.
    pub(crate) fn sha256(&self) -> Result<String, InputError> {
        if let Some(bytes) = &self.held {
            return Ok(sha256::of(bytes));
        }
        Ok(sha256::of_file(&self.file)?)
    }

    /// All of it from the beginning, however large. Its type is known where it is read, a byte at a time.
    pub(crate) fn reader(&self) -> Result<BufReader<Box<dyn Read + '_>>, InputError> {
        if let Some(bytes) = self.held() {
            return Ok(BufReader::new(Box::new(bytes)));
        }
        let mut stream = self.stream()?;
        let head = head_of(&mut stream).map_err(|error| self.unreadable(error))?;
        let mark = if head.starts_with(MARK) { MARK.len() } else { 0 };
        let text = Cursor::new(head[mark..].to_vec()).chain(stream);
        Ok(BufReader::with_capacity(BUFFER, Box::new(text)))
    }

    fn stream(&self) -> Result<Box<dyn Read>, InputError> {
        let file = input::open(&self.file)?;
        let Some(compression) = self.compression else { return Ok(Box::new(file)) };
        let compressed = BufReader::with_capacity(BUFFER, file);
        let inner: Box<dyn Read> = match compression {
            Compression::Gzip => Box::new(MultiGzDecoder::new(compressed)),
            Compression::Zstd => Box::new(Frames::new(compressed)),
        };
        Ok(Box::new(Stretches::new(Bounded { inner, left: DECOMPRESSED })))
    }

    /// The error of a text that cannot be read to its end.
    pub(crate) fn unreadable(&self, error: io::Error) -> InputError {
        let Some(compression) = self.compression else { return InputError::read(&self.file)(error) };
        let problem = clipped(&format!(
            "its {} stream cannot be read: {error}; if it is cut short or damaged, fetch it again",
            compression.name()
        ));
        InputError::Foreign { file: self.file.clone(), problem }
    }
}

/// A reader of which no more is read.
struct Bounded<R> {
    inner: R,
    left: u64,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        let too_much = || io::Error::new(io::ErrorKind::FileTooLarge, "it holds more than 8 GiB; decompress it before");
        self.left = self.left.checked_sub(read as u64).ok_or_else(too_much)?;
        Ok(read)
    }
}

/// The first bytes of a reader.
fn head_of(reader: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    reader.take(HEAD as u64).read_to_end(&mut head)?;
    Ok(head)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_compressed_is_bounded() {
        let mut bounded = Bounded { inner: io::repeat(b' '), left: 1000 };
        let mut text = Vec::new();
        let error = bounded.read_to_end(&mut text).unwrap_err().to_string();
        assert!(text.len() <= 1000 && error.contains("more than 8 GiB"), "{error}");
    }
}
