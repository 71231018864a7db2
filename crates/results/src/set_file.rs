//! The file of a set while its values come.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::mem;
use std::path::PathBuf;

use sha2::{Digest, Sha256};
use tributary_files::sha256;

/// Bytes of one file that are gathered before they are written: as many as stay in a core's cache until they are hashed.
const PIECE: usize = 1 << 18;
/// Pieces from this size on are hashed by one thread while another writes them.
const SHARED_OUT: usize = 1 << 16;
/// Bytes of the buffers of all files together at most, to within one write.
const GATHERED: usize = 1 << 23;

/// Bytes that the buffer of one file takes at most.
pub(crate) const LARGEST_BUFFER: usize = PIECE;
/// Bytes that the buffers of all files of a run take at most.
pub(crate) const SET_FILE_BUFFERS: u64 = (GATHERED + 2 * PIECE) as u64;

/// A file that is written a piece at a time, and open only during that: there may be any number of them.
#[derive(Debug)]
pub(crate) struct SetFile {
    path: PathBuf,
    buffer: Vec<u8>,
    hasher: Sha256,
}

impl SetFile {
    /// Makes the file, which must not be there.
    pub(crate) fn create(path: PathBuf) -> io::Result<Self> {
        File::create_new(&path)?;
        Ok(Self { path, buffer: Vec::new(), hasher: Sha256::new() })
    }

    /// What it takes to write to it; `gathered` counts the bytes of the buffers of all files.
    pub(crate) fn gathering<'a>(&'a mut self, gathered: &'a mut Gathered) -> impl Write + 'a {
        Gathering { file: self, gathered }
    }

    /// Writes what was gathered, and gives the buffer back.
    pub(crate) fn flush(&mut self, gathered: &mut Gathered) -> io::Result<()> {
        self.write_out()?;
        gathered.bytes -= mem::take(&mut self.buffer).capacity();
        Ok(())
    }

    /// Writes what was gathered.
    fn write_out(&mut self) -> io::Result<()> {
        let Self { path, buffer, hasher } = self;
        if buffer.is_empty() {
            return Ok(());
        }
        let write = || OpenOptions::new().append(true).open(&*path)?.write_all(buffer);
        if buffer.len() < SHARED_OUT {
            hasher.update(&*buffer);
            write()?;
        } else {
            rayon::join(write, || hasher.update(&*buffer)).0?;
        }
        buffer.clear();
        Ok(())
    }

    /// Writes what is left; gives the SHA-256 of everything.
    pub(crate) fn finish(mut self, gathered: &mut Gathered) -> io::Result<String> {
        self.flush(gathered)?;
        Ok(sha256::hex(&self.hasher.finalize()))
    }
}

/// How much the buffers of all files take.
#[derive(Debug, Default)]
pub(crate) struct Gathered {
    bytes: usize,
}

impl Gathered {
    /// Whether the files have to be flushed.
    pub(crate) fn is_full(&self) -> bool {
        self.bytes >= GATHERED
    }
}

struct Gathering<'a> {
    file: &'a mut SetFile,
    gathered: &'a mut Gathered,
}

impl Write for Gathering<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Self { file, gathered } = self;
        let buffer = &mut file.buffer;
        let taken = bytes.len().min(PIECE - buffer.len());
        let (needed, before) = (buffer.len() + taken, buffer.capacity());
        if needed > before {
            buffer.reserve_exact(needed.max(2 * before).min(PIECE) - buffer.len());
            gathered.bytes += buffer.capacity() - before;
        }
        buffer.extend_from_slice(&bytes[..taken]);
        if buffer.len() == PIECE {
            file.write_out()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_in_pieces_is_the_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let mut gathered = Gathered::default();
        let mut files = ["a", "b"].map(|name| SetFile::create(path(name)).unwrap());
        let contents: [Vec<u8>; 2] =
            [0, 1].map(|file| (0..PIECE + 12_345).map(|byte| (byte * (file + 3)) as u8).collect());
        for (start, length) in [(0, 1), (1, PIECE), (PIECE + 1, 12_344)] {
            for (file, contents) in files.iter_mut().zip(&contents) {
                file.gathering(&mut gathered).write_all(&contents[start..start + length]).unwrap();
            }
        }
        assert!(gathered.bytes > 0 && !gathered.is_full());
        for ((file, contents), name) in files.into_iter().zip(&contents).zip(["a", "b"]) {
            assert_eq!(file.finish(&mut gathered).unwrap(), sha256::of(contents));
            assert!(std::fs::read(path(name)).unwrap() == *contents);
        }
        assert_eq!(gathered.bytes, 0);
    }
}
