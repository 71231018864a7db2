//! The zip archive that `torch.save` writes, looked at before it is read.
//!
//! A compressed entry can become a thousand times as long as it is in the file. `torch.save` compresses nothing, so nothing
//! that it wrote is refused where every entry must lie in the file as it is.

use std::fs::File;
use std::io::{BufReader, Read};

use zip::{CompressionMethod, ZipArchive};

use super::pickle::{self, Globals};
use crate::error::shortened;
use crate::guard::no_panic;

/// Checks that an archive holds no more than its file, and tells what its pickle names, and how many of its entries have no
/// checksum: those whose field for it is zero, as `torch.save` leaves it where it is told not to compute any.
pub(super) fn check(file: File) -> Result<(Globals, usize), String> {
    no_panic(|| check_entries(file))?
}

fn check_entries(file: File) -> Result<(Globals, usize), String> {
    let length = file.metadata().map_err(|error| error.to_string())?.len();
    let mut archive = ZipArchive::new(BufReader::new(file)).map_err(|error| format!("zip archive error: {error}"))?;
    let (mut globals, mut sum, mut unchecked) = (Globals::default(), 0_u64, 0);
    for index in 0..archive.len() {
        let mut entry = archive.by_index_raw(index).map_err(|error| format!("zip archive error: {error}"))?;
        let name = String::from_utf8_lossy(entry.name_raw()).into_owned();
        // `torch.jit.save` compresses the code that it adds.
        if name.contains("/code/__torch__/") {
            return Err(
                "it is a TorchScript program; save the state dict, torch.save(model.state_dict(), ...), in its place"
                    .to_owned(),
            );
        }
        let (stored, size) = (entry.compressed_size(), entry.size());
        if entry.compression() != CompressionMethod::Stored || stored != size {
            return Err(format!(
                "its entry {} is compressed, from {size} bytes to {stored}; torch.save compresses nothing: save it again with \
                 torch.save",
                shortened(&name)
            ));
        }
        unchecked += usize::from(size > 0 && entry.crc32() == 0);
        // Entries that overlap would be larger together than the file.
        sum = sum.saturating_add(size);
        if sum > length || entry.data_start().is_none_or(|start| start.saturating_add(size) > length) {
            return Err(format!("its entry {} of {size} bytes reaches beyond the end of the file", shortened(&name)));
        }
        if name.strip_suffix("data.pkl").is_some_and(|root| root.is_empty() || root.ends_with('/')) {
            let limit = pickle::limit(length);
            if size > limit {
                return Err(format!(
                    "its pickle, {}, has {size} bytes, more than the {limit} that one of its size may have",
                    shortened(&name)
                ));
            }
            let mut bytes = Vec::new();
            (&mut entry).take(limit).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
            // What is wrong with a pickle is for its reader to say.
            let _ = globals.scan(&mut bytes.as_slice(), limit);
        }
    }
    Ok((globals, unchecked))
}
