//! How faithful a masked model is to the target model, and from where on its graph explains something else.

use std::fmt;

use crate::{Layer, SetAttributions};

/// How far the predictions of a set's masked model are from the target model's, in short.
///
/// Computed from numbers rounded to f32, as result files hold them: so it is the same before a file is written and after it
/// was read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Faithfulness {
    /// Mean over positions that take part of the divergence of the masked model from the target model, in nats.
    pub mean_kl: f32,
    /// Number of positions that take part.
    pub positions: usize,
    /// Number of these at which both models have the same likeliest token.
    pub agreeing: usize,
    /// Number of output nodes whose probability [is far](is_far) from the target model's.
    pub far_outputs: usize,
    /// The one of these whose probabilities differ most.
    pub farthest: Option<FarOutput>,
}

/// An output node whose probability [is far](is_far) from the target model's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FarOutput {
    /// Its position.
    pub position: usize,
    /// Its token id.
    pub token: u32,
    /// The masked model's probability.
    pub prob: f32,
    /// The target model's probability.
    pub target_prob: f32,
}

/// Whether two probabilities of a token differ by more than a factor of ten. Of numbers that are not finite nothing is said.
pub fn is_far(prob: f32, target_prob: f32) -> bool {
    let (less, more) = if prob < target_prob { (prob, target_prob) } else { (target_prob, prob) };
    less.is_finite() && more.is_finite() && more > 10.0 * less
}

impl Faithfulness {
    /// The mean divergence, in nats, above which a masked model predicts something else than the target model. At one nat it
    /// gives the tokens that the target model expects e times less probability, in the geometric mean.
    pub const FAR_KL: f32 = 1.0;

    /// What to say of a set that [is far](Self::is_far), whose graph is evaluated at the target model's activations.
    pub const FAR_AT_TARGET: &str =
        "the masked model, which says what is alive, predicts something else than the target model";

    /// What to say of a set that [is far](Self::is_far), whose graph is evaluated in the masked model.
    pub const FAR: &str = "the masked model, which the graph explains, predicts something else than the target model";

    /// The share of positions at which both models have the same likeliest token, from 0 to 1.
    pub fn agreement(&self) -> f64 {
        self.agreeing as f64 / self.positions.max(1) as f64
    }

    /// Whether the masked model predicts something else than the target model, so that its graph explains something else: the
    /// mean divergence is more than [`FAR_KL`](Self::FAR_KL), or the likeliest tokens differ at more than half of the
    /// positions.
    pub fn is_far(&self) -> bool {
        self.mean_kl > Self::FAR_KL || 2 * self.agreeing < self.positions
    }
}

impl fmt::Display for Faithfulness {
    /// As in "KL 1.23 nats from the target model, likeliest token the same at 14 of 18 positions".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { mean_kl, positions, agreeing, .. } = self;
        let of = if *positions == 1 { "position" } else { "positions" };
        write!(
            f,
            "KL {mean_kl:.2} nats from the target model, likeliest token the same at {agreeing} of {positions} {of}"
        )
    }
}

impl<E> SetAttributions<E> {
    /// How faithful the set's masked model is; `None` where that is not known. `to_f32` rounds.
    ///
    /// # Panics
    ///
    /// When the prediction does not fit the nodes.
    pub fn faithfulness(&self, to_f32: impl Fn(&E) -> f32) -> Option<Faithfulness> {
        let prediction = self.prediction.as_ref()?;
        let positions = self.until.map_or(prediction.kl.len(), |last| prediction.kl.len().min(last + 1));
        let sum: f64 = prediction.kl[..positions].iter().map(|kl| f64::from(to_f32(kl))).sum();
        let output = &self.nodes[&Layer::output()];
        assert_eq!(output.alive.len(), prediction.target_prob.len(), "target probabilities of output nodes");
        let probs = output.importance.iter().zip(&prediction.target_prob);
        let far = output.alive.iter().zip(probs).filter_map(|((position, token), (prob, target_prob))| {
            let (prob, target_prob) = (to_f32(prob), to_f32(target_prob));
            let far = FarOutput { position, token: token as u32, prob, target_prob };
            is_far(prob, target_prob).then_some(far)
        });
        let far: Vec<FarOutput> = far.collect();
        let distance = |far: &FarOutput| (far.prob - far.target_prob).abs();
        // The first of equals.
        let farther = |best: FarOutput, other: FarOutput| if distance(&other) > distance(&best) { other } else { best };
        Some(Faithfulness {
            mean_kl: (sum / positions.max(1) as f64) as f32,
            positions,
            agreeing: prediction.agrees().take(positions).filter(|&agrees| agrees).count(),
            far_outputs: far.len(),
            farthest: far.into_iter().reduce(farther),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn far_is_more_than_a_factor_of_ten_either_way() {
        for (prob, target_prob, far) in [
            (0.86, 0.0007, true),
            (0.1, 0.99, false),
            (0.05, 0.9, true),
            (0.5, 0.05, false),
            (0.2, 0.0, true),
            (f32::NAN, 0.1, false),
            (0.1, f32::INFINITY, false),
            (f32::NEG_INFINITY, 0.1, false),
        ] {
            assert_eq!(is_far(prob, target_prob), far, "{prob} and {target_prob}");
        }
    }

    #[test]
    fn a_mean_divergence_or_disagreement_makes_a_set_far() {
        let set = |mean_kl, agreeing| {
            Faithfulness { mean_kl, positions: 4, agreeing, far_outputs: 0, farthest: None }.is_far()
        };
        assert!(!set(1.0, 2) && set(1.01, 4) && set(0.0, 1));
        let shown = Faithfulness { mean_kl: 1.234, positions: 18, agreeing: 14, far_outputs: 0, farthest: None };
        assert_eq!(
            shown.to_string(),
            "KL 1.23 nats from the target model, likeliest token the same at 14 of 18 positions"
        );
    }
}
