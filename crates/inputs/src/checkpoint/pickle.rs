//! What a pickle is about, and how long it is, before anything is made of it.
//!
//! A byte of a pickle can become an object of a hundred bytes, so its length bounds the memory that reading it takes. In an
//! archive the length is written down; in a checkpoint of the form before PyTorch 1.6 pickles follow each other without
//! one, and it takes this to find where they end.

use std::collections::BTreeSet;
use std::io::{self, BufRead, Read};

/// The most bytes that the pickles of a checkpoint of `file_length` bytes may have in all: those of real checkpoints have
/// some hundred bytes for each tensor. So it takes memory for ten thousand tensors, or of the file's size, to read them.
pub(super) fn limit(file_length: u64) -> u64 {
    (file_length / 256).max(1 << 20)
}

/// The functions and classes of Python that a pickle names.
#[derive(Debug, Default)]
pub(super) struct Globals(BTreeSet<(String, String)>);

impl Globals {
    /// What the checkpoint holds that is no tensor to read, and what to do about it.
    pub(super) fn hint(&self) -> Option<&'static str> {
        let any = |test: fn(&str, &str) -> bool| self.0.iter().any(|(module, name)| test(module, name));
        if any(|module, _| module.starts_with("__torch__")) {
            return Some(
                "is a TorchScript program; save the state dict, torch.save(model.state_dict(), ...), in its place",
            );
        }
        if any(|module, name| module.starts_with("torch.nn.modules.") || name.starts_with("_rebuild_parameter")) {
            return Some(
                "holds a pickled module; save its state dict, torch.save(model.state_dict(), ...), in its place",
            );
        }
        if any(|_, name| name.starts_with("_rebuild_sparse")) {
            return Some("holds sparse tensors; make them dense, with tensor.to_dense(), and save again");
        }
        if any(|_, name| name == "_rebuild_qtensor") {
            return Some("holds quantized tensors; save those that tensor.dequantize() gives in their place");
        }
        if any(|_, name| name == "_rebuild_nested_tensor" || name.starts_with("_rebuild_wrapper_subclass")) {
            return Some("holds tensors that are no plain ones; save plain tensors in their place");
        }
        if any(|module, name| module.starts_with("numpy") && matches!(name, "_reconstruct" | "ndarray" | "_frombuffer"))
        {
            return Some("holds numpy arrays, which are no tensors; save what torch.from_numpy makes of them");
        }
        None
    }

    /// Reads past one pickle, adding what it names, and gives its length, which is at most `limit`.
    pub(super) fn scan(&mut self, pickle: &mut impl BufRead, limit: u64) -> io::Result<u64> {
        let mut scanner = Scanner { pickle, left: limit, strings: Default::default() };
        while scanner.step(self)? {}
        Ok(limit - scanner.left)
    }
}

struct Scanner<'a, R> {
    pickle: &'a mut R,
    /// Bytes that may still be read.
    left: u64,
    /// The last two strings, of which protocol 4 makes a name.
    strings: [Vec<u8>; 2],
}

