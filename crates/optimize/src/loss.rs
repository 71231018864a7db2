//! How far the masked model is from what is asked of it at one prompt.

use std::sync::Arc;

use tributary_backend::Element;

/// What is asked of the masked model. `z` are its logits at the position, `p` the probabilities of the target model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// Cross-entropy of the label: `-log softmax(z)[label]`.
    CrossEntropy,
    /// Divergence from the target model: `KL(p || softmax(z))`.
    Kl,
    /// Less the label's logit: `-z[label]`.
    Logit,
    /// Less the difference of two logits: `z[against] - z[label]`.
    LogitDifference,
    /// The mean over all positions of [`Kl`](Self::Kl).
    MeanKl,
}

impl Loss {
    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::CrossEntropy => "ce",
            Self::Kl => "kl",
            Self::Logit => "logit",
            Self::LogitDifference => "logit-difference",
            Self::MeanKl => "mean-kl",
        }
    }
}

/// The loss of one prompt.
#[derive(Clone, Debug)]
pub struct Objective {
    /// What is asked.
    pub loss: Loss,
    /// The position it is asked at.
    pub position: usize,
    /// The token whose probability is looked at.
    pub label: usize,
    /// The token it is compared with, by [`Loss::LogitDifference`] alone.
    pub against: Option<usize>,
    /// Logarithms of the target model's probabilities at what is read, by row.
    pub target: Arc<[Vec<f64>]>,
}

/// What logits say of an objective.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Judged {
    /// The loss.
    pub loss: f64,
    /// Probability of the label at the position.
    pub label_prob: f64,
}

impl Objective {
    /// Which positions' logits it reads, of a prompt of so many.
    pub fn reads(loss: Loss, position: usize, positions: usize) -> std::ops::Range<usize> {
        match loss {
            Loss::MeanKl => 0..positions,
            _ => position..position + 1,
        }
    }

    /// Which of the `rows` that are read is that of `position`.
    pub fn row_of(position: usize, rows: usize) -> usize {
        if rows == 1 { 0 } else { position }
    }

    /// Probability of the label at the position, of logits `[rows, vocab]` in row-major order.
    pub fn label_prob<E: Element>(&self, logits: &[E]) -> f64 {
        let (rows, vocab) = (self.target.len(), self.target[0].len());
        let row = &logits[Self::row_of(self.position, rows) * vocab..][..vocab];
        log_softmax(row)[self.label].exp()
    }

    /// Judges logits, `[rows, vocab]` in row-major order, and gives `factor` times the loss's gradient by them.
    ///
    /// # Panics
    ///
    /// When there are not as many logits as probabilities of the target model.
    pub fn judge<E: Element>(&self, logits: &[E], factor: f64) -> (Judged, Vec<E>) {
        let rows = self.target.len();
        let vocab = self.target[0].len();
        assert_eq!(logits.len(), rows * vocab, "as many as the target model has");
        let looked_at = Self::row_of(self.position, rows);
        let mut judged = Judged { loss: 0.0, label_prob: 0.0 };
        let mut gradient = Vec::with_capacity(logits.len());
        let one_if = |is_so: bool| f64::from(u8::from(is_so));
        for (row, (logits, target)) in logits.chunks_exact(vocab).zip(self.target.iter()).enumerate() {
            let logarithms = log_softmax(logits);
            if row == looked_at {
                judged.label_prob = logarithms[self.label].exp();
            }
            let logit = |token: usize| logits[token].to_f64();
            let loss = match self.loss {
                Loss::CrossEntropy => -logarithms[self.label],
                Loss::Kl | Loss::MeanKl => divergence(target, &logarithms),
                Loss::Logit => -logit(self.label),
                Loss::LogitDifference => self.against.map_or(0.0, logit) - logit(self.label),
            };
            judged.loss += loss / rows as f64;
            let by_logit = |token: usize| match self.loss {
                Loss::CrossEntropy => logarithms[token].exp() - one_if(token == self.label),
                Loss::Kl | Loss::MeanKl => logarithms[token].exp() - target[token].exp(),
                Loss::Logit => -one_if(token == self.label),
                Loss::LogitDifference => one_if(Some(token) == self.against) - one_if(token == self.label),
            };
            gradient.extend((0..vocab).map(|token| E::from_f64(factor / rows as f64 * by_logit(token))));
        }
        (judged, gradient)
    }
}

