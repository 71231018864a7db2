//! What the target model predicts, and how far a set's masked model is from it.

use std::sync::Arc;

use rayon::prelude::*;
use tributary_backend::{AttributionBackend, BackendError, Element};
use tributary_model::{AliveEntries, Prediction, TokenProb};

use crate::Model;
use crate::lanes::{dot_in_f64, largest};
use crate::output::{Logits, SetLogits};

/// How many of the target model's likeliest tokens are kept for each position.
const LIKELIEST: usize = 5;

/// The target model's predictions on one prompt.
pub(crate) struct TargetOutput<E> {
    /// Probabilities, `[positions, vocab]` in row-major order.
    probs: Vec<E>,
    /// Entropy in nats, by position.
    entropy: Vec<f64>,
    likeliest: Arc<Vec<Vec<TokenProb>>>,
}

/// What is kept of a set's logits for the comparison, before they become probabilities.
pub(crate) struct MaskedOutput {
    /// The sum over the vocabulary of target probability times logit, by position.
    expected_logits: Vec<f64>,
    /// Likeliest token, by position.
    likeliest: Vec<u32>,
}

impl<E: Element> TargetOutput<E> {
    /// `last` is what the target model unembeds, `[1, positions, d_model]`.
    pub(crate) fn compute<B: AttributionBackend<Element = E>>(
        model: &Model<B>,
        last: &B::Tensor,
    ) -> Result<Self, BackendError> {
        let vocab = model.architecture.vocab;
        // No entry is alive here.
        let output = Logits::compute(model, last, 0..1)?.by_set().remove(0).normalise(vocab, f64::INFINITY);
        let likeliest = output.probs.par_chunks_exact(vocab).map(likeliest).collect();
        Ok(Self { probs: output.probs, entropy: output.entropy, likeliest: Arc::new(likeliest) })
    }

    /// What has to be known of a set's logits.
    pub(crate) fn of_logits(&self, logits: &SetLogits<E>, vocab: usize) -> MaskedOutput {
        let rows = logits.values().par_chunks_exact(vocab).zip(self.probs.par_chunks_exact(vocab));
        let (expected_logits, likeliest) =
            rows.map(|(logits, probs)| (dot_in_f64(logits, probs), first_largest(logits))).unzip();
        MaskedOutput { expected_logits, likeliest }
    }

    /// The comparison of a set, whose softmax has these logarithms of sums and whose output has these nodes.
    ///
    /// `KL = sum p_t (ln p_t - ln p_m) = -H(p_t) - sum p_t z + ln(sum exp(z))` with `z` the masked model's logits. It is never
    /// negative; in the last digits the difference may be.
    pub(crate) fn compare(
        &self,
        masked: MaskedOutput,
        log_sums: &[f64],
        nodes: &AliveEntries,
        vocab: usize,
    ) -> Prediction<E> {
        let positions = self.entropy.iter().zip(&masked.expected_logits).zip(log_sums);
        let kl = positions.map(|((entropy, expected), log_sum)| (log_sum - expected - entropy).max(0.0));
        Prediction {
            target_prob: nodes.iter().map(|(position, token)| self.probs[position * vocab + token]).collect(),
            kl: kl.collect(),
            likeliest: masked.likeliest,
            target_likeliest: Arc::clone(&self.likeliest),
        }
    }
}

/// Place of the first of the largest.
fn first_largest<E: Element>(values: &[E]) -> u32 {
    let largest = largest(values);
    values.iter().position(|&value| value == largest).unwrap_or_default() as u32
}

/// The likeliest tokens, the likeliest first and of equals the one with the smallest id.
fn likeliest<E: Element>(probs: &[E]) -> Vec<TokenProb> {
    let mut best: Vec<TokenProb> = Vec::with_capacity(LIKELIEST + 1);
    for (token, prob) in probs.iter().map(|prob| prob.to_f64()).enumerate() {
        if best.len() < LIKELIEST || best.last().is_some_and(|last| prob > last.prob) {
            let place = best.partition_point(|other| other.prob >= prob);
            best.insert(place, TokenProb { token: token as u32, prob });
            best.truncate(LIKELIEST);
        }
    }
    best
}
