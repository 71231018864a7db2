//! Output probabilities of one set.

use rayon::prelude::*;
use tributary_backend::{AttributionBackend, BackendError, Element};

use crate::masked::MaskedForward;
use crate::{AliveEntries, Model};

/// What a masked forward pass gives for one set, on the host: `[positions, vocab]` in row-major order.
pub(crate) struct SetOutput<E> {
    pub(crate) logits: Vec<E>,
    /// Softmax of the logits.
    pub(crate) probs: Vec<E>,
}

/// Softmax of one position's logits.
///
/// In float64 whatever the element type: summed one by one in float32, the thousands of terms of a vocabulary lose more
/// than the 1e-6 that a probability is wanted to, and backends would disagree on what passes a threshold.
fn softmax<E: Element>(logits: &[E], probs: &mut [E], exponentials: &mut Vec<f64>) {
    let largest = logits.iter().fold(f64::NEG_INFINITY, |largest, logit| largest.max(logit.to_f64()));
    exponentials.clear();
    exponentials.extend(logits.iter().map(|logit| (logit.to_f64() - largest).exp()));
    let sum: f64 = exponentials.iter().sum();
    for (prob, exponential) in probs.iter_mut().zip(exponentials) {
        *prob = E::from_f64(*exponential / sum);
    }
}

/// Logits of one set on the host, `[positions, vocab]`.
pub(crate) struct SetLogits<E>(Vec<E>);

impl<E: Element> SetOutput<E> {
    /// The logits of set number `set` of a batch.
    pub(crate) fn logits<B: AttributionBackend<Element = E>>(
        model: &Model<B>,
        forward: &MaskedForward<B::Tensor>,
        set: usize,
    ) -> Result<SetLogits<E>, BackendError> {
        let b = &model.backend;
        b.download(&model.unembed(&b.select(&forward.last, 0, &[set])?)?).map(SetLogits)
    }

    /// The tokens whose probability is at least `threshold`, rounded to the element type.
    pub(crate) fn alive(&self, vocab: usize, threshold: f64) -> AliveEntries {
        AliveEntries::at_least(&self.probs, vocab, E::from_f64(threshold))
    }
}

impl<E: Element> SetLogits<E> {
    /// With the probabilities, position by position.
    pub(crate) fn normalise(self, vocab: usize) -> SetOutput<E> {
        let Self(logits) = self;
        let mut probs = vec![E::default(); logits.len()];
        let rows = logits.par_chunks_exact(vocab).zip(probs.par_chunks_exact_mut(vocab));
        rows.for_each_init(Vec::new, |exponentials, (logits, probs)| softmax(logits, probs, exponentials));
        SetOutput { logits, probs }
    }
}
