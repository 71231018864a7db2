//! Files that are plainly something else than what they are to be: what a download leaves in place of the file, mostly.

use std::path::Path;

use crate::InputError;

/// How many bytes of a file's beginning tell what it is.
pub(crate) const HEAD: usize = 512;

/// Something that no input is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Foreign {
    /// What Git LFS leaves in place of a file that it has not fetched.
    LfsPointer,
    /// A web page, saved in place of what it links to.
    WebPage,
    /// A gzip stream.
    Gzip,
    /// Frames of zstd.
    Zstd,
    /// Something compressed in another way.
    Xz,
    /// The same.
    Bzip2,
    /// Text in two bytes a character.
    Utf16,
    /// Text in four bytes a character.
    Utf32,
}

/// What the file that begins with `head` is, if it is one of these.
pub(crate) fn foreign(head: &[u8]) -> Option<Foreign> {
    if head.starts_with(b"version https://git-lfs.github.com/spec/") {
        return Some(Foreign::LfsPointer);
    }
    if head.starts_with(b"\x1f\x8b") {
        return Some(Foreign::Gzip);
    }
    // A frame, or one of those to be skipped, which `pzstd` begins with.
    if head.starts_with(b"\x28\xb5\x2f\xfd") || matches!(head, [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..]) {
        return Some(Foreign::Zstd);
    }
    if head.starts_with(b"\xfd7zXZ\0") {
        return Some(Foreign::Xz);
    }
    if head.starts_with(b"BZh") && head.get(4..10) == Some(b"\x31\x41\x59\x26\x53\x59") {
        return Some(Foreign::Bzip2);
    }
    if head.starts_with(b"\xff\xfe\0\0") || head.starts_with(b"\0\0\xfe\xff") {
        return Some(Foreign::Utf32);
    }
    let is_mark = head.starts_with(b"\xff\xfe") || head.starts_with(b"\xfe\xff");
    if is_mark || matches!(head, [b'{' | b'[', 0, ..] | [0, b'{' | b'[', ..]) {
        return Some(Foreign::Utf16);
    }
    let text = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head).trim_ascii_start();
    let starts = |tag: &[u8]| text.get(..tag.len()).is_some_and(|start| start.eq_ignore_ascii_case(tag));
    [b"<!doctype".as_slice(), b"<html", b"<head", b"<?xml"].into_iter().any(starts).then_some(Foreign::WebPage)
}

/// The error for such a file; `advice` says what to do about what is compressed, which some readers take.
pub(crate) fn refused(file: &Path, foreign: Foreign, advice: &str) -> InputError {
    let problem = match foreign {
        Foreign::LfsPointer => {
            "is the pointer that Git LFS keeps in place of the file; run git lfs pull in its repository".to_owned()
        }
        Foreign::WebPage => {
            "is a web page, saved in place of the file that it shows or asks to sign in for; download the file itself"
                .to_owned()
        }
        Foreign::Gzip => format!("is compressed with gzip; {advice}"),
        Foreign::Zstd => format!("is compressed with zstd; {}", advice.replace("gunzip", "unzstd")),
        Foreign::Xz => "is compressed with xz; decompress it, with unxz".to_owned(),
        Foreign::Bzip2 => "is compressed with bzip2; decompress it, with bunzip2".to_owned(),
        Foreign::Utf32 => {
            "is text in UTF-32; expected UTF-8: convert it, with iconv -f UTF-32 -t UTF-8, or save it again".to_owned()
        }
        Foreign::Utf16 => {
            "is text in UTF-16; expected UTF-8: convert it, with iconv -f UTF-16 -t UTF-8, or save it again".to_owned()
        }
    };
    InputError::Foreign { file: file.to_owned(), problem }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_something_else_is_told() {
        let cases: [(&[u8], Option<Foreign>); 18] = [
            (b"\xfd7zXZ\0\0", Some(Foreign::Xz)),
            (b"BZh91AY&SY", Some(Foreign::Bzip2)),
            (b"\xff\xfe\0\0{\0\0\0", Some(Foreign::Utf32)),
            (b"\0\0\xfe\xff", Some(Foreign::Utf32)),
            (b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\n", Some(Foreign::LfsPointer)),
            (b"\x1f\x8b\x08", Some(Foreign::Gzip)),
            (b"\x28\xb5\x2f\xfd\x04", Some(Foreign::Zstd)),
            (b"\x50\x2a\x4d\x18\x04", Some(Foreign::Zstd)),
            (b"\xff\xfe{\0", Some(Foreign::Utf16)),
            (b"\xfe\xff\0{", Some(Foreign::Utf16)),
            (b"{\0\"\0", Some(Foreign::Utf16)),
            (b"\0{", Some(Foreign::Utf16)),
            (b"\n<!DOCTYPE html>", Some(Foreign::WebPage)),
            (b"<HTML lang=en>", Some(Foreign::WebPage)),
            (b"{\"prompt\": 1}", None),
            (b"version: 1", None),
            (b"PK\x03\x04", None),
            (b"", None),
        ];
        for (head, expected) in cases {
            assert_eq!(foreign(head), expected, "{}", String::from_utf8_lossy(head));
        }
    }
}
