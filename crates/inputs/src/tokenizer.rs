//! `tokenizer.json`, in the format of Hugging Face's `tokenizers`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use tokenizers::{
    DecoderWrapper, Encoding, ModelWrapper, NormalizerWrapper, PostProcessorWrapper, PreTokenizerWrapper, TokenizerImpl,
};

use crate::InputError;
use crate::error::{clipped, shortened};
use bounded::{Bounded, within};

mod bounded;
mod head;
mod pieces;

/// Bytes that a piece of a Unigram vocabulary may have: its time is that of the text times the longest. Usual are 16 characters.
const LONGEST_PIECE: usize = 512;

/// The library's tokenizer, whose text stays within bounds.
type Inner = TokenizerImpl<
    ModelWrapper,
    Bounded<NormalizerWrapper>,
    Bounded<PreTokenizerWrapper>,
    PostProcessorWrapper,
    DecoderWrapper,
>;

/// The tokenizer of a target model.
#[derive(Clone, Debug)]
pub struct Tokenizer {
    inner: Inner,
    file: PathBuf,
    /// The id of the token that stands for text which the vocabulary lacks.
    unknown: Option<u32>,
}

impl Tokenizer {
    pub(crate) fn parse(file: &Path, bytes: &[u8]) -> Result<Self, InputError> {
        let fail = |problem: String| InputError::Tokenizer { file: file.to_owned(), problem: clipped(&problem) };
        // Editors put a byte order mark before a text.
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        let unk_id = head::check(bytes).map_err(fail)?;
        let parsed = within(bytes.len(), || serde_json::from_slice::<Inner>(bytes)).map_err(fail)?;
        let mut inner = parsed.map_err(|error| fail(error.to_string()))?;
        // `tokenizer.json` may carry the truncation and padding it was last used with. Encoding one prompt in Python
        // resets both, so they are not part of what a prompt means.
        inner.with_truncation(None).map_err(|error| fail(error.to_string()))?;
        inner.with_padding(None);
        if let ModelWrapper::Unigram(model) = inner.get_model() {
            let longest = model.iter().map(|(piece, _)| piece.len()).max().unwrap_or(0);
            if longest > LONGEST_PIECE {
                return Err(fail(format!(
                    "its vocabulary has a piece of {longest} bytes, more than the {LONGEST_PIECE} that can be had in reasonable time"
                )));
            }
        }
        let unknown = match inner.get_model() {
            ModelWrapper::BPE(model) => model.unk_token.as_deref(),
            ModelWrapper::WordPiece(model) => Some(&*model.unk_token),
            ModelWrapper::WordLevel(model) => Some(&*model.unk_token),
            ModelWrapper::Unigram(_) => None,
        };
        let unknown = unknown.and_then(|token| inner.token_to_id(token)).or(unk_id);
        Ok(Self { inner, file: file.to_owned(), unknown })
    }

    /// Whether these are the tokens that are made of a text.
    pub fn makes(&self, text: &str, tokens: &[u32]) -> bool {
        matches!(self.encode(text), Ok((made, _)) if made == tokens)
    }

    /// Token ids and token strings of a text, without special tokens around it.
    pub(crate) fn encode(&self, text: &str) -> Result<(Vec<u32>, Vec<String>), InputError> {
        let ids = self.encoding(text)?.get_ids().to_vec();
        let strings = ids.iter().map(|&id| self.token_string(id)).collect();
        Ok((ids, strings))
    }

    fn encoding(&self, text: &str) -> Result<Encoding, InputError> {
        let fail = |problem: String| InputError::Tokenizer {
            file: self.file.clone(),
            problem: format!("it fails on the text {}: {}", shortened(text), clipped(&problem)),
        };
        within(text.len(), || self.inner.encode(text, false)).map_err(fail)?.map_err(|error| fail(error.to_string()))
    }

