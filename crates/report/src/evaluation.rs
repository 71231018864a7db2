//! What came of putting sets to the test, as the page has it.

use serde::Serialize;
use tributary_results::{Manifest, Measured, Outcome, Regime, SelectionEvaluation, SetEvaluation};

/// More selections of a set are counted, not written.
const SELECTIONS: usize = 200;

/// What the model computes in a regime.
#[derive(Debug, Serialize)]
pub(crate) struct RegimeEntry {
    name: &'static str,
    means: &'static str,
}

impl RegimeEntry {
    pub(crate) fn all() -> Vec<Self> {
        Regime::ALL.map(|regime| Self { name: regime.name(), means: regime.means() }).into()
    }
}

/// The evaluation of a set.
#[derive(Debug, Serialize)]
pub(crate) struct Evaluation {
    /// What the label is decoded to.
    label: Option<String>,
    position: Option<usize>,
    mask_by_ci: bool,
    /// Steps of the adversary and their size.
    adversary: Option<(usize, f64)>,
    /// In a line, with numbers as text.
    line: Option<String>,
    /// The set itself first.
    selections: Vec<Selection>,
    selections_left_out: usize,
}

#[derive(Debug, Serialize)]
struct Selection {
    name: String,
    nodes: Option<usize>,
    is_refuted: bool,
    /// By regime; `None` where nothing is known of it.
    regimes: Vec<Option<Predicted>>,
}

#[derive(Debug, Serialize)]
struct Predicted {
    label_prob: Option<Number>,
    kl: Option<Number>,
    kl_mean: Option<Number>,
    top: Vec<(String, f64)>,
}

/// A number for drawing, and as it is written.
#[derive(Debug, Serialize)]
struct Number {
    mean: f64,
    text: String,
    least: Option<String>,
    draws: Option<usize>,
}

impl Evaluation {
    pub(crate) fn new(found: &SetEvaluation, manifest: &Manifest) -> Self {
        let label = found.label.as_ref().map(|label| manifest.text_of(label));
        let written = &found.selections[..found.selections.len().min(SELECTIONS)];
        Self {
            line: found.line(label.as_deref().unwrap_or_default()),
            label,
            position: found.position,
            mask_by_ci: found.mask_by_ci,
            adversary: found.adversary,
            selections: written.iter().map(|selection| Selection::new(selection, manifest)).collect(),
            selections_left_out: found.selections.len() - written.len(),
        }
    }
}

impl Selection {
    fn new(found: &SelectionEvaluation, manifest: &Manifest) -> Self {
        let regime = |regime| found.outcome(regime).map(|outcome| Predicted::new(outcome, manifest));
        Self {
            name: found.name.clone(),
            nodes: found.nodes,
            is_refuted: found.is_refuted(),
            regimes: Regime::ALL.map(regime).into(),
        }
    }
}

impl Predicted {
    fn new(found: &Outcome, manifest: &Manifest) -> Self {
        Self {
            label_prob: found.label_prob.map(Number::new),
            kl: found.kl.map(Number::new),
            kl_mean: found.kl_mean.map(Number::new),
            top: found.top.iter().map(|(token, prob)| (manifest.text_of(token), *prob)).collect(),
        }
    }
}

impl Number {
    fn new(found: Measured) -> Self {
        Self { mean: found.mean, text: found.text(), least: found.least_text(), draws: found.draws }
    }
}
