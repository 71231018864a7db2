//! Curves as a file has them.

use serde::{Deserialize, Serialize};
use tributary_optimize::Curve;

/// The most numbers that the curves of a file have together: a reader of CI sets takes a million values of metadata.
const POINTS: usize = 1 << 18;

/// The parts of what is optimised at each of some steps, before its update: every one, or every second, third and so on of long
/// runs. What they are [`Curve`] says; a part that there is not is empty.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RecordedCurve {
    /// The steps, from 0.
    pub step: Vec<usize>,
    /// The objective's loss under the masks.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub recon: Vec<f64>,
    /// Importance minimality.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub imp_min: Vec<f64>,
    /// The objective's loss under the adversary's masks.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub adversarial: Vec<f64>,
    /// All of it, each part times its weight.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub total: Vec<f64>,
    /// Number of components alive.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub l0: Vec<f64>,
    /// Probability of the label under the masks.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub label_prob: Vec<f64>,
}

impl RecordedCurve {
    /// Of one of so many sets of a file.
    pub(super) fn new(curve: &Curve, sets: usize) -> Self {
        let steps = curve.total.len();
        let columns = [&curve.recon, &curve.imp_min, &curve.adversarial, &curve.total, &curve.l0, &curve.label_prob];
        let columns = columns.iter().filter(|values| !values.is_empty()).count();
        let stride = (steps * (columns + 1) * sets).div_ceil(POINTS).max(1);
        let step: Vec<usize> = (0..steps).step_by(stride).collect();
        // L0 has one more, of after the last step.
        let kept = |values: &[f64]| values.iter().take(steps).step_by(stride).copied().collect();
        Self {
            recon: kept(&curve.recon),
            imp_min: kept(&curve.imp_min),
            adversarial: kept(&curve.adversarial),
            total: kept(&curve.total),
            l0: kept(&curve.l0),
            label_prob: kept(&curve.label_prob),
            step,
        }
    }

    /// Whether every part has a number for each step, or none.
    pub(super) fn is_whole(&self) -> bool {
        let parts = [&self.recon, &self.imp_min, &self.adversarial, &self.total, &self.l0, &self.label_prob];
        parts.iter().all(|part| [0, self.step.len()].contains(&part.len()))
    }
}
