//! How the attributions of a set were computed.

use serde::Serialize;
use tributary_results::Forward;

use crate::set::Set;

#[derive(Serialize)]
pub(crate) struct Computation<'a> {
    backend: &'a str,
    device: &'a str,
    dtype: &'a str,
    method: &'a str,
    allow_tf32: bool,
    ci_threshold: f64,
    output_prob_threshold: f64,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    at_target: Option<AtTarget>,
}

/// What is said of attributions that were evaluated at the target model's activations.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct AtTarget {
    pub(crate) forward: &'static str,
    /// What gradients did at what no component holds of the weights.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) delta: Option<&'static str>,
}

impl AtTarget {
    /// `None` where attributions were evaluated at the masked model's activations.
    pub(crate) fn of(set: Set<'_>) -> Option<Self> {
        // Of two values of an edge the first is exported.
        let (forward, delta) = set.manifest.settings.definition();
        let delta = delta.map(tributary_results::Delta::name);
        (forward == Forward::Target).then(|| Self { forward: forward.name(), delta })
    }
}

impl<'a> Computation<'a> {
    pub(crate) fn of(set: Set<'a>) -> Self {
        let (run, settings) = (&set.manifest.run, &set.manifest.settings);
        Self {
            backend: &run.backend,
            device: &run.device,
            dtype: &run.dtype,
            method: &run.method,
            allow_tf32: settings.allow_tf32,
            ci_threshold: settings.ci_threshold,
            output_prob_threshold: settings.output_prob_threshold,
            at_target: AtTarget::of(set),
        }
    }
}
