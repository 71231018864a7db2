//! Seeded pseudo-random operands.

use std::ops::Range;

use super::array::Array;
use crate::Element;

/// The splitmix64 generator (Steele, Lea and Flood 2014): small, seeded, and good enough to fill tensors.
pub(super) struct Generator(u64);

impl Generator {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from `range`, uniformly.
    pub(super) fn uniform(&mut self, range: Range<f64>) -> f64 {
        let unit = (self.next() >> 11) as f64 / (1_u64 << 53) as f64;
        range.start + unit * (range.end - range.start)
    }

    /// An index below `end`.
    pub(super) fn index(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    /// An array of numbers that `E` holds exactly.
    pub(super) fn array<E: Element>(&mut self, shape: &[usize], range: Range<f64>) -> Array {
        Array::from_fn(shape, |_| E::from_f64(self.uniform(range.clone())).to_f64())
    }
}
