//! How long things take.

use std::cell::Cell;
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
    /// By route, without what the sink took.
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

/// Measures stages, in which a sink is at work too.
pub(crate) struct StageClock<'a> {
    pub(crate) stages: &'a mut Stages,
    /// Seconds that the sink has taken so far.
    pub(crate) sink: &'a Cell<f64>,
}

impl StageClock<'_> {
    /// Calls `f` and adds what it takes, the sink left out, to a stage.
    pub(crate) fn time<T>(&mut self, stage: impl FnOnce(&mut Stages) -> &mut f64, f: impl FnOnce() -> T) -> T {
        let before = self.sink.get();
        let mut seconds = 0.0;
        let result = time(&mut seconds, f);
        *stage(self.stages) += seconds - (self.sink.get() - before);
        result
    }
}

/// Calls `f` and adds what it takes to `seconds`.
pub(crate) fn time<T>(seconds: &mut f64, f: impl FnOnce() -> T) -> T {
    let started = Instant::now();
    let result = f();
    *seconds += started.elapsed().as_secs_f64();
    result
}
