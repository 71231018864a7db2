//! The end of a forward pass: what becomes logits, and by which matrix.

use tributary_backend::{AttributionBackend, BackendError};

use crate::Model;

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
}

impl<T: Clone> Last<T> {
    /// That of the target model, or of one whose unembedding is not decomposed, with the last normalised residual stream.
    pub(crate) fn of_target<B: AttributionBackend<Tensor = T>>(model: &Model<B>, rows: T) -> Self {
        Self { rows, matrix: model.lm_head.clone(), constant: None }
    }

    /// That of one item alone.
    pub(crate) fn item<B: AttributionBackend<Tensor = T>>(&self, b: &B, item: usize) -> Result<Self, BackendError> {
        let select = |all: &T| b.narrow(all, 0, item, 1);
        let constant = self.constant.as_ref().map(select).transpose()?;
        Ok(Self { rows: select(&self.rows)?, matrix: self.matrix.clone(), constant })
    }

    /// What turns its rows into the logits of some tokens, `[width, tokens]`.
    pub(crate) fn readers<B: AttributionBackend<Tensor = T>>(
        &self,
        b: &B,
        tokens: &[usize],
    ) -> Result<T, BackendError> {
        b.permute(&b.select(&self.matrix, 0, tokens)?, &[1, 0])
    }
}