/// `log softmax` of a row of logits, in float64.
pub fn log_softmax<E: Element>(logits: &[E]) -> Vec<f64> {
    let largest = logits.iter().fold(f64::NEG_INFINITY, |largest, logit| largest.max(logit.to_f64()));
    let sum: f64 = logits.iter().map(|logit| (logit.to_f64() - largest).exp()).sum();
    let shift = largest + sum.ln();
    logits.iter().map(|logit| logit.to_f64() - shift).collect()
}

/// `KL(p || q)` in nats, of the logarithms of both. What has no probability in `p` adds nothing.
pub fn divergence(p: &[f64], q: &[f64]) -> f64 {
    let terms = p.iter().zip(q).filter(|(p, _)| p.exp() > 0.0);
    terms.map(|(p, q)| p.exp() * (p - q)).sum()
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "numbers that come out exactly")]
mod tests {
    use proptest::prelude::*;
    use tributary_testing::config;

    use super::*;

    const VOCAB: usize = 5;

    fn row() -> impl Strategy<Value = Vec<f64>> {
        prop::collection::vec(-4.0_f64..4.0, VOCAB)
    }

    #[test]
    fn losses_are_what_they_say() {
        let (logits, target) = ([1.0_f64, -0.5, 2.0], log_softmax(&[0.0, 1.0, 0.5]));
        let judge = |loss, target: Vec<Vec<f64>>, logits: &[f64]| {
            Objective { loss, position: target.len() - 1, label: 2, against: Some(0), target: target.into() }
                .judge(logits, 1.0)
        };
        let of_one = |loss| judge(loss, vec![target.clone()], &logits);
        let prob = 2.0_f64.exp() / (1.0_f64.exp() + (-0.5_f64).exp() + 2.0_f64.exp());
        for loss in [Loss::CrossEntropy, Loss::Kl, Loss::Logit, Loss::LogitDifference, Loss::MeanKl] {
            assert!((of_one(loss).0.label_prob - prob).abs() < 1e-15);
        }
        assert!((of_one(Loss::CrossEntropy).0.loss + prob.ln()).abs() < 1e-15);
        assert_eq!([of_one(Loss::Logit).0.loss, of_one(Loss::LogitDifference).0.loss], [-2.0, -1.0]);
        assert_eq!(of_one(Loss::Kl).0.loss, of_one(Loss::MeanKl).0.loss);
        // At the target model's own logits nothing is lost, and nothing pulls.
        let (own, pull) = judge(Loss::Kl, vec![target.clone()], &[0.0, 1.0, 0.5]);
        assert!(own.loss.abs() < 1e-15 && pull.iter().all(|value| value.abs() < 1e-15));
        let (both, _) = judge(Loss::MeanKl, vec![target.clone(), target.clone()], &[0.0, 1.0, 0.5, 1.0, -0.5, 2.0]);
        assert!((both.loss - of_one(Loss::Kl).0.loss / 2.0).abs() < 1e-15);
        assert!((both.label_prob - prob).abs() < 1e-15);
    }

    proptest! {
        #![proptest_config(config(64))]

        #[test]
        fn gradients_are_difference_quotients(rows in prop::collection::vec((row(), row()), 2), label in 0..VOCAB, against in 0..VOCAB) {
            for loss in [Loss::CrossEntropy, Loss::Kl, Loss::Logit, Loss::LogitDifference, Loss::MeanKl] {
                let rows = if loss == Loss::MeanKl { &rows[..] } else { &rows[..1] };
                let target: Vec<Vec<f64>> = rows.iter().map(|(_, target)| log_softmax(target)).collect();
                let objective = Objective { loss, position: rows.len() - 1, label, against: Some(against), target: target.into() };
                let logits: Vec<f64> = rows.iter().flat_map(|(logits, _)| logits.clone()).collect();
                let (_, gradient) = objective.judge(&logits, 3.0);
                for at in 0..logits.len() {
                    let moved = |by: f64| {
                        let mut moved = logits.clone();
                        moved[at] += by;
                        objective.judge(&moved, 1.0).0.loss
                    };
                    let quotient = (moved(1e-5) - moved(-1e-5)) / 2e-5;
                    // Third derivatives are at most about 1, times 1e-10; rounding of the loss, 1e-15, by 1e-5.
                    prop_assert!((gradient[at] - 3.0 * quotient).abs() < 1e-8, "{loss:?}: {} {quotient}", gradient[at]);
                }
            }
        }
    }
}
