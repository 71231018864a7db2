//! How long things take.

use std::time::Instant;

/// Wall-clock seconds, summed over batches.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Timings {
    /// The model's own causal importances, for original-alive entries.
    pub model_ci: f64,
    /// The masked forward pass, up to the logits.
    pub forward: f64,
    /// From the logits to probabilities and alive tokens.
    pub output: f64,
    /// The target model's predictions, and how far the masked model's are from them.
    pub target_output: f64,
    /// From inputs ready to trimmed values on the host: everything here but `model_ci` and `sink`, and what is not listed.
    pub attribution: f64,
    /// What the sink took.
    pub sink: f64,
    /// By route, the sink's time included.
    pub stages: Stages,
}

/// Wall-clock seconds of the routes to targets.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Stages {
    /// Reads of the residual stream: to `q_proj`, `k_proj`, `v_proj`, `c_fc` and `output`.
    pub residual: f64,
    /// To `o_proj`.
    pub attention: f64,
    /// To `down_proj`.
    pub elementwise: f64,
    /// To targets that no closed form covers.
    pub autograd: f64,
}

/// Calls `f` and adds what it takes to `seconds`.
pub(crate) fn time<T>(seconds: &mut f64, f: impl FnOnce() -> T) -> T {
    let started = Instant::now();
    let result = f();
    *seconds += started.elapsed().as_secs_f64();
    result
}
