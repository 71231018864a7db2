//! The end of a forward pass: what becomes logits, and by which matrix.

use std::sync::Arc;

use tributary_backend::{AttributionBackend, BackendError, Element};
use tributary_model::Contrast;

use crate::Model;
use crate::lanes::dot_shifted;

/// What is unembedded. All tensors are detached.
#[derive(Clone)]
pub(crate) struct Last<T> {
    /// `[items, positions, width]`: the last residual stream, normalised, and its width; or of a decomposed unembedding the
    /// activations of its components times their masks, and the size of its support.
    pub(crate) rows: T,
    /// `[vocab, width]`: the unembedding; or `U` of its support, transposed.
    pub(crate) matrix: T,
    /// `[items, positions, vocab]`: what is added whatever the activations.
    pub(crate) constant: Option<T>,
    /// What of the output is no token: numbered behind the vocabulary.
    pub(crate) contrasts: Arc<[Contrast]>,
}

impl<T: Clone> Last<T> {
    /// That of the target model, or of one whose unembedding is not decomposed, with the last normalised residual stream.
    pub(crate) fn of_target<B: AttributionBackend<Tensor = T>>(model: &Model<B>, rows: T) -> Self {
        Self { rows, matrix: model.lm_head.clone(), constant: None, contrasts: Arc::default() }
    }

    /// That of one item alone.
    pub(crate) fn item<B: AttributionBackend<Tensor = T>>(&self, b: &B, item: usize) -> Result<Self, BackendError> {
        let select = |all: &T| b.narrow(all, 0, item, 1);
        let constant = self.constant.as_ref().map(select).transpose()?;
        let (matrix, contrasts) = (self.matrix.clone(), Arc::clone(&self.contrasts));
        Ok(Self { rows: select(&self.rows)?, matrix, constant, contrasts })
    }

    /// The same with contrasts.
    pub(crate) fn with(self, contrasts: &Arc<[Contrast]>) -> Self {
        Self { contrasts: Arc::clone(contrasts), ..self }
    }

    /// The token that a component of the output is, or is the difference of to the second.
    pub(crate) fn tokens<B: AttributionBackend<Tensor = T>>(&self, b: &B, component: usize) -> (usize, Option<usize>) {
        match component.checked_sub(b.shape(&self.matrix)[0]) {
            None => (component, None),
            Some(number) => {
                let Contrast { token, against } = self.contrasts[number];
                (token as usize, Some(against as usize))
            }
        }
    }

    /// What its rows are multiplied by to give the logits of some components of the output, `[components, width]`.
    pub(crate) fn readers<B: AttributionBackend<Tensor = T>>(
        &self,
        b: &B,
        components: &[usize],
    ) -> Result<T, BackendError> {
        let tokens: Vec<(usize, Option<usize>)> =
            components.iter().map(|&component| self.tokens(b, component)).collect();
        let firsts: Vec<usize> = tokens.iter().map(|&(token, _)| token).collect();
        let first = b.select(&self.matrix, 0, &firsts)?;
        if tokens.iter().all(|(_, against)| against.is_none()) {
            return Ok(first);
        }
        let seconds: Vec<usize> = tokens.iter().map(|&(token, against)| against.unwrap_or(token)).collect();
        let factors: Vec<B::Element> =
            tokens.iter().map(|(_, against)| B::Element::from_f64(f64::from(u8::from(against.is_some())))).collect();
        let second = b.select(&self.matrix, 0, &seconds)?;
        b.sub(&first, &b.mul(&second, &b.upload(&factors, &[factors.len(), 1])?)?)
    }

    /// Logits of entries of the output of one item, (position, component), added up in float64. Nothing may be added to them
    /// whatever the activations.
    pub(crate) fn logits<B: AttributionBackend<Tensor = T>>(
        &self,
        b: &B,
        entries: &[(usize, usize)],
    ) -> Result<Vec<B::Element>, BackendError> {
        if entries.is_empty() {
            return Ok(Vec::new());
        }
        let width = b.shape(&self.rows)[2];
        let of_entry = |&(_, component): &(usize, usize)| self.tokens(b, component);
        let mut tokens: Vec<usize> =
            entries.iter().map(of_entry).flat_map(|(token, against)| std::iter::once(token).chain(against)).collect();
        tokens.sort_unstable();
        tokens.dedup();
        let (rows, readers) = (b.download(&self.rows)?, b.download_vec(b.select(&self.matrix, 0, &tokens)?)?);
        let logit = |position: usize, token: usize| {
            let slot = tokens.binary_search(&token).unwrap_or_else(|_| unreachable!("every token has a row"));
            dot_shifted(&rows[position * width..][..width], &readers[slot * width..][..width], 0.0)
        };
        let of_entry = |entry: &(usize, usize)| {
            let (token, against) = of_entry(entry);
            B::Element::from_f64(logit(entry.0, token) - against.map_or(0.0, |against| logit(entry.0, against)))
        };
        Ok(entries.iter().map(of_entry).collect())
    }

    /// What is added to entries of the output whatever the activations, each a row, a position of an item, and a component.
    pub(crate) fn constants<B: AttributionBackend<Tensor = T>>(
        &self,
        b: &B,
        entries: impl Iterator<Item = (usize, usize)>,
    ) -> Result<Vec<f64>, BackendError> {
        let Some(constant) = &self.constant else { return Ok(entries.map(|_| 0.0).collect()) };
        let vocab = b.shape(constant)[2];
        let (mut index, mut is_difference) = (Vec::new(), Vec::new());
        for (row, component) in entries {
            let (token, against) = self.tokens(b, component);
            index.extend([row * vocab + token, row * vocab + against.unwrap_or(token)]);
            is_difference.push(against.is_some());
        }
        let values = b.download_vec(b.gather(constant, &index)?)?;
        let pairs = is_difference.into_iter().zip(values.chunks_exact(2));
        let value = |(is_difference, values): (bool, &[B::Element])| {
            values[0].to_f64() - if is_difference { values[1].to_f64() } else { 0.0 }
        };
        Ok(pairs.map(value).collect())
    }
}
