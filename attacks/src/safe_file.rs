//! Files in the format of safetensors, taken apart and put together as told.

use std::fmt::Write as _;

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::Scene;

/// The header of a file and what follows it.
pub(crate) fn split(bytes: &[u8]) -> (Value, Vec<u8>) {
    let length = u64::from_le_bytes(*bytes.first_chunk().unwrap()) as usize;
    (serde_json::from_slice(&bytes[8..8 + length]).unwrap(), bytes[8 + length..].to_vec())
}

/// A file with this header, of the length that it has.
pub(crate) fn join(header: &str, data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat()
}

/// Changes the file of the set `low`, for which the manifest vouches then.
pub(crate) fn edit_low(scene: &Scene, edit: impl FnOnce(&mut Value, &mut Vec<u8>)) {
    let (mut header, mut data) = split(&scene.read("out/low.safetensors"));
    edit(&mut header, &mut data);
    replace_low(scene, &join(&header.to_string(), &data));
}

/// Replaces the file of the set `low` by another, for which the manifest vouches then.
pub(crate) fn replace_low(scene: &Scene, bytes: &[u8]) {
    scene.write("out/low.safetensors", bytes);
    let sha256 = Sha256::digest(bytes).iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    });
    scene.edit("out/manifest.json", |manifest| manifest["sets"][0]["sha256"] = sha256.into());
}

/// Replaces the first bytes of a tensor of the set `low`.
pub(crate) fn poke_low(scene: &Scene, tensor: &str, at: usize, bytes: &[u8]) {
    edit_low(scene, |header, data| {
        let start = header[tensor]["data_offsets"][0].as_u64().unwrap() as usize + at;
        data[start..start + bytes.len()].copy_from_slice(bytes);
    });
}
