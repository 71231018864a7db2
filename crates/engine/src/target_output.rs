//! What the target model predicts, and how far a set's masked model is from it.

use std::sync::Arc;

use rayon::prelude::*;
use tributary_backend::{AttributionBackend, BackendError, Element};
use tributary_model::{Contrast, Prediction, Thresholds, TokenProb};

use crate::Model;
use crate::last::Last;
use crate::output::{Logits, SetOutput};

/// How many of the target model's likeliest tokens are kept for each position.
const LIKELIEST: usize = 5;

/// No entry is alive here.
const NOTHING: Thresholds = Thresholds { output_prob: f64::INFINITY, ..Thresholds::MASKED };

/// The target model's predictions on one prompt.
pub(crate) struct TargetOutput<E> {
    /// Probabilities, `[positions, vocab]` in row-major order.
    probs: Vec<E>,
    /// Entropy in nats, by position.
    entropy: Vec<f64>,
    likeliest: Arc<Vec<Vec<TokenProb>>>,
}

impl<E: Element> TargetOutput<E> {
    /// `last` is what the target model unembeds, of one item.
    pub(crate) fn compute<B: AttributionBackend<Element = E>>(
        model: &Model<B>,
        last: &Last<B::Tensor>,
    ) -> Result<Self, BackendError> {
        let output = Logits::compute(&model.backend, last, 0)?.normalise(&model.backend, &NOTHING, &[], None)?;
        let likeliest = output.probs.par_chunks_exact(model.architecture.vocab).map(likeliest).collect();
        Ok(Self { probs: output.probs, entropy: output.cross_entropy, likeliest: Arc::new(likeliest) })
    }

    /// Probabilities, `[positions, vocab]` in row-major order.
    pub(crate) fn probs(&self) -> &[E] {
        &self.probs
    }

    /// The comparison of a set, whose `output` has its cross-entropy relative to these probabilities. `differences` are those
    /// of the logits of its contrasts, in the order of their entries.
    ///
    /// `KL = sum p_t (ln p_t - ln p_m)`, the cross-entropy less the entropy. It is never negative; in the last digits the
    /// difference may be.
    pub(crate) fn compare(&self, output: &SetOutput<E>, vocab: usize, differences: &[E]) -> Prediction<E> {
        // Not `max`, which would make 0 of a NaN.
        let not_negative = |kl: f64| if kl < 0.0 { 0.0 } else { kl };
        let kl = output.cross_entropy.iter().zip(&self.entropy);
        let kl = kl.map(|(cross, own)| E::from_f64(not_negative(cross - own)));
        let mut contrasts = differences.iter().map(|difference| Contrast::probability(difference.to_f64()));
        let target_prob = output.alive.iter().map(|(position, component)| {
            if component < vocab {
                self.probs[position * vocab + component]
            } else {
                contrasts.next().map_or_else(E::default, E::from_f64)
            }
        });
        Prediction {
            target_prob: target_prob.collect(),
            kl: kl.collect(),
            likeliest: output.likeliest.clone(),
            target_likeliest: Arc::clone(&self.likeliest),
        }
    }
}

/// The likeliest tokens, the likeliest first and of equals the one with the smallest id.
fn likeliest<E: Element>(probs: &[E]) -> Vec<TokenProb> {
    let mut best: Vec<TokenProb> = Vec::with_capacity(LIKELIEST + 1);
    for (token, prob) in probs.iter().map(|prob| prob.to_f64()).enumerate() {
        if best.len() < LIKELIEST || best.last().is_some_and(|last| prob > last.prob) {
            let rank = best.partition_point(|other| other.prob >= prob);
            best.insert(rank, TokenProb { token: token as u32, prob });
            best.truncate(LIKELIEST);
        }
    }
    best
}
