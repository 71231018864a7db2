//! The readers of result folders.

use std::fs;
use std::path::Path;

use serde_json::Value;
use serde_json::de::SliceRead;
use serde_json::de::StreamDeserializer;
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use tributary_results::{MANIFEST_FILE, ResultFolder};

use crate::message;
use crate::target::{Target, scratch};

/// The results that inputs are put into, by the names of their manifests in `fuzz/results`.
pub const RESULTS: [&str; 3] = ["version_1", "indexed", "implied"];

/// Messages list all sets or layers of a manifest, however many those are.
const LONGEST: usize = usize::MAX;

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A manifest beside the set files of all results, so that what passes for one may be read on.
pub struct Manifest {
    folder: TempDir,
}

impl Target for Manifest {
    fn new(repository: &Path) -> Self {
        let folder = scratch();
        for entry in fs::read_dir(repository.join("fuzz/results")).expect("there are results") {
            let path = entry.expect("the folder can be listed").path();
            if path.extension().is_some_and(|extension| extension == "safetensors") {
                let name = path.file_name().expect("a file has a name");
                fs::copy(&path, folder.path().join(name)).expect("a set file can be copied");
            }
        }
        Self { folder }
    }

    fn run(&self, input: &[u8]) {
        fs::write(self.folder.path().join(MANIFEST_FILE), input).expect("an input can be written");
        let Some(result) = message::of(ResultFolder::open(self.folder.path()), LONGEST) else { return };
        for entry in result.manifest().sets.iter().take(3) {
            assert!(!entry.stem().is_empty(), "a set has a file name");
            message::of(result.read_set(&entry.name), LONGEST);
        }
        message::of(result.read_set("\u{1}none"), LONGEST);
    }
}

/// The file of a set: the first byte says of which result, and whether the length of its header is put right; the others are
/// the file. Its SHA-256 in the manifest is that of the input, or nothing would be read.
pub struct SetFile {
    results: Vec<Stored>,
}

struct Stored {
    folder: TempDir,
    manifest: String,
    set: String,
    file: String,
    sha256: String,
}

impl Target for SetFile {
    fn new(repository: &Path) -> Self {
        let results = RESULTS.map(|name| {
            let manifest = text(&repository.join(format!("fuzz/results/{name}.json")));
            let parsed: Value = serde_json::from_str(&manifest).expect("a manifest is JSON");
            let of = |key: &str| parsed["sets"][0][key].as_str().expect("a set has it").to_owned();
            Stored { folder: scratch(), set: of("name"), file: of("file"), sha256: of("sha256"), manifest }
        });
        Self { results: results.into() }
    }

    fn run(&self, input: &[u8]) {
        let Some((&which, file)) = input.split_first() else { return };
        let Stored { folder, manifest, set, file: name, sha256 } = &self.results[usize::from(which) % RESULTS.len()];
        let file = if which.is_ascii_lowercase() { with_length(file) } else { file.to_owned() };
        let digits = |byte: &u8| [byte >> 4, byte & 15].map(|digit| char::from_digit(digit.into(), 16).unwrap_or('0'));
        let found: String = Sha256::digest(&file).iter().flat_map(digits).collect();
        fs::write(folder.path().join(MANIFEST_FILE), manifest.replacen(sha256, &found, 1)).expect("it can be written");
        fs::write(folder.path().join(name), file).expect("an input can be written");
        let result = ResultFolder::open(folder.path()).expect("the manifest is whole");
        message::of(result.read_set(set), LONGEST);
    }
}

/// The file with the length before its header put right, which few mutations of a header do.
fn with_length(file: &[u8]) -> Vec<u8> {
    const PREFIX: usize = 8;
    let Some((_, rest)) = file.split_at_checked(PREFIX) else { return file.to_owned() };
    let mut values = StreamDeserializer::<_, serde::de::IgnoredAny>::new(SliceRead::new(rest));
    if !matches!(values.next(), Some(Ok(_))) {
        return file.to_owned();
    }
    let end = values.byte_offset();
    let padding = rest[end..].iter().take_while(|&&byte| byte == b' ').count();
    let length = (end + padding) as u64;
    [length.to_le_bytes().as_slice(), rest].concat()
}
