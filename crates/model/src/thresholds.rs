//! What makes an entry alive.

/// What makes an entry alive.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Thresholds {
    /// Least causal importance of an alive component. Compared in f32, the type of causal importances.
    pub ci: f64,
    /// Least probability of an alive output token. Compared in the backend's element type.
    pub output_prob: f64,
    /// Whether what is alive is above its threshold, not at it.
    pub strict: bool,
    /// How many output tokens are alive at a position at most, the most probable of them; `None` for any number.
    pub output_top: Option<usize>,
}

impl Thresholds {
    /// As published for attributions in the masked model.
    pub const MASKED: Self = Self { ci: 1e-6, output_prob: 0.1, strict: false, output_top: None };

    /// As published for attributions at the target model's activations.
    pub const TARGET: Self = Self { ci: 0.0, output_prob: 0.01, strict: true, output_top: Some(15) };

    /// Whether a value is alive under one of the thresholds, both in the type in which they are compared.
    pub fn passes<E: PartialOrd + Copy>(&self, value: E, threshold: E) -> bool {
        if self.strict { value > threshold } else { value >= threshold }
    }

    /// Whether components of causal importance 0 are alive.
    pub fn zero_is_alive(&self) -> bool {
        self.passes(0.0, self.ci as f32)
    }
}

impl Default for Thresholds {
    fn default() -> Self {
        Self::MASKED
    }
}