impl<R: BufRead> Scanner<'_, R> {
    /// Reads past one instruction; `false` after the last one.
    fn step(&mut self, globals: &mut Globals) -> io::Result<bool> {
        let [code] = self.take()?;
        match code {
            b'.' => return Ok(false),
            b'I' | b'L' | b'F' | b'V' | b'S' | b'g' | b'p' | b'P' => drop(self.line()?),
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                globals.0.insert((text(&module), text(&name)));
            }
            0x93 => {
                let [module, name] = &self.strings;
                globals.0.insert((text(module), text(name)));
            }
            b'K' | b'h' | b'q' | 0x80 | 0x82 => self.skip(1)?,
            b'M' | 0x83 => self.skip(2)?,
            b'J' | b'j' | b'r' | 0x84 => self.skip(4)?,
            b'G' | 0x95 => self.skip(8)?,
            0x8c => {
                let length = u64::from(u8::from_le_bytes(self.take()?));
                self.string(length)?;
            }
            b'X' => {
                let length = u64::from(u32::from_le_bytes(self.take()?));
                self.string(length)?;
            }
            b'U' | b'C' | 0x8a => {
                let length = u64::from(u8::from_le_bytes(self.take()?));
                self.skip(length)?;
            }
            b'T' | b'B' | 0x8b => {
                let length = u64::from(u32::from_le_bytes(self.take()?));
                self.skip(length)?;
            }
            0x8d | 0x8e | 0x96 => {
                let length = u64::from_le_bytes(self.take()?);
                self.skip(length)?;
            }
            // Without anything after them; what is no instruction at all is for the reader to say.
            _ => {}
        }
        Ok(true)
    }

    fn spend(&mut self, bytes: u64) -> io::Result<()> {
        let too_long =
            || io::Error::new(io::ErrorKind::FileTooLarge, "its pickle is longer than that of any checkpoint");
        self.left = self.left.checked_sub(bytes).ok_or_else(too_long)?;
        Ok(())
    }

    fn take<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        self.spend(N as u64)?;
        let mut bytes = [0; N];
        self.pickle.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn skip(&mut self, length: u64) -> io::Result<()> {
        self.spend(length)?;
        let passed = io::copy(&mut self.pickle.take(length), &mut io::sink())?;
        if passed == length { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }

    fn string(&mut self, length: u64) -> io::Result<()> {
        /// Longer than the name of any module.
        const LONGEST: u64 = 256;
        if length > LONGEST {
            return self.skip(length);
        }
        self.spend(length)?;
        self.strings.swap(0, 1);
        self.strings[1] = vec![0; length as usize];
        self.pickle.read_exact(&mut self.strings[1])
    }

    fn line(&mut self) -> io::Result<Vec<u8>> {
        let mut line = Vec::new();
        // One more than may be, which then is too much.
        self.pickle.take(self.left.saturating_add(1)).read_until(b'\n', &mut line)?;
        self.spend(line.len() as u64)?;
        match line.pop() {
            Some(b'\n') => Ok(line),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan(mut pickle: &[u8], limit: u64) -> (io::Result<u64>, Globals) {
        let mut globals = Globals::default();
        (globals.scan(&mut pickle, limit), globals)
    }

    #[test]
    fn the_end_is_found_and_names_on_the_way() {
        // pickletools.dis shows PROTO, GLOBAL, SHORT_BINBYTES holding a full stop, BININT1, TUPLE, STOP.
        let pickle = b"\x80\x02(ctorch._utils\n_rebuild_sparse_tensor\nC\x01.K.t.rest";
        let (length, globals) = scan(pickle, 1 << 20);
        assert_eq!(length.unwrap(), pickle.len() as u64 - 4);
        assert!(globals.hint().unwrap().contains("sparse"));
        let (_, globals) = scan(b"\x80\x04\x8c\x17numpy._core.multiarray_\x94\x8c\x0c_reconstruct\x94\x93.", 1 << 20);
        assert!(globals.hint().unwrap().contains("numpy"), "{globals:?}");
    }

    #[test]
    fn every_instruction_counts() {
        let long = [b"\x80\x02".as_slice(), &[b'N'; 1000], b"."].concat();
        assert_eq!(scan(&long, 1003).0.unwrap(), 1003);
        assert_eq!(scan(&long, 1002).0.unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        for text in [b"X\xff\xff\xff\xff".as_slice(), b"\x8d\xff\xff\xff\xff\xff\xff\xff\xff", b"I11111111111111\n"] {
            assert_eq!(scan(text, 10).0.unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        }
        for cut in [b"".as_slice(), b"N", b"X\x05\0\0\0ab", b"cmodule"] {
            assert_eq!(scan(cut, 100).0.unwrap_err().kind(), io::ErrorKind::UnexpectedEof, "{cut:?}");
        }
    }
}