    /// What of a text is lost in its tokens, each in a sentence.
    pub(crate) fn losses(&self, text: &str) -> Vec<String> {
        let Ok(encoding) = self.encoding(text) else { return Vec::new() };
        let (ids, offsets) = (encoding.get_ids(), encoding.get_offsets());
        let mut losses = Vec::new();
        if let Some(unknown) = self.unknown {
            let mut places = ids.iter().zip(offsets).filter(|&(&id, _)| id == unknown).map(|(_, place)| *place);
            if let Some((start, end)) = places.next() {
                losses.push(format!(
                    "{} of its {} tokens are {}, which stands for what the vocabulary lacks; the first of them for {}",
                    1 + places.count(),
                    ids.len(),
                    shortened(&self.token_string(unknown)),
                    shortened(text.get(start..end).unwrap_or_default())
                ));
            }
        }
        let mut covered = vec![false; text.len()];
        for &(start, end) in offsets {
            if let Some(covered) = covered.get_mut(start..end) {
                covered.fill(true);
            }
        }
        // Where something is missing, offsets after it are not to be trusted; that something is missing is.
        if text.char_indices().any(|(start, character)| !covered[start] && !character.is_whitespace()) {
            let dropped = self.dropped(text);
            let which = match text.chars().find(|character| dropped.contains(character)) {
                Some(first) => {
                    let count = text.chars().filter(|character| dropped.contains(character)).count();
                    format!("{count} of its characters, the first of them {first:?}, are")
                }
                None => "some of its characters are".to_owned(),
            };
            losses.push(format!("{which} in none of its {} tokens: the tokenizer drops them", ids.len()));
        }
        losses
    }

    /// What to say of tokens that stand for what the vocabulary lacks.
    pub(crate) fn unknown_tokens(&self, ids: &[u32]) -> Option<String> {
        let unknown = self.unknown?;
        let count = ids.iter().filter(|&&id| id == unknown).count();
        let (all, token) = (ids.len(), shortened(&self.token_string(unknown)));
        (count > 0)
            .then(|| format!("{count} of its {all} tokens are {token}, which stands for what the vocabulary lacks"))
    }

    /// The characters of a text, except spaces, that are no token by themselves.
    fn dropped(&self, text: &str) -> BTreeSet<char> {
        /// Different characters that are looked at.
        const MOST: usize = 1000;
        let different: BTreeSet<char> =
            text.chars().filter(|character| !character.is_whitespace()).take(1 << 20).collect();
        let is_nothing = |character: &char| {
            let encoding = self.encoding(character.encode_utf8(&mut [0; 4]));
            encoding.is_ok_and(|encoding| encoding.get_ids().is_empty())
        };
        different.into_iter().take(MOST).filter(is_nothing).collect()
    }

    /// What each token adds to the text that they are decoded to, as text: a byte that makes no character by itself is written as
    /// `⟨C3⟩`. Where the tokenizer does not decode token by token, the tokens as the vocabulary spells them.
    pub fn token_texts(&self, ids: &[u32]) -> Vec<String> {
        self.pieces(ids).map_or_else(
            || ids.iter().map(|&id| self.token_string(id)).collect(),
            |pieces| pieces.iter().map(|piece| pieces::text(piece)).collect(),
        )
    }

    /// What a token adds to a text in whose middle it stands.
    pub fn token_text(&self, id: u32) -> String {
        // The first one may lose its space, and the last one may get none.
        self.token_texts(&[id; 3]).swap_remove(1)
    }

    /// The text that tokens are decoded to, special ones included.
    pub(crate) fn decode(&self, ids: &[u32]) -> String {
        self.pieces(ids).map_or_else(
            || ids.iter().map(|&id| self.token_string(id)).collect::<Vec<_>>().join(" "),
            |pieces| String::from_utf8_lossy(&pieces.concat()).into_owned(),
        )
    }

    fn pieces(&self, ids: &[u32]) -> Option<Vec<Vec<u8>>> {
        let tokens: Vec<String> = ids.iter().map(|&id| self.token_string(id)).collect();
        let bytes = tokens.iter().map(String::len).sum();
        within(bytes, || pieces::of(tokens, self.inner.get_decoder())).ok().flatten()
    }

    /// A token as the vocabulary spells it; a token it lacks is spelt by its number.
    pub fn token_string(&self, id: u32) -> String {
        self.inner.id_to_token(id).unwrap_or_else(|| format!("<{id}>"))
    }
}
