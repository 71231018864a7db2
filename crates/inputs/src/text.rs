//! Input files that are read whole, in memory: configs and tokenizers.

use std::path::Path;

use tributary_files::input;

use crate::InputError;
use crate::sniff::{self, Foreign};

/// The most bytes a config may have: a thousand times as many as real ones.
pub(crate) const CONFIG: u64 = 16 << 20;

/// The most bytes a tokenizer may have. Vocabularies of 250,000 tokens take some 20 MB.
pub(crate) const TOKENIZER: u64 = 256 << 20;

/// Reads a regular file of at most `limit` bytes, which is to be `what`.
pub(crate) fn read(file: &Path, what: &'static str, limit: u64) -> Result<Vec<u8>, InputError> {
    let bytes = input::read(file, what, limit)?;
    match sniff::foreign(&bytes) {
        None => Ok(bytes),
        Some(foreign @ (Foreign::Gzip | Foreign::Zstd)) => {
            Err(sniff::refused(file, foreign, "decompress it, with gunzip, and give what comes out"))
        }
        Some(foreign) => Err(sniff::refused(file, foreign, "")),
    }
}
