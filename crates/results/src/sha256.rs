//! SHA-256, in the hexadecimal spelling of manifests.

use std::fmt::Write as _;
use std::io::{self, Write};

use sha2::{Digest, Sha256};

/// SHA-256 of `bytes` as 64 lower-case hexadecimal digits.
pub(crate) fn of(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(digest: &[u8]) -> String {
    digest.iter().fold(String::with_capacity(2 * digest.len()), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Bytes gathered before they are hashed and handed to the operating system.
const BUFFER: usize = 1 << 20;

/// Passes bytes on in large pieces and keeps their SHA-256. A piece is hashed by one thread while another writes it.
#[derive(Debug)]
pub(crate) struct HashingWriter<W> {
    inner: W,
    buffer: Vec<u8>,
    hasher: Sha256,
}

impl<W: Write + Send> HashingWriter<W> {
    pub(crate) fn new(inner: W) -> Self {
        Self { inner, buffer: Vec::with_capacity(BUFFER), hasher: Sha256::new() }
    }

    /// Writes what is left; gives the SHA-256 of everything.
    pub(crate) fn finish(mut self) -> io::Result<String> {
        self.flush()?;
        Ok(hex(&self.hasher.finalize()))
    }
}

impl<W: Write + Send> Write for HashingWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.buffer.len() == BUFFER {
            self.flush()?;
        }
        let taken = bytes.len().min(BUFFER - self.buffer.len());
        self.buffer.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        let Self { inner, buffer, hasher } = self;
        rayon::join(|| inner.write_all(buffer), || hasher.update(&*buffer)).0?;
        buffer.clear();
        inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_digests() {
        // The examples "" and "abc" of FIPS 180-4.
        assert_eq!(of(b""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        let mut writer = HashingWriter::new(Vec::new());
        writer.write_all(b"a").unwrap();
        writer.write_all(b"bc").unwrap();
        assert_eq!(writer.finish().unwrap(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
