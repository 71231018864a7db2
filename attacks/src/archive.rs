//! Zip archives that say what they are told to say.

use std::io::Write;

use flate2::Compression;
use flate2::write::DeflateEncoder;

/// An entry of an archive.
pub(crate) struct Entry {
    pub(crate) name: String,
    /// 0 for stored, 8 for deflated.
    pub(crate) method: u16,
    /// As it lies in the archive.
    pub(crate) stored: Vec<u8>,
    /// How long it says it is.
    pub(crate) size: u32,
    pub(crate) flags: u16,
}

impl Entry {
    pub(crate) fn stored(name: &str, content: impl AsRef<[u8]>) -> Self {
        let stored = content.as_ref().to_vec();
        Self { name: name.to_owned(), method: 0, size: stored.len() as u32, stored, flags: 0 }
    }

    pub(crate) fn deflated(name: &str, content: &[u8]) -> Self {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(content).unwrap();
        let stored = encoder.finish().unwrap();
        Self { name: name.to_owned(), method: 8, size: content.len() as u32, stored, flags: 0 }
    }

    /// What its two headers share.
    fn common(&self) -> Vec<u8> {
        let mut common = vec![20, 0];
        common.extend(self.flags.to_le_bytes());
        common.extend(self.method.to_le_bytes());
        // Time, date (1 January 1980), checksum, which nobody asks for where it is 0.
        common.extend([0, 0, 0x21, 0, 0, 0, 0, 0]);
        common.extend((self.stored.len() as u32).to_le_bytes());
        common.extend(self.size.to_le_bytes());
        common.extend((self.name.len() as u16).to_le_bytes());
        common.extend([0, 0]);
        common
    }

    fn local(&self) -> Vec<u8> {
        [b"PK\x03\x04".as_slice(), &self.common(), self.name.as_bytes(), &self.stored].concat()
    }

    fn central(&self, offset: usize) -> Vec<u8> {
        let mut central = b"PK\x01\x02\x14\x00".to_vec();
        central.extend(self.common());
        // No comment, disk 0, no attributes.
        central.extend([0; 10]);
        central.extend((offset as u32).to_le_bytes());
        central.extend(self.name.bytes());
        central
    }
}

/// An archive of entries.
pub(crate) fn archive(entries: &[Entry]) -> Vec<u8> {
    let (mut out, mut directory) = (Vec::new(), Vec::new());
    for entry in entries {
        directory.extend(entry.central(out.len()));
        out.extend(entry.local());
    }
    end(out, &directory, entries.len() as u16)
}

/// An archive with its first entry `count` times in the directory, under different names.
pub(crate) fn overlapping(content: &Entry, count: usize) -> Vec<u8> {
    let out = content.local();
    let central = |number| Entry { name: format!("a/data/{number:03}"), stored: content.stored.clone(), ..*content };
    let directory: Vec<u8> = (0..count).flat_map(|number| central(number).central(0)).collect();
    end(out, &directory, count as u16)
}

fn end(mut out: Vec<u8>, directory: &[u8], count: u16) -> Vec<u8> {
    let start = out.len() as u32;
    out.extend(directory);
    out.extend(end_record(count, directory.len() as u32, start));
    out
}

/// The record at the end of an archive.
pub(crate) fn end_record(count: u16, length: u32, start: u32) -> Vec<u8> {
    let count = count.to_le_bytes();
    [b"PK\x05\x06\0\0\0\0".as_slice(), &count, &count, &length.to_le_bytes(), &start.to_le_bytes(), &[0, 0]].concat()
}

/// The records at the end of an archive in zip64, with these numbers.
pub(crate) fn end_records_64(at: usize, count: u64, length: u64, start: u64) -> Vec<u8> {
    let mut out = b"PK\x06\x06".to_vec();
    out.extend(44_u64.to_le_bytes());
    out.extend([45, 0, 45, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    for number in [count, count, length, start] {
        out.extend(number.to_le_bytes());
    }
    out.extend(b"PK\x06\x07\0\0\0\0");
    out.extend((at as u64).to_le_bytes());
    out.extend([1, 0, 0, 0]);
    out.extend(end_record(u16::MAX, u32::MAX, u32::MAX));
    out
}
