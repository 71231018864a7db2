//! JSON whose texts, numbers and gaps have a plausible length. What is compressed can hold a name of a gigabyte in a megabyte,
//! and a parser keeps a text until it ends.

use std::io::{self, Read};

/// The longest text, number or gap, in bytes.
const LONGEST: usize = 16 << 20;

/// A reader of JSON that fails in the middle of what is too long.
pub(crate) struct Stretches<R> {
    inner: R,
    is_in_text: bool,
    is_escaped: bool,
    /// Bytes since something began.
    length: usize,
}

impl<R> Stretches<R> {
    pub(crate) fn new(inner: R) -> Self {
        Self { inner, is_in_text: false, is_escaped: false, length: 0 }
    }

    /// Passes over a byte; `false` where it is one too many.
    fn pass(&mut self, byte: u8) -> bool {
        let is_escaped = std::mem::take(&mut self.is_escaped);
        let is_end = match (self.is_in_text, byte) {
            (true, b'\\') => {
                self.is_escaped = !is_escaped;
                false
            }
            (true, b'"') => !is_escaped,
            (true, _) => false,
            (false, byte) => matches!(byte, b'"' | b',' | b':' | b'[' | b']' | b'{' | b'}'),
        };
        if is_end {
            self.is_in_text = !self.is_in_text && byte == b'"';
            self.length = 0;
        } else {
            self.length += 1;
        }
        self.length <= LONGEST
    }
}

impl<R: Read> Read for Stretches<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        if buffer[..read].iter().all(|&byte| self.pass(byte)) {
            return Ok(read);
        }
        let what = "it holds a text, a number or a gap of more than 16 MiB, which no file of CI sets does";
        Err(io::Error::new(io::ErrorKind::FileTooLarge, what))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(parts: &[&[u8]]) -> io::Result<usize> {
        io::copy(&mut Stretches::new(&*parts.concat()), &mut io::sink()).map(|read| read as usize)
    }

    #[test]
    fn what_is_long_and_what_is_many() {
        let (long, many) = ("a".repeat(LONGEST + 1), "a,".repeat(LONGEST));
        assert!(read(&[b"[", many.as_bytes(), b"]"]).is_ok());
        assert!(read(&[b"[\"", &long.as_bytes()[1..], b"\"]"]).is_ok());
        assert!(read(&[b"[\"", long.as_bytes(), b"\"]"]).is_err());
        assert!(read(&[b"[", long.as_bytes()]).is_err());
        assert!(read(&[b"[\"", many.as_bytes()]).is_err());
        // The quotation mark in it does not end it, that after two backslashes does.
        assert!(read(&[b"[\"\\\"", many.as_bytes()]).is_err());
        assert!(read(&[b"[\"\\\\\"", many.as_bytes()]).is_ok());
    }
}
