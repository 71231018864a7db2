//! What of the output is asked for whatever its probability, from names of tokens to numbers.

use tributary_engine::OutputEntries;
use tributary_inputs::{TokenName, Tokenizer};
use tributary_model::{Contrast, Prompt};
use tributary_results::{self as results, At};

use crate::Error;

/// What of the output is a node whatever its probability, in every set that its position takes part in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OutputTargets {
    /// Tokens, each at a position.
    pub tokens: Vec<(At, TokenName)>,
    /// Differences of two logits, each at a position: that of the first token less that of the second.
    pub contrasts: Vec<(At, TokenName, TokenName)>,
}

impl OutputTargets {
    /// The same by the tokens' numbers in a vocabulary of `vocab`.
    pub(crate) fn resolve(&self, tokenizer: &Tokenizer, vocab: usize) -> Result<results::OutputTargets, Error> {
        let id = |position: At, name: &TokenName| {
            let fail = |problem| Error::OutputTarget {
                set: None,
                problem: format!("the output asked for at position {position}: {problem}"),
            };
            tokenizer.token_named(name, vocab).map_err(fail)
        };
        let token = |(position, name): &(At, TokenName)| {
            Ok(results::OutputToken { position: *position, token: id(*position, name)? })
        };
        let contrast = |(position, name, against): &(At, TokenName, TokenName)| {
            let (token, against) = (id(*position, name)?, id(*position, against)?);
            if token == against {
                let problem = format!("token {token} is to be compared with itself; name two tokens");
                return Err(Error::OutputTarget { set: None, problem });
            }
            Ok(results::OutputContrast { position: *position, token, against })
        };
        Ok(results::OutputTargets {
            tokens: self.tokens.iter().map(token).collect::<Result<_, Error>>()?,
            contrasts: self.contrasts.iter().map(contrast).collect::<Result<_, Error>>()?,
        })
    }
}

/// What is asked for of each set, as the engine takes it.
#[derive(Clone, Debug, Default)]
pub(crate) struct AskedOutput {
    contrasts: Vec<Contrast>,
    of_sets: Vec<Vec<(usize, usize)>>,
}

impl AskedOutput {
    /// Of sets with these names, prompts and last positions; `note` is told of what takes no part. A position that a prompt does
    /// not have is refused.
    pub(crate) fn new<'a>(
        targets: &results::OutputTargets,
        vocab: usize,
        sets: impl Iterator<Item = (&'a str, &'a Prompt, Option<usize>)>,
        note: &mut dyn FnMut(&str),
    ) -> Result<Self, Error> {
        let positions = || {
            let of_tokens = targets.tokens.iter().map(|token| token.position);
            of_tokens.chain(targets.contrasts.iter().map(|contrast| contrast.position))
        };
        let mut lasts = Vec::new();
        for (name, prompt, until) in sets {
            let count = prompt.tokens.len();
            let last = until.unwrap_or(count.saturating_sub(1));
            for position in positions() {
                let position = position.of(last);
                if position >= count {
                    let problem = format!(
                        "the output at position {position} is asked for, but its prompt has {count} tokens, numbered from 0"
                    );
                    return Err(Error::OutputTarget { set: Some(name.to_owned()), problem });
                }
                if position > last {
                    note(&format!(
                        "set {name:?} takes part up to position {last}: the output asked for at position {position} is no node of it"
                    ));
                }
            }
            lasts.push(last);
        }
        Ok(Self::of(targets, vocab, lasts.into_iter()))
    }

    /// Of sets with these last positions.
    pub(crate) fn of(targets: &results::OutputTargets, vocab: usize, lasts: impl Iterator<Item = usize>) -> Self {
        if targets.is_empty() {
            return Self::default();
        }
        Self { contrasts: targets.contrasts(), of_sets: lasts.map(|last| targets.entries(vocab, last)).collect() }
    }

    pub(crate) fn entries(&self) -> OutputEntries<'_> {
        OutputEntries { contrasts: &self.contrasts, of_sets: &self.of_sets }
    }
}

/// How a component of the output is written, where that of a token is `token`: a difference of logits with `−` between.
pub(crate) fn spelt(contrasts: &[Contrast], vocab: usize, component: u32, token: impl Fn(u32) -> String) -> String {
    match (component as usize).checked_sub(vocab).and_then(|number| contrasts.get(number)) {
        Some(contrast) => format!("{}−{}", token(contrast.token), token(contrast.against)),
        None => token(component),
    }
}
