//! What makes an entry alive.

/// What makes an entry alive.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Thresholds {
    /// Least causal importance of an alive component. Compared in f32, the type of causal importances.
    pub ci: f64,
    /// Least probability of an alive output token. Compared in the backend's element type.
    pub output_prob: f64,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self { ci: 1e-6, output_prob: 0.1 }
    }
}
