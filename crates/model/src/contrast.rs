//! Differences of two logits as targets.

/// The difference of two tokens' logits, as one component of the output: its activation is the logit of `token` less that of
/// `against`, and its probability that of `token` where one of the two comes next, `1 / (1 + exp(-activation))`.
///
/// The contrasts of a computation are numbered behind the tokens of the vocabulary, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Contrast {
    /// Token id.
    pub token: u32,
    /// Id of the token it is compared with.
    pub against: u32,
}

impl Contrast {
    /// The probability that belongs to a difference of logits.
    pub fn probability(difference: f64) -> f64 {
        1.0 / (1.0 + (-difference).exp())
    }
}
