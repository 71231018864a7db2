//! Output probabilities, set by set.

use std::ops::Range;

use rayon::prelude::*;
use tributary_backend::{AttributionBackend, BackendError, Element};
use tributary_model::AliveEntries;

use crate::Model;
use crate::exponential::exp;
use crate::lanes::{dot_in_f64, largest, sum};

/// Logits that are computed at once on a CPU: as many as its caches hold, since each is read again for every piece of
/// the sum that it is.
const LOGITS_IN_CACHE: usize = 1 << 16;

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
    /// Entropy of the softmax in nats, by position.
    pub(crate) entropy: Vec<f64>,
}

impl<E: Element> Logits<E> {
    /// The logits of some sets, of which `last` is what is unembedded, `[sets, positions, d_model]`.
    pub(crate) fn compute<B: AttributionBackend<Element = E>>(
        model: &Model<B>,
        last: &B::Tensor,
        sets: Range<usize>,
    ) -> Result<Self, BackendError> {
        let (b, vocab) = (&model.backend, model.architecture.vocab);
        let (rows, d_model) = (sets.len() * b.shape(last)[1], model.architecture.d_model);
        let last = b.reshape(&b.narrow(last, 0, sets.start, sets.len())?, &[rows, d_model])?;
        let at_once = if b.device().is_cpu() { (LOGITS_IN_CACHE / rows).max(1) } else { vocab };
        if at_once >= vocab {
            return Ok(Self { values: b.download(&model.unembed(&last, 0..vocab)?)?, sets: sets.len() });
        }
        let mut values = vec![E::default(); rows * vocab];
        for start in (0..vocab).step_by(at_once) {
            let tokens = start..(start + at_once).min(vocab);
            let logits = b.download(&model.unembed(&last, tokens.clone())?)?;
            for (row, logits) in values.chunks_exact_mut(vocab).zip(logits.chunks_exact(tokens.len())) {
                row[tokens.clone()].copy_from_slice(logits);
            }
        }
        Ok(Self { values, sets: sets.len() })
    }

    pub(crate) fn by_set(self) -> Vec<SetLogits<E>> {
        if self.sets == 1 {
            return vec![SetLogits(self.values)];
        }
        self.values.chunks_exact(self.values.len() / self.sets).map(|set| SetLogits(set.to_vec())).collect()
    }

    /// All of them, in row-major order.
    pub(crate) fn into_values(self) -> Vec<E> {
        self.values
    }
}

impl<E: Element> SetLogits<E> {
    /// Tokens are alive where their probability is at least `threshold`, rounded to the element type.
    pub(crate) fn normalise(self, vocab: usize, threshold: f64) -> SetOutput<E> {
        let Self(mut values) = self;
        let threshold = E::from_f64(threshold);
        let rows: Vec<Row<E>> = values
            .par_chunks_exact_mut(vocab)
            .map_init(Vec::new, |exponentials, row| softmax(row, threshold, exponentials))
            .collect();
        let alive = AliveEntries::from_positions(rows.iter().map(|row| row.alive.iter().map(|&(token, _)| token)));
        let logits = rows.iter().flat_map(|row| &row.alive).map(|&(_, logit)| logit).collect();
        let (log_sums, entropy) = rows.iter().map(|row| (row.log_sum, row.entropy)).unzip();
        SetOutput { probs: values, alive, logits, log_sums, entropy }
    }

    /// The logits, `[positions, vocab]` in row-major order.
    pub(crate) fn values(&self) -> &[E] {
        &self.0
    }
}

/// What the logits of one position become, beside their softmax.
struct Row<E> {
    /// The tokens that reach the threshold, with their logits.
    alive: Vec<(usize, E)>,
    /// Logarithm of the sum of the exponentials.
    log_sum: f64,
    entropy: f64,
}

/// Tokens that are looked at together.
const TOGETHER: usize = 64;

/// Turns one position's logits into their softmax.
///
/// In float64 whatever the element type: summed one by one in float32, the thousands of terms of a vocabulary lose more
/// than the 1e-6 that a probability is wanted to, and backends would disagree on what passes a threshold.
fn softmax<E: Element>(row: &mut [E], threshold: E, exponentials: &mut Vec<f64>) -> Row<E> {
    let largest = largest(row).to_f64();
    exponentials.clear();
    exponentials.extend(row.iter().map(|logit| exp(logit.to_f64() - largest)));
    let sum = sum(exponentials);
    let inverse = 1.0 / sum;
    let reaches = |exponential: f64| E::from_f64(exponential * inverse) >= threshold;
    let mut alive = Vec::new();
    for (at, exponentials) in exponentials.chunks(TOGETHER).enumerate() {
        // Most tokens are far from alive, and passed over many at a time.
        if exponentials.iter().fold(false, |any, &exponential| any | reaches(exponential)) {
            let tokens = (at * TOGETHER..).zip(exponentials).filter(|&(_, &exponential)| reaches(exponential));
            alive.extend(tokens.map(|(token, _)| (token, row[token])));
        }
    }
    // -sum p ln p with ln p = z - largest - ln(sum).
    let expected_logit = dot_in_f64(exponentials, row) * inverse;
    let entropy = largest + sum.ln() - expected_logit;
    for (value, exponential) in row.iter_mut().zip(exponentials) {
        *value = E::from_f64(*exponential * inverse);
    }
    Row { alive, log_sum: largest + sum.ln(), entropy }
}
