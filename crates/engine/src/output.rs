//! Output probabilities, set by set.

use std::ops::Range;

use rayon::prelude::*;
use tributary_backend::{AttributionBackend, BackendError, Element};
use tributary_model::AliveEntries;

use crate::Model;

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
    /// Logarithm of the sum of the exponentials of the logits, by position.
    pub(crate) log_sums: Vec<f64>,
}

impl<E: Element> Logits<E> {
    /// The logits of some sets, of which `last` is what is unembedded, `[sets, positions, d_model]`.
    pub(crate) fn compute<B: AttributionBackend<Element = E>>(
        model: &Model<B>,
        last: &B::Tensor,
        sets: Range<usize>,
    ) -> Result<Self, BackendError> {
        let b = &model.backend;
        let last = b.select(last, 0, &sets.clone().collect::<Vec<_>>())?;
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
        let rows: Vec<(Vec<(usize, E)>, f64)> = values
            .par_chunks_exact_mut(vocab)
            .map_init(Vec::new, |exponentials, row| softmax(row, threshold, exponentials))
            .collect();
        let alive = AliveEntries::from_positions(rows.iter().map(|(row, _)| row.iter().map(|&(token, _)| token)));
        let logits = rows.iter().flat_map(|(row, _)| row).map(|&(_, logit)| logit).collect();
        let log_sums = rows.iter().map(|&(_, log_sum)| log_sum).collect();
        SetOutput { probs: values, alive, logits, log_sums }
    }

    /// The logits, `[positions, vocab]` in row-major order.
    pub(crate) fn values(&self) -> &[E] {
        &self.0
    }
}

/// Turns one position's logits into their softmax; gives the tokens that reach `threshold`, with their logits, and the
/// logarithm of the sum of the exponentials.
///
/// In float64 whatever the element type: summed one by one in float32, the thousands of terms of a vocabulary lose more
/// than the 1e-6 that a probability is wanted to, and backends would disagree on what passes a threshold.
fn softmax<E: Element>(row: &mut [E], threshold: E, exponentials: &mut Vec<f64>) -> (Vec<(usize, E)>, f64) {
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
    (alive, largest + sum.ln())
}
