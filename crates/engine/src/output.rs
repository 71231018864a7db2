//! Output probabilities, set by set.

use std::ops::Range;

use rayon::prelude::*;
use tributary_backend::{AttributionBackend, BackendError, Element};
use tributary_model::AliveEntries;

use crate::Model;
use crate::masked::MaskedForward;

/// Logits of some sets on the host, `[sets, positions, vocab]`.
pub(crate) struct Logits<E> {
    values: Vec<E>,
    sets: usize,
}

/// Logits of one set, `[positions, vocab]`.
pub(crate) struct SetLogits<E>(Vec<E>);

/// What the logits of one set become.
pub(crate) struct SetOutput<E> {
    /// Their softmax, `[positions, vocab]` in row-major order.
    pub(crate) probs: Vec<E>,
    /// The tokens whose probability is at least the threshold.
    pub(crate) alive: AliveEntries,
    /// Logit of each of these.
    pub(crate) logits: Vec<E>,
}

impl<E: Element> Logits<E> {
    /// The logits of some sets of a batch.
    pub(crate) fn compute<B: AttributionBackend<Element = E>>(
        model: &Model<B>,
        forward: &MaskedForward<B::Tensor>,
        sets: Range<usize>,
    ) -> Result<Self, BackendError> {
        let b = &model.backend;
        let last = b.select(&forward.last, 0, &sets.clone().collect::<Vec<_>>())?;
        Ok(Self { values: b.download(&model.unembed(&last)?)?, sets: sets.len() })
    }

    pub(crate) fn by_set(self) -> Vec<SetLogits<E>> {
        if self.sets == 1 {
            return vec![SetLogits(self.values)];
        }
        self.values.chunks_exact(self.values.len() / self.sets).map(|set| SetLogits(set.to_vec())).collect()
    }
}

impl<E: Element> SetLogits<E> {
    /// Tokens are alive where their probability is at least `threshold`, rounded to the element type.
    pub(crate) fn normalise(self, vocab: usize, threshold: f64) -> SetOutput<E> {
        let Self(mut values) = self;
        let threshold = E::from_f64(threshold);
        let rows: Vec<Vec<(usize, E)>> = values
            .par_chunks_exact_mut(vocab)
            .map_init(Vec::new, |exponentials, row| softmax(row, threshold, exponentials))
            .collect();
        let alive = AliveEntries::from_positions(rows.iter().map(|row| row.iter().map(|&(token, _)| token)));
        let logits = rows.iter().flatten().map(|&(_, logit)| logit).collect();
        SetOutput { probs: values, alive, logits }
    }
}

/// Turns one position's logits into their softmax; gives the tokens that reach `threshold`, with their logits.
///
/// In float64 whatever the element type: summed one by one in float32, the thousands of terms of a vocabulary lose more
/// than the 1e-6 that a probability is wanted to, and backends would disagree on what passes a threshold.
fn softmax<E: Element>(row: &mut [E], threshold: E, exponentials: &mut Vec<f64>) -> Vec<(usize, E)> {
    let largest = row.iter().fold(f64::NEG_INFINITY, |largest, logit| largest.max(logit.to_f64()));
    exponentials.clear();
    exponentials.extend(row.iter().map(|logit| (logit.to_f64() - largest).exp()));
    let sum: f64 = exponentials.iter().sum();
    let mut alive = Vec::new();
    for (token, (value, exponential)) in row.iter_mut().zip(exponentials).enumerate() {
        let prob = E::from_f64(*exponential / sum);
        if prob >= threshold {
            alive.push((token, *value));
        }
        *value = prob;
    }
    alive
}
