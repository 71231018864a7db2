//! Output probabilities of a batch.

use tributary_backend::{AttributionBackend, BackendError, Element};

use crate::masked::MaskedForward;
use crate::{AliveEntries, Model};

/// Softmax of the logits of a masked forward pass, on the host: `[sets, positions, vocab]` in row-major order.
pub(crate) struct OutputProbs<E> {
    values: Vec<E>,
    per_set: usize,
    vocab: usize,
}

impl<E: Element> OutputProbs<E> {
    pub(crate) fn compute<B: AttributionBackend<Element = E>>(
        model: &Model<B>,
        forward: &MaskedForward<B::Tensor>,
    ) -> Result<Self, BackendError> {
        let b = &model.backend;
        let values = b.download(&b.softmax(&forward.logits, 2)?)?;
        let vocab = model.architecture.vocab;
        Ok(Self { values, per_set: b.shape(&forward.logits)[1] * vocab, vocab })
    }

    /// `[positions, vocab]` of one set.
    pub(crate) fn of_set(&self, set: usize) -> &[E] {
        &self.values[set * self.per_set..][..self.per_set]
    }

    /// The tokens of one set whose probability is at least `threshold`, rounded to the element type.
    pub(crate) fn alive(&self, set: usize, threshold: f64) -> AliveEntries {
        AliveEntries::at_least(self.of_set(set), self.vocab, E::from_f64(threshold))
    }
}
