//! What changes from step to step.

use serde::{Deserialize, Serialize};

/// How the learning rate goes over the steps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Schedule {
    /// As it begins.
    #[default]
    Constant,
    /// Down a line towards 0 after the last step.
    Linear,
    /// Down half a cosine towards 0 after the last step.
    Cosine,
}

impl Schedule {
    /// What the learning rate is multiplied by when `done` of all steps is done, from 0 to 1.
    pub fn factor(self, done: f64) -> f64 {
        match self {
            Self::Constant => 1.0,
            Self::Linear => 1.0 - done,
            Self::Cosine => 0.5 * (1.0 + (std::f64::consts::PI * done).cos()),
        }
    }
}

/// The exponent of importance minimality over the steps.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pnorm {
    /// Before `start`.
    pub initial: f64,
    /// From `end` on; between them it goes down a line.
    #[serde(rename = "final")]
    pub last: f64,
    /// Part of all steps after which it begins to change.
    pub start: f64,
    /// Part of all steps after which it changes no more.
    pub end: f64,
}

impl Pnorm {
    /// The same at every step.
    pub fn constant(p: f64) -> Self {
        Self { initial: p, last: p, start: 0.0, end: 1.0 }
    }

    /// Whether it changes.
    pub fn is_annealed(self) -> bool {
        self.initial.to_bits() != self.last.to_bits()
    }

    /// When `done` of all steps is done, from 0 to 1.
    pub fn at(self, done: f64) -> f64 {
        if done <= self.start {
            self.initial
        } else if done >= self.end {
            self.last
        } else {
            self.initial + (self.last - self.initial) * (done - self.start) / (self.end - self.start)
        }
    }
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "numbers that come out exactly")]
mod tests {
    use super::*;

    #[test]
    fn they_begin_and_end_where_they_should() {
        assert_eq!([Schedule::Linear.factor(0.0), Schedule::Linear.factor(0.25)], [1.0, 0.75]);
        assert_eq!([Schedule::Cosine.factor(0.0), Schedule::Constant.factor(0.9)], [1.0, 1.0]);
        assert!((Schedule::Cosine.factor(0.5) - 0.5).abs() < 1e-15);
        let annealed = Pnorm { initial: 2.0, last: 0.5, start: 0.25, end: 0.75 };
        assert_eq!([0.0, 0.25, 0.5, 0.75, 0.99].map(|done| annealed.at(done)), [2.0, 2.0, 1.25, 0.5, 0.5]);
        assert_eq!([0.0, 0.5].map(|done| Pnorm::constant(0.3).at(done)), [0.3, 0.3]);
        // At once, in the middle.
        let step = Pnorm { start: 0.5, end: 0.5, ..annealed };
        assert_eq!([0.5, 0.51].map(|done| step.at(done)), [2.0, 0.5]);
    }
}
