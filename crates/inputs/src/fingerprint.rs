//! Identity of a trained run.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::panic::resume_unwind;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, ScopedJoinHandle};

use sha2::{Digest, Sha256};
use tributary_files::{input, sha256};

use crate::InputError;

/// SHA-256 over the files that decide a run's numbers: config, model config, tokenizer, checkpoint, and those of the target
/// model where its weights have files of their own, in that order.
///
/// Of each it hashes the role (`final_config.yaml`, `model_config.yaml`, `tokenizer.json`, `checkpoint` or `target`, whatever
/// the file itself is called; of a neutral run `run.yaml`, `tokenizer.json`, `checkpoint`), a zero byte, the length as a little-endian `u64`, and the content. Two runs with equal
/// fingerprints give equal attributions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 32]);

impl fmt::Display for Fingerprint {
    /// 64 lower-case hexadecimal digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&sha256::hex(&self.0))
    }
}

/// A fingerprint in the making.
pub(crate) struct Hasher(Sha256);

impl Hasher {
    pub(crate) fn new() -> Self {
        Self(Sha256::new())
    }

    pub(crate) fn add(&mut self, role: &str, content: &[u8]) {
        self.begin(role, content.len() as u64);
        self.0.update(content);
    }

    /// Adds a file without holding it in memory, while `reads` is at work, or after it where there is no thread to be had.
    pub(crate) fn add_file_beside<T>(
        self,
        role: &str,
        path: &Path,
        reads: impl FnOnce() -> Result<T, InputError>,
    ) -> (Result<T, InputError>, Result<Self, InputError>) {
        let unwanted = AtomicBool::new(false);
        thread::scope(|scope| {
            // A copy for the thread, which may not come to be.
            let (hasher, stop) = (Self(self.0.clone()), &unwanted);
            let hash = thread::Builder::new().spawn_scoped(scope, move || hasher.with_file(role, path, stop));
            let read = reads();
            // What was refused needs no fingerprint.
            unwanted.store(read.is_err(), Ordering::Relaxed);
            let hashed = match hash.map(ScopedJoinHandle::join) {
                Ok(Ok(hashed)) => hashed,
                Ok(Err(panic)) => resume_unwind(panic),
                Err(_) => self.with_file(role, path, &unwanted),
            };
            (read, hashed)
        })
    }

    /// Adds a file without holding it in memory.
    pub(crate) fn add_file(&mut self, role: &str, path: &Path) -> Result<(), InputError> {
        self.stream(role, input::open(path)?, &AtomicBool::new(false)).map_err(InputError::read(path))
    }

    /// Adds a file, up to where it is no longer wanted.
    fn with_file(mut self, role: &str, path: &Path, unwanted: &AtomicBool) -> Result<Self, InputError> {
        self.stream(role, input::open(path)?, unwanted).map_err(InputError::read(path))?;
        Ok(self)
    }

    fn stream(&mut self, role: &str, mut file: File, unwanted: &AtomicBool) -> io::Result<()> {
        self.begin(role, file.metadata()?.len());
        let mut block = vec![0; 1 << 18];
        loop {
            let read = file.read(&mut block)?;
            if read == 0 || unwanted.load(Ordering::Relaxed) {
                return Ok(());
            }
            self.0.update(&block[..read]);
        }
    }

    fn begin(&mut self, role: &str, length: u64) {
        self.0.update(role);
        self.0.update([0]);
        self.0.update(length.to_le_bytes());
    }

    pub(crate) fn finish(self) -> Fingerprint {
        Fingerprint(self.0.finalize().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_framing_tells_apart_what_concatenation_would_not() {
        let of = |parts: &[(&str, &[u8])]| {
            let mut hasher = Hasher::new();
            for (role, content) in parts {
                hasher.add(role, content);
            }
            hasher.finish().to_string()
        };
        let whole = of(&[("a", b"12"), ("b", b"3")]);
        assert_ne!(whole, of(&[("a", b"1"), ("b", b"23")]));
        assert_ne!(whole, of(&[("a", b"12"), ("c", b"3")]));
        // printf 'a\0\2\0\0\0\0\0\0\00012b\0\1\0\0\0\0\0\0\0003' | sha256sum (coreutils 9)
        assert_eq!(whole, "381cb3e2a231eb900bacf4725e6933396d60f41d74b5f81cec647bafd318ecb3");
    }
}
