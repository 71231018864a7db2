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

/// Softmax of one position's logits, in place.
///
/// In float64 whatever the element type: summed one by one in float32, the thousands of terms of a vocabulary lose more
/// than the 1e-6 that a probability is wanted to, and backends would disagree on what passes a threshold.
fn softmax<E: Element>(logits: &mut [E]) {
    let largest = logits.iter().map(|logit| logit.to_f64()).fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = logits.iter().map(|logit| (logit.to_f64() - largest).exp()).sum();
    for logit in logits {
        *logit = E::from_f64((logit.to_f64() - largest).exp() / sum);
    }
}

impl<E: Element> OutputProbs<E> {
    pub(crate) fn compute<B: AttributionBackend<Element = E>>(
        model: &Model<B>,
        forward: &MaskedForward<B::Tensor>,
    ) -> Result<Self, BackendError> {
        let b = &model.backend;
        let vocab = model.architecture.vocab;
        let mut values = b.download(&forward.logits)?;
        values.chunks_exact_mut(vocab).for_each(softmax);
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
