//! What is in a checkpoint, which may be in one of three formats, or in none.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek};
use std::path::Path;
use std::sync::Arc;

use pytorch_reader::{PytorchError, PytorchReader};
use tributary_files::{input, memory};

use super::pickle::{self, Globals};
use super::raw::RawTensor;
use super::{archive, safe};
use crate::InputError;
use crate::error::clipped;
use crate::guard::no_panic;
use crate::sniff::{self, HEAD, foreign};

/// What is in a checkpoint.
pub(super) struct Contents {
    pub(super) tensors: Vec<RawTensor>,
    /// Why a tensor may be missing.
    pub(super) hint: Option<&'static str>,
    /// What a user should know.
    pub(super) note: Option<String>,
}

/// Looks into a checkpoint. The file is not trusted: it may be anything at all.
pub(super) fn read(path: &Path) -> Result<Contents, InputError> {
    let fail = |problem: String| InputError::Checkpoint { file: path.to_owned(), problem: clipped(&problem) };
    let mut file = input::open(path)?;
    let length = file.metadata().map_err(InputError::read(path))?.len();
    let mut head = Vec::new();
    (&mut file).take(HEAD as u64).read_to_end(&mut head).map_err(InputError::read(path))?;
    file.rewind().map_err(InputError::read(path))?;
    if let Some(foreign) = foreign(&head) {
        return Err(sniff::refused(path, foreign, "decompress it, with gunzip, and put what comes out in its place"));
    }
    let container = Container::of(&head);
    if matches!(container, Container::Zip | Container::Safetensors | Container::Legacy) {
        memory::check(path, length)?;
    }
    let (globals, note) = match container {
        Container::Safetensors => {
            let note = "is in the format of safetensors, which has no checksums: damage to its numbers goes unnoticed";
            let tensors = no_panic(|| safe::open(path, file)).and_then(|tensors| tensors).map_err(fail)?;
            return Ok(Contents { tensors, hint: None, note: Some(note.to_owned()) });
        }
        Container::Zip => {
            let (globals, unchecked) = archive::check(file).map_err(fail)?;
            let note = format!(
                "has no checksums for {unchecked} of its entries, as torch.save writes where it is told to compute none: damage to \
                 their numbers goes unnoticed"
            );
            (globals, (unchecked > 0).then_some(note))
        }
        Container::Legacy => {
            let note = "is in the format of PyTorch before 1.6, which has no checksums: damage to its numbers goes unnoticed; \
                        what torch.save writes now has them";
            (scan_legacy(file, length).map_err(|error| fail(error.to_string()))?, Some(note.to_owned()))
        }
        Container::Tar => {
            return Err(fail("it is an archive of PyTorch before 0.1.10, which is not read: save it again".to_owned()));
        }
        Container::Pickle => {
            let problem = "it is a plain pickle, which holds no tensors; expected the state dict of a ComponentModel, as \
                           torch.save writes it";
            return Err(fail(problem.to_owned()));
        }
        Container::Unknown if length == 0 => {
            return Err(fail("it is empty".to_owned()));
        }
        Container::Unknown if head.trim_ascii_start().starts_with(b"{") => {
            return Err(fail("it is text, such as what a server says in place of a file".to_owned()));
        }
        Container::Unknown => {
            return Err(fail("it is neither what torch.save writes nor in the format of safetensors".to_owned()));
        }
    };
    let reader = no_panic(|| PytorchReader::new(path)).map_err(fail)?;
    let reader = reader.map_err(|error| match (error, globals.hint()) {
        // Of the operating system's, which says nothing of the file.
        (PytorchError::Io(error), _) if error.raw_os_error().is_some() => InputError::read(path)(error),
        (_, Some(hint)) => InputError::Foreign { file: path.to_owned(), problem: hint.to_owned() },
        (error, None) => fail(error.to_string()),
    })?;
    let of: Arc<Path> = Arc::from(path);
    let tensors = reader.into_tensors().into_values().map(|tensor| RawTensor::of_torch(Arc::clone(&of), tensor));
    Ok(Contents { tensors: tensors.collect(), hint: globals.hint(), note })
}

enum Container {
    Zip,
    Safetensors,
    Tar,
    Legacy,
    Pickle,
    Unknown,
}

impl Container {
    /// As `pytorch-reader` tells them apart.
    fn of(head: &[u8]) -> Self {
        /// What a checkpoint of the form before PyTorch 1.6 begins with, somewhere in its first pickle: a number in binary,
        /// or in decimal.
        const LEGACY: [&[u8]; 2] = [b"\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19", b"119547037146038801333356"];
        let begins = |magic: &&[u8]| head[..head.len().min(64)].windows(magic.len()).any(|bytes| bytes == *magic);
        if head.starts_with(b"PK\x03\x04") || head.starts_with(b"PK\x05\x06") {
            Self::Zip
        } else if safe::is_one(head) {
            Self::Safetensors
        } else if head.get(257..262) == Some(b"ustar") {
            Self::Tar
        } else if LEGACY.iter().any(begins) {
            Self::Legacy
        } else if matches!(head.first(), Some(0x80 | b'(' | b'}' | b']' | b'c')) {
            Self::Pickle
        } else {
            Self::Unknown
        }
    }
}

/// Reads past the pickles of a checkpoint of the form before PyTorch 1.6: magic number, version, system, the state dict, the
/// keys of the storages.
fn scan_legacy(file: File, length: u64) -> io::Result<Globals> {
    let (mut globals, mut left) = (Globals::default(), pickle::limit(length));
    let mut file = BufReader::new(file);
    for _ in 0..5 {
        left -= globals.scan(&mut file, left)?;
    }
    Ok(globals)
}
