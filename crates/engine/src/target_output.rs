//! What the target model predicts, and how far a set's masked model is from it.

use std::sync::Arc;

use rayon::prelude::*;
use tributary_backend::{AttributionBackend, BackendError, Element};
use tributary_model::{AliveEntries, Prediction, TokenProb};

use crate::Model;
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
        let outputs = Logits::compute(model, last, 0..1)?.by_set().into_iter();
        let probs: Vec<E> = outputs.flat_map(|set| set.normalise(vocab, f64::INFINITY).probs).collect();
        let rows = probs.par_chunks_exact(vocab);
        let (entropy, likeliest) = rows.map(|row| (entropy(row), likeliest(row))).unzip();
        Ok(Self { probs, entropy, likeliest: Arc::new(likeliest) })
    }

    /// What has to be known of a set's logits.
    pub(crate) fn of_logits(&self, logits: &SetLogits<E>, vocab: usize) -> MaskedOutput {
        let rows = logits.values().par_chunks_exact(vocab).zip(self.probs.par_chunks_exact(vocab));
        let expected = |logits: &[E], probs: &[E]| -> f64 {
            logits.iter().zip(probs).map(|(logit, prob)| prob.to_f64() * logit.to_f64()).sum()
        };
        let (expected_logits, likeliest) =
            rows.map(|(logits, probs)| (expected(logits, probs), largest(logits))).unzip();
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
        // Not `max`, which would make 0 of a NaN.
        let not_negative = |kl: f64| if kl < 0.0 { 0.0 } else { kl };
        let kl =
            positions.map(|((entropy, expected), log_sum)| E::from_f64(not_negative(log_sum - expected - entropy)));
        Prediction {
            target_prob: nodes.iter().map(|(position, token)| self.probs[position * vocab + token]).collect(),
            kl: kl.collect(),
            likeliest: masked.likeliest,
            target_likeliest: Arc::clone(&self.likeliest),
        }
    }
}

fn entropy<E: Element>(probs: &[E]) -> f64 {
    let terms = probs.iter().map(|prob| prob.to_f64()).filter(|&prob| prob > 0.0);
    -terms.map(|prob| prob * prob.ln()).sum::<f64>()
}

/// The first of the largest.
fn largest<E: Element>(values: &[E]) -> u32 {
    let first = |best: usize, at: usize| if values[at] > values[best] { at } else { best };
    (0..values.len()).fold(0, first) as u32
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
