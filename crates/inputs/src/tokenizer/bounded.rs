//! What a tokenizer does to a text before its model sees it, step by step and within bounds: the library takes any amount of
//! memory and time for it, and a file of some bytes can ask for all there is.

use std::cell::Cell;

use serde::Deserialize;
use serde_json::Value;
use tokenizers::normalizers::{Precompiled, Replace};
use tokenizers::pre_tokenizers::metaspace::{Metaspace, PrependScheme};
use tokenizers::{
    NormalizedString, Normalizer, NormalizerWrapper, OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer,
    PreTokenizerWrapper,
};

use crate::guard::no_panic;

/// How many times as long the text of a prompt may become, beside `SPARE`. Three bytes for each space and two for each byte are
/// usual; a text of ligatures becomes eleven times as long.
const TIMES: usize = 12;
/// Bytes that a text of any length may become.
const SPARE: usize = 1 << 16;
/// Steps of a normalizer or pre-tokenizer. What is published has up to about thirty.
const STEPS: usize = 256;

/// A normalizer or pre-tokenizer that fails where its text would become too long.
#[derive(Clone, Debug, Deserialize)]
#[serde(transparent)]
pub(crate) struct Bounded<T>(T);

thread_local! {
    /// Bytes that the texts of this call may still become, and what did not fit. The library drops the errors of a normalizer.
    static CALL: Cell<Call> = const { Cell::new(Call { left: 0, failed: None }) };
}

#[derive(Clone, Copy)]
struct Call {
    left: usize,
    failed: Option<Failure>,
}

#[derive(Clone, Copy, Debug, thiserror::Error)]
enum Failure {
    #[error("its normalizer or pre_tokenizer makes {TIMES} times as many bytes of the text, and {SPARE} more")]
    TooLong,
    #[error("its normalizer or pre_tokenizer has more than {STEPS} steps")]
    TooManySteps,
}

/// Calls the library with `bytes` of text, or with a file of so many.
pub(crate) fn within<T>(bytes: usize, call: impl FnOnce() -> T) -> Result<T, String> {
    CALL.set(Call { left: bytes.saturating_mul(TIMES).saturating_add(SPARE), failed: None });
    let done = no_panic(call)?;
    CALL.get().failed.map_or(Ok(done), |failure| Err(failure.to_string()))
}

fn fail(failure: Failure) -> tokenizers::Error {
    CALL.set(Call { failed: Some(failure), ..CALL.get() });
    failure.into()
}

/// Fails where a text of `length` bytes is too long.
fn check(length: usize) -> tokenizers::Result<()> {
    if length > CALL.get().left { Err(fail(Failure::TooLong)) } else { Ok(()) }
}

/// The steps of a normalizer or pre-tokenizer in order, whose sequences `inner` takes apart. Fails where there are more than any
/// published tokenizer has.
pub(super) fn steps<'a, T>(of: &'a T, inner: fn(&'a T) -> Option<&'a [T]>) -> tokenizers::Result<Vec<&'a T>> {
    fn add<'a, T>(of: &'a T, inner: fn(&'a T) -> Option<&'a [T]>, steps: &mut Vec<&'a T>) {
        match inner(of) {
            // As far as they are looked at.
            _ if steps.len() > STEPS => {}
            Some(sequence) => sequence.iter().for_each(|of| add(of, inner, steps)),
            None => steps.push(of),
        }
    }
    let mut steps = Vec::new();
    add(of, inner, &mut steps);
    if steps.len() > STEPS { Err(fail(Failure::TooManySteps)) } else { Ok(steps) }
}

impl Normalizer for Bounded<NormalizerWrapper> {
    fn normalize(&self, text: &mut NormalizedString) -> tokenizers::Result<()> {
        for step in steps(&self.0, normalizers)? {
            // What is not here makes a text at most eleven times as long.
            check(match step {
                NormalizerWrapper::Prepend(step) => text.len() + step.prepend.len(),
                NormalizerWrapper::Replace(step) => replaced(step, text.get()),
                NormalizerWrapper::Precompiled(step) => mapped(step, text.get()),
                _ => text.len(),
            })?;
            step.normalize(text)?;
            check(text.len())?;
        }
        let call = CALL.get();
        CALL.set(Call { left: call.left - text.len(), ..call });
        Ok(())
    }
}

/// Those of a sequence.
fn normalizers(of: &NormalizerWrapper) -> Option<&[NormalizerWrapper]> {
    match of {
        NormalizerWrapper::Sequence(inner) => Some(inner.as_ref()),
        _ => None,
    }
}

/// Bytes that a text has at most after a replacement.
pub(super) fn replaced(step: &Replace, text: &str) -> usize {
    // The library tells what is replaced only as JSON.
    let step_as_json = serde_json::to_value(step).unwrap_or_default();
    let pattern = &step_as_json["pattern"];
    let matches = match (&pattern["String"], &pattern["Regex"]) {
        (Value::String(pattern), _) if !pattern.is_empty() => text.matches(&**pattern).count(),
        (_, Value::String(pattern)) => fancy_regex::Regex::new(pattern)
            .map_or(text.len() + 1, |regex| regex.find_iter(text).take_while(Result::is_ok).count()),
        // What matches nothing does so beside every byte.
        _ => text.len() + 1,
    };
    text.len().saturating_add(matches.saturating_mul(step.content.len()))
}

/// Bytes that a text has at most after its characters, and groups of them of up to five bytes, became what a table has for them.
fn mapped(step: &Precompiled, text: &str) -> usize {
    let of_group = |group: &str| step.transform(group).map_or(0, str::len);
    let at = |(start, character): (usize, char)| {
        let groups = (1..=5).filter_map(|length| text.get(start..start + length));
        groups
            .map(of_group)
            .max()
            .unwrap_or(0)
            .max(of_group(&text[start..start + character.len_utf8()]).max(character.len_utf8()))
    };
    text.char_indices().map(at).fold(0, usize::saturating_add)
}

impl PreTokenizer for Bounded<PreTokenizerWrapper> {
    fn pre_tokenize(&self, text: &mut PreTokenizedString) -> tokenizers::Result<()> {
        for step in steps(&self.0, pre_tokenizers)? {
            let splits = text.get_splits(OffsetReferential::Original, OffsetType::None);
            let parts = || splits.iter().map(|(part, _, _)| *part);
            let length = parts().map(str::len).sum::<usize>();
            check(match step {
                // Each byte becomes a character of up to two, each part may get one before it.
                PreTokenizerWrapper::ByteLevel(_) => 2 * (length + splits.len()),
                PreTokenizerWrapper::Metaspace(step) => spaced(step, length, parts()),
                _ => length,
            })?;
            drop(splits);
            step.pre_tokenize(text)?;
        }
        Ok(())
    }
}

/// Those of a sequence.
fn pre_tokenizers(of: &PreTokenizerWrapper) -> Option<&[PreTokenizerWrapper]> {
    match of {
        PreTokenizerWrapper::Sequence(inner) => Some(inner.as_ref()),
        _ => None,
    }
}

/// Bytes that parts of together `length` bytes have at most after spaces were replaced and parts begun with one.
fn spaced<'a>(step: &Metaspace, length: usize, parts: impl Iterator<Item = &'a str>) -> usize {
    let begun = usize::from(step.prepend_scheme != PrependScheme::Never);
    let spaces = parts.map(|part| part.bytes().filter(|&byte| byte == b' ').count() + begun).sum::<usize>();
    length + spaces * step.get_replacement().len_utf8()
}
