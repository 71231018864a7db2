//! `tokenizer.json`, in the format of Hugging Face's `tokenizers`.

use std::path::{Path, PathBuf};

use crate::InputError;
use crate::guard::no_panic;

/// The tokenizer of a target model.
#[derive(Clone, Debug)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    file: PathBuf,
}

impl Tokenizer {
    pub(crate) fn parse(file: &Path, bytes: &[u8]) -> Result<Self, InputError> {
        let fail = |problem: String| InputError::Tokenizer { file: file.to_owned(), problem };
        let parsed = no_panic(|| tokenizers::Tokenizer::from_bytes(bytes)).map_err(fail)?;
        let mut inner = parsed.map_err(|error| fail(error.to_string()))?;
        // `tokenizer.json` may carry the truncation and padding it was last used with. Encoding one prompt in Python
        // resets both, so they are not part of what a prompt means.
        inner.with_truncation(None).map_err(|error| fail(error.to_string()))?;
        inner.with_padding(None);
        Ok(Self { inner, file: file.to_owned() })
    }

    /// Token ids and token strings of a text, without special tokens around it.
    pub(crate) fn encode(&self, text: &str) -> Result<(Vec<u32>, Vec<String>), InputError> {
        let fail = |problem: String| InputError::Tokenizer {
            file: self.file.clone(),
            problem: format!("it fails on the text {text:?}: {problem}"),
        };
        let encoded = no_panic(|| self.inner.encode(text, false)).map_err(fail)?;
        let ids = encoded.map_err(|error| fail(error.to_string()))?.get_ids().to_vec();
        let strings = ids.iter().map(|&id| self.token_string(id)).collect();
        Ok((ids, strings))
    }

    /// A token as the vocabulary spells it; a token it lacks is spelt by its number.
    pub fn token_string(&self, id: u32) -> String {
        self.inner.id_to_token(id).unwrap_or_else(|| format!("<{id}>"))
    }
}
