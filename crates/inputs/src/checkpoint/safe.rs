//! Checkpoints in the format of safetensors.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use safetensors::tensor::Metadata;

use super::pickle;
use super::raw::RawTensor;
use crate::error::clipped;

/// Bytes before the header, which say how long it is.
const PREFIX: u64 = 8;

/// Whether a file that begins with `head` is one: a length, and the object that it is the length of.
pub(super) fn is_one(head: &[u8]) -> bool {
    // The format bounds its headers so.
    let is_length = |bytes: &[u8; 8]| u64::from_le_bytes(*bytes) <= 100_000_000;
    head.first_chunk().is_some_and(is_length) && head.get(PREFIX as usize) == Some(&b'{')
}

/// The tensors of a file, their values not read yet.
pub(super) fn open(path: &Path, mut file: File) -> Result<Vec<RawTensor>, String> {
    let words = |error: io::Error| error.to_string();
    let file_length = file.metadata().map_err(words)?.len();
    let mut prefix = [0; PREFIX as usize];
    file.read_exact(&mut prefix).map_err(words)?;
    let header_length = u64::from_le_bytes(prefix);
    // A header is to its tensors what the pickle is in an archive.
    let limit = pickle::limit(file_length).min(file_length.saturating_sub(PREFIX));
    if header_length > limit {
        return Err(format!(
            "its header has {header_length} bytes, more than the {limit} that one of its size may have"
        ));
    }
    let mut header = Vec::new();
    (&mut file).take(header_length).read_to_end(&mut header).map_err(words)?;
    let metadata: Metadata = serde_json::from_slice(&header).map_err(|error| clipped(&error.to_string()))?;
    let start = PREFIX + header_length;
    let (found, expected) = (file_length.saturating_sub(start), metadata.data_len() as u64);
    if found != expected {
        return Err(format!("it holds {found} bytes of tensors, but its header describes {expected}"));
    }
    let (path, file) = (Arc::from(path), Arc::new(Mutex::new(file)));
    let tensors = metadata.tensors();
    Ok(tensors
        .into_iter()
        .map(|(name, info)| {
            let (begin, end) = info.data_offsets;
            let (file, size) = (file.clone(), info.dtype.bitsize() / 8);
            let read = move || {
                let mut bytes = vec![0; end - begin];
                let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
                file.seek(SeekFrom::Start(start + begin as u64))?;
                file.read_exact(&mut bytes)?;
                drop(file);
                if cfg!(target_endian = "big") {
                    bytes.chunks_exact_mut(size.max(1)).for_each(<[u8]>::reverse);
                }
                Ok(bytes)
            };
            RawTensor::new(
                Arc::clone(&path),
                name,
                format!("{:?}", info.dtype),
                info.shape.clone(),
                end - begin,
                Arc::new(read),
            )
        })
        .collect())
}
