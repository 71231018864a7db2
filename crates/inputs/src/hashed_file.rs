//! A file that is hashed while it is read.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use crate::InputError;
use crate::fingerprint::Hasher;

/// Bytes read at a time: a block stays in the processor's cache until it is hashed and decoded.
const BLOCK: usize = 1 << 18;

/// A file whose bytes go into a fingerprint, each once and in the order of the file, whatever is read when.
///
/// What is read from front to back is hashed as it comes by; what is passed over is read for the hash alone.
pub(crate) struct HashedFile {
    path: PathBuf,
    file: File,
    length: u64,
    /// Where the file's cursor is, if that is known.
    position: Option<u64>,
    hasher: Hasher,
    /// How much of the file is in it.
    hashed: u64,
}

impl HashedFile {
    /// Begins a file of a fingerprint.
    pub(crate) fn open(path: &Path, role: &str, mut hasher: Hasher) -> Result<Self, InputError> {
        let file = File::open(path).map_err(InputError::read(path))?;
        let length = file.metadata().map_err(InputError::read(path))?.len();
        hasher.begin(role, length);
        Ok(Self { path: path.to_owned(), file, length, position: None, hasher, hashed: 0 })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The file itself, to look at what is in it.
    pub(crate) fn file(&mut self) -> &File {
        self.position = None;
        &self.file
    }

    /// Reads `length` bytes from `offset` on, and gives them to `each` in blocks.
    pub(crate) fn read_blocks(
        &mut self,
        mut offset: u64,
        length: usize,
        mut each: impl FnMut(&[u8]),
    ) -> Result<(), InputError> {
        self.hash_up_to(offset)?;
        let mut block = vec![0; BLOCK.min(length)];
        let mut left = length;
        while left > 0 {
            let block = &mut block[..BLOCK.min(left)];
            self.fill(offset, block).map_err(InputError::read(&self.path))?;
            let end = offset + block.len() as u64;
            if end > self.hashed {
                self.hasher.update(&block[(self.hashed - offset) as usize..]);
                self.hashed = end;
            }
            each(block);
            offset = end;
            left -= block.len();
        }
        Ok(())
    }

    /// Hashes what has not been read.
    pub(crate) fn finish(mut self) -> Result<Hasher, InputError> {
        self.hash_up_to(self.length)?;
        Ok(self.hasher)
    }

    fn hash_up_to(&mut self, end: u64) -> Result<(), InputError> {
        if self.hashed >= end {
            return Ok(());
        }
        let mut block = vec![0; BLOCK];
        while self.hashed < end {
            let length = (BLOCK as u64).min(end - self.hashed) as usize;
            self.fill(self.hashed, &mut block[..length]).map_err(InputError::read(&self.path))?;
            self.hasher.update(&block[..length]);
            self.hashed += length as u64;
        }
        Ok(())
    }

    fn fill(&mut self, offset: u64, block: &mut [u8]) -> io::Result<()> {
        if self.position.take() != Some(offset) {
            self.file.seek(SeekFrom::Start(offset))?;
        }
        self.file.read_exact(block)?;
        self.position = Some(offset + block.len() as u64);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever is read, in any order and as often as one likes, the hash is that of the file.
    #[test]
    fn the_order_of_reads_does_not_matter() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let content: Vec<u8> = (0..3 * BLOCK + 17).map(|at| (at * at >> 3) as u8).collect();
        std::fs::write(&path, &content).unwrap();
        let mut expected = Hasher::new();
        expected.add("file", &content);
        let expected = expected.finish();
        let length = content.len();
        let orders: [&[(usize, usize)]; 5] = [
            &[],
            &[(0, BLOCK), (BLOCK, BLOCK), (2 * BLOCK, BLOCK + 17)],
            &[(5, 10), (7, 100), (0, 3), (2 * BLOCK, 1), (BLOCK, 10)],
            &[(length - 3, 3), (0, length)],
            &[(3, 0), (length, 0)],
        ];
        for order in orders {
            let mut file = HashedFile::open(&path, "file", Hasher::new()).unwrap();
            for &(offset, length) in order {
                // Moves the cursor.
                Seek::seek(&mut file.file(), SeekFrom::Start(9)).unwrap();
                let mut read = Vec::new();
                file.read_blocks(offset as u64, length, |block| read.extend_from_slice(block)).unwrap();
                assert_eq!(read, content[offset..][..length], "{order:?}");
            }
            assert_eq!(file.finish().unwrap().finish(), expected, "{order:?}");
        }
    }

    #[test]
    fn a_file_that_shrinks_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, [1; 100]).unwrap();
        let file = HashedFile::open(&path, "file", Hasher::new()).unwrap();
        std::fs::write(&path, [1; 50]).unwrap();
        assert!(matches!(file.finish(), Err(InputError::Read { .. })));
    }
}
