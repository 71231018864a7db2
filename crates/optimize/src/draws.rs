//! Random numbers that depend on nothing but what they are for.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore as _, SeedableRng as _};

/// The draws of one set: the same for the same seed, whatever is computed beside it, on any machine and from wherever a run goes
/// on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Draws {
    seed: u64,
}

/// What numbers are drawn for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Where parameters start.
    Start,
    /// Stochastic masks.
    Masks,
    /// Where an adversary starts.
    Adversary,
    /// What components that an adversary has no say in are raised to.
    Refill,
    /// Nodes that a set is compared with.
    Controls,
}

const PURPOSES: u64 = 8;

impl Draws {
    /// Those of a seed.
    pub fn of(seed: u64) -> Self {
        Self { seed }
    }

    /// An endless row of numbers, evenly in [0, 1), for a purpose and the number of a step or of a draw.
    pub fn uniform(self, purpose: Purpose, number: usize) -> impl FnMut() -> f32 {
        let mut generator = ChaCha8Rng::seed_from_u64(self.seed);
        generator.set_stream(number as u64 * PURPOSES + purpose as u64);
        // 24 bits, which f32 holds exactly.
        move || (generator.next_u32() >> 8) as f32 / 16_777_216.0
    }
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "the same draw is the same number")]
mod tests {
    use super::*;

    #[test]
    fn draws_are_those_of_seed_purpose_and_number() {
        let first = |seed, purpose, number| Draws::of(seed).uniform(purpose, number)();
        assert_eq!(first(7, Purpose::Masks, 3), first(7, Purpose::Masks, 3));
        let others = [(8, Purpose::Masks, 3), (7, Purpose::Adversary, 3), (7, Purpose::Masks, 4)];
        assert!(
            others.iter().all(|&(seed, purpose, number)| first(seed, purpose, number) != first(7, Purpose::Masks, 3))
        );
    }

    #[test]
    fn they_are_even() {
        let mut draw = Draws::of(1).uniform(Purpose::Masks, 0);
        let drawn: Vec<f64> = (0..100_000).map(|_| f64::from(draw())).collect();
        assert!(drawn.iter().all(|drawn| (0.0..1.0).contains(drawn)));
        let mean = drawn.iter().sum::<f64>() / 1e5;
        let square = drawn.iter().map(|drawn| drawn * drawn).sum::<f64>() / 1e5;
        // Five standard errors, of sqrt(1/12) and sqrt(4/45) by sqrt(100,000).
        assert!((mean - 0.5).abs() < 0.0046 && (square - 1.0 / 3.0).abs() < 0.0048, "{mean} {square}");
    }
}
