//! Pickles by instructions, and checkpoints around them.

use crate::Scene;
use crate::archive::{Entry, archive};

/// Puts a checkpoint in place whose pickle has these instructions.
pub(crate) fn pickle(scene: &Scene, instructions: impl AsRef<[u8]>) {
    let pickle = [b"\x80\x02", instructions.as_ref()].concat();
    let entries = [Entry::stored("archive/data.pkl", pickle), Entry::stored("archive/version", "3\n")];
    scene.write("run/model_1.pth", archive(&entries));
}

/// The instructions for a text.
pub(crate) fn text(text: &str) -> Vec<u8> {
    [b"X".as_slice(), &(text.len() as u32).to_le_bytes(), text.as_bytes()].concat()
}
