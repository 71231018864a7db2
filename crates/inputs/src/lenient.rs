//! Metadata as Python writes them, as JSON.
//!
//! Python's `json` writes `NaN` and `Infinity`, which JSON lacks, and halves of surrogate pairs, which are no text. In metadata,
//! which nobody computes with, they become `null` and U+FFFD. Everything else stays as it is, to be refused in its place.

use std::collections::VecDeque;
use std::io::{self, Read};

/// What was replaced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Replaced {
    /// Numbers that JSON lacks.
    pub(crate) numbers: u64,
    /// Halves of surrogate pairs.
    pub(crate) surrogates: u64,
    /// Line and column, from 1, of the first of either.
    pub(crate) first: Option<(u64, u64)>,
}

/// A reader of the JSON that a CI-set file means.
pub(crate) struct Lenient<R> {
    inner: R,
    /// Bytes that were read but not looked at.
    window: VecDeque<u8>,
    is_at_end: bool,
    /// Bytes to give.
    out: VecDeque<u8>,
    depth: usize,
    is_in_string: bool,
    /// The beginning of the last string.
    string: Vec<u8>,
    /// How deep the object lies whose metadata are being read.
    metadata: Option<usize>,
    line: u64,
    column: u64,
    replaced: Replaced,
}

/// As many bytes as are looked at together: two escapes.
const AHEAD: usize = 12;

const BLOCK: usize = 1 << 16;

/// What follows when a number is none.
const NUMBERS: [&[u8]; 3] = [b"NaN", b"Infinity", b"-Infinity"];

impl<R: Read> Lenient<R> {
    pub(crate) fn new(inner: R) -> Self {
        Self {
            inner,
            window: VecDeque::new(),
            is_at_end: false,
            out: VecDeque::new(),
            depth: 0,
            is_in_string: false,
            string: Vec::new(),
            metadata: None,
            line: 1,
            column: 1,
            replaced: Replaced::default(),
        }
    }

    pub(crate) fn replaced(&self) -> Replaced {
        self.replaced
    }

    fn look_ahead(&mut self) -> io::Result<()> {
        while self.window.len() < AHEAD && !self.is_at_end {
            let mut block = vec![0; BLOCK];
            let read = self.inner.read(&mut block)?;
            self.is_at_end = read == 0;
            self.window.extend(&block[..read]);
        }
        Ok(())
    }

    fn starts_with(&self, text: &[u8]) -> bool {
        self.window.len() >= text.len() && text.iter().zip(&self.window).all(|(expected, found)| expected == found)
    }

    /// Moves past bytes, giving them on.
    fn pass(&mut self, count: usize) {
        for _ in 0..count {
            let Some(byte) = self.window.pop_front() else { return };
            (self.line, self.column) = if byte == b'\n' { (self.line + 1, 1) } else { (self.line, self.column + 1) };
            self.out.push_back(byte);
        }
    }

    /// Moves past bytes, giving others in their place.
    fn replace(&mut self, count: usize, by: &[u8]) {
        self.replaced.first.get_or_insert((self.line, self.column));
        self.window.drain(..count.min(self.window.len()));
        self.column += count as u64;
        self.out.extend(by);
    }

    fn step(&mut self) -> io::Result<bool> {
        self.look_ahead()?;
        let Some(&byte) = self.window.front() else { return Ok(false) };
        if self.is_in_string {
            self.step_in_string(byte);
            return Ok(true);
        }
        match byte {
            b'"' => {
                self.is_in_string = true;
                self.string.clear();
            }
            b'{' | b'[' => self.depth += 1,
            b'}' | b']' => {
                self.metadata = self.metadata.filter(|depth| *depth != self.depth);
                self.depth = self.depth.saturating_sub(1);
            }
            b',' => self.metadata = self.metadata.filter(|depth| *depth != self.depth),
            // A key of the whole file, or of one of its samples.
            b':' if self.metadata.is_none() && self.string == b"metadata" && matches!(self.depth, 1 | 3) => {
                self.metadata = Some(self.depth);
            }
            _ if self.metadata.is_some() => {
                if let Some(number) = NUMBERS.into_iter().find(|number| self.starts_with(number)) {
                    self.replaced.numbers += 1;
                    self.replace(number.len(), b"null");
                    return Ok(true);
                }
            }
            _ => {}
        }
        self.pass(1);
        Ok(true)
    }

    fn step_in_string(&mut self, byte: u8) {
        /// More than the one key that is looked for.
        const KEPT: usize = 16;
        if self.string.len() < KEPT && byte != b'"' {
            self.string.push(byte);
        }
        match byte {
            b'\\' if self.metadata.is_some() => match (self.surrogate(0), self.surrogate(6)) {
                (Some(0xd800..0xdc00), Some(0xdc00..0xe000)) => self.pass(12),
                (Some(_), _) => {
                    self.replaced.surrogates += 1;
                    self.replace(6, b"\\ufffd");
                }
                (None, _) => self.pass(2),
            },
            b'\\' => self.pass(2),
            b'"' => {
                self.is_in_string = false;
                self.pass(1);
            }
            _ => self.pass(1),
        }
    }

    /// The half of a surrogate pair that an escape at this place of the window stands for.
    fn surrogate(&self, start: usize) -> Option<u32> {
        let escape: Vec<u8> = self.window.iter().skip(start).take(6).copied().collect();
        let digits = str::from_utf8(escape.strip_prefix(b"\\u")?).ok().filter(|digits| digits.len() == 4)?;
        u32::from_str_radix(digits, 16).ok().filter(|code| (0xd800..0xe000).contains(code))
    }
}

impl<R: Read> Read for Lenient<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.out.len() < buffer.len() && self.step()? {}
        self.out.read(buffer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (String, Replaced) {
        let mut lenient = Lenient::new(text.as_bytes());
        let mut out = String::new();
        lenient.read_to_string(&mut out).unwrap();
        (out, lenient.replaced())
    }

    #[test]
    fn only_metadata_are_changed() {
        let before = r#"{"metadata": {"a": [NaN, -Infinity, Infinity, "NaN \" \ud83d\ude00 \ud800x"]}, "x": NaN}"#;
        let after = r#"{"metadata": {"a": [null, null, null, "NaN \" \ud83d\ude00 \ufffdx"]}, "x": NaN}"#;
        let (text, replaced) = read(before);
        assert_eq!(text, after);
        assert_eq!(replaced, Replaced { numbers: 3, surrogates: 1, first: Some((1, 21)) });
        let (text, replaced) =
            read("{\"samples\":\n{\"metadata\": {\"ci_vals\": [NaN],\n \"metadata\": NaN, \"p\": NaN}}}");
        assert_eq!(text, "{\"samples\":\n{\"metadata\": {\"ci_vals\": [NaN],\n \"metadata\": null, \"p\": NaN}}}");
        assert_eq!(replaced, Replaced { numbers: 1, surrogates: 0, first: Some((3, 14)) });
    }

    #[test]
    fn everything_else_passes() {
        for text in ["", "NaN", "{\"a\\\"metadata\": NaN}", "{\"metadata", "{\"metadata\": \"\\u12", "[[[[", "}}\"\\"] {
            let (out, replaced) = read(text);
            assert_eq!((out.as_str(), replaced), (text, Replaced::default()));
        }
    }
}
