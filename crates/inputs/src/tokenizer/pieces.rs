//! What each token adds to the text that tokens are decoded to.
//!
//! The library decodes tokens to one text, in which bytes that make no character are lost. Here the steps of its decoder are
//! taken token by token, in bytes, so that the pieces of all tokens make up the text.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::LazyLock;

use tokenizers::decoders::strip::Strip;
use tokenizers::{Decoder, DecoderWrapper};

use super::bounded;

/// Bytes of the longest text.
const LONGEST: usize = 1 << 24;

/// Bytes that may stand for what a step replaces, without that its growth is looked at before.
const SHORT: usize = 64;

/// What the characters stand for that byte-level vocabularies spell bytes with, as those of GPT-2: printable ones for themselves,
/// others for the bytes that are none, in their order.
static BYTES: LazyLock<BTreeMap<char, u8>> = LazyLock::new(|| {
    let is_printable = |byte: &u8| matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    let printable = (0..=u8::MAX).filter(is_printable).map(|byte| (char::from(byte), byte));
    let others = (0..=u8::MAX).filter(|byte| !is_printable(byte));
    let characters = (256_u32..).filter_map(char::from_u32);
    printable.chain(characters.zip(others)).collect()
});

/// The pieces of tokens, which `decoder` puts together; `None` where it does not work token by token.
pub(super) fn of(tokens: Vec<String>, decoder: Option<&DecoderWrapper>) -> Option<Vec<Vec<u8>>> {
    let mut pieces = Pieces { pieces: tokens.into_iter().map(String::into_bytes).collect(), is_fused: false };
    match decoder {
        None => pieces.pieces.iter_mut().skip(1).for_each(|piece| piece.insert(0, b' ')),
        Some(decoder) => {
            for step in bounded::steps(decoder, decoders).ok()? {
                pieces.take(step)?;
                if pieces.pieces.iter().map(Vec::len).sum::<usize>() > LONGEST {
                    return None;
                }
            }
        }
    }
    Some(pieces.pieces)
}

/// Those of a sequence.
fn decoders(of: &DecoderWrapper) -> Option<&[DecoderWrapper]> {
    match of {
        DecoderWrapper::Sequence(inner) => Some(inner.get_decoders()),
        _ => None,
    }
}

struct Pieces {
    pieces: Vec<Vec<u8>>,
    /// Whether the steps to come see one text in place of one for each token.
    is_fused: bool,
}

impl Pieces {
    fn take(&mut self, step: &DecoderWrapper) -> Option<()> {
        match step {
            DecoderWrapper::Fuse(_) => self.is_fused = true,
            DecoderWrapper::Strip(step) => self.strip(step),
            _ if self.is_fused => return None,
            DecoderWrapper::ByteLevel(_) => {
                self.pieces.iter_mut().for_each(from_byte_level);
                self.is_fused = true;
            }
            DecoderWrapper::ByteFallback(_) => self.pieces.iter_mut().for_each(from_byte_fallback),
            DecoderWrapper::Replace(replace) => {
                for piece in &mut self.pieces {
                    // A byte of a character is not replaced.
                    let Ok(text) = str::from_utf8(piece) else { continue };
                    if replace.content.len() > SHORT && bounded::replaced(replace, text) > LONGEST {
                        return None;
                    }
                    *piece = step.decode_chain(vec![text.to_owned()]).ok()?.pop()?.into_bytes();
                }
            }
            DecoderWrapper::WordPiece(_) | DecoderWrapper::Metaspace(_) | DecoderWrapper::BPE(_) => {
                if self.pieces.is_empty() {
                    return Some(());
                }
                let texts = self.pieces.iter().map(|piece| String::from_utf8(piece.clone()).ok());
                let decoded = step.decode_chain(texts.collect::<Option<_>>()?).ok()?;
                if decoded.len() != self.pieces.len() {
                    return None;
                }
                self.pieces = decoded.into_iter().map(String::into_bytes).collect();
            }
            // One drops tokens that are like the one before, the other was taken apart.
            DecoderWrapper::CTC(_) | DecoderWrapper::Sequence(_) => return None,
        }
        Some(())
    }

    fn strip(&mut self, Strip { content, start, stop, .. }: &Strip) {
        let content = content.to_string().into_bytes();
        if self.is_fused {
            let mut left = *start;
            for piece in &mut self.pieces {
                left -= strip_start(piece, &content, left);
                if !piece.is_empty() {
                    break;
                }
            }
            let mut left = *stop;
            for piece in self.pieces.iter_mut().rev() {
                left -= strip_end(piece, &content, left);
                if !piece.is_empty() {
                    break;
                }
            }
        } else {
            for piece in &mut self.pieces {
                strip_start(piece, &content, *start);
                strip_end(piece, &content, *stop);
            }
        }
    }
}

/// Takes `content` away from the start, up to so many times; gives how often.
fn strip_start(piece: &mut Vec<u8>, content: &[u8], most: usize) -> usize {
    let times = piece.chunks(content.len()).take(most).take_while(|chunk| *chunk == content).count();
    piece.drain(..times * content.len());
    times
}

/// As [`strip_start`], from the end.
fn strip_end(piece: &mut Vec<u8>, content: &[u8], most: usize) -> usize {
    let times = piece.rchunks(content.len()).take(most).take_while(|chunk| *chunk == content).count();
    piece.truncate(piece.len() - times * content.len());
    times
}

fn from_byte_level(piece: &mut Vec<u8>) {
    let Ok(text) = str::from_utf8(piece) else { return };
    // A token that was added may be spelt as it is.
    if let Some(bytes) = text.chars().map(|character| BYTES.get(&character).copied()).collect() {
        *piece = bytes;
    }
}

fn from_byte_fallback(piece: &mut Vec<u8>) {
    let digits = piece.strip_prefix(b"<0x").and_then(|rest| rest.strip_suffix(b">")).filter(|digits| digits.len() == 2);
    let byte = digits.and_then(|digits| u8::from_str_radix(str::from_utf8(digits).ok()?, 16).ok());
    if let Some(byte) = byte {
        *piece = vec![byte];
    }
}

/// Bytes as text, those that make no character as `⟨C3⟩`.
pub(super) fn text(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            let _ = write!(text, "⟨{byte:02X}⟩");
        }
    }
    text
}
