//! What came of putting a set to the test, which stands in its metadata.

mod measured;
mod read;

use serde_json::Value;
use tributary_model::is_far;

use read::At;

pub use measured::Measured;

/// What a model predicts with nothing but the nodes of a set.
#[derive(Clone, Debug, PartialEq)]
pub struct SetEvaluation {
    /// The token whose probability was looked at; `None` where that is not told.
    pub label: Option<SpeltToken>,
    /// The position it was looked at.
    pub position: Option<usize>,
    /// Whether what is kept was masked by its causal importance; by 1 otherwise.
    pub mask_by_ci: bool,
    /// Steps of the adversary and their size.
    pub adversary: Option<(usize, f64)>,
    /// The set itself, and then what was chosen of it.
    pub selections: Vec<SelectionEvaluation>,
}

/// The same of some nodes.
#[derive(Clone, Debug, PartialEq)]
pub struct SelectionEvaluation {
    /// What they are: `all` of the set, `above 0.5`.
    pub name: String,
    /// How many.
    pub nodes: Option<usize>,
    /// What is known, in the order of [`Regime::ALL`].
    pub regimes: Vec<(Regime, Outcome)>,
}

/// What the model computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Regime {
    /// The target model.
    Target,
    /// Components masked by what is kept.
    Ci,
    /// The target model without what is not kept of the set.
    Ablated,
    /// Masks drawn at random from what is kept to all.
    Stochastic,
    /// Masks of an adversary from what is kept to all.
    Adversarial,
    /// The same, with what the model's own causal importances keep dead at 0.
    AdversarialDeadAtZero,
}

impl Regime {
    /// All of them, in the order they are read in.
    pub const ALL: [Self; 6] =
        [Self::Target, Self::Ci, Self::Ablated, Self::Stochastic, Self::Adversarial, Self::AdversarialDeadAtZero];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Target => "target",
            Self::Ci => "ci",
            Self::Ablated => "ablated",
            Self::Stochastic => "stochastic",
            Self::Adversarial => "adversarial",
            Self::AdversarialDeadAtZero => "adversarial, dead at 0",
        }
    }

    /// What the model computes, in a sentence.
    pub fn means(self) -> &'static str {
        match self {
            Self::Target => "The target model, nothing masked.",
            Self::Ci => {
                "Only what is kept: all other components, and what no component holds of the weights, are left out."
            }
            Self::Ablated => "The target model without the nodes of the set that are not kept.",
            Self::Stochastic => {
                "What is kept, and of every other component a part that is drawn from 0 to 1, alive or not."
            }
            Self::Adversarial => {
                "What is kept, and of every other component the part from 0 to 1 that an adversary finds worst for the label, \
                 where the model's own causal importances are above 0; drawn elsewhere."
            }
            Self::AdversarialDeadAtZero => {
                "The same adversary, with nothing of components that the model's own causal importances keep dead."
            }
        }
    }
}

/// What the model predicts in a regime. What is not told is `None`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// Probability of the label.
    pub label_prob: Option<Measured>,
    /// Divergence from the target model at the position, in nats.
    pub kl: Option<Measured>,
    /// Its mean over all positions.
    pub kl_mean: Option<Measured>,
    /// The most probable tokens and their probabilities.
    pub top: Vec<(SpeltToken, f64)>,
}

/// A token, and how the vocabulary spells it; empty where that is not told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpeltToken {
    /// Its id.
    pub id: u32,
    /// Its spelling.
    pub spelling: String,
}

impl SetEvaluation {
    /// The key in the metadata of a set that it stands under.
    pub const KEY: &'static str = "evaluation";

    /// What metadata of a set say; `None` where they say nothing. Fields that are missing or `null` are not known, others than
    /// these are not looked at.
    ///
    /// # Errors
    ///
    /// Where something is not as expected: what, where it is in the metadata, and what was expected.
    pub fn of(metadata: &Value) -> Option<Result<Self, String>> {
        let found = metadata.get(Self::KEY).filter(|found| !found.is_null())?;
        Some(Self::read(&At::new(found, Self::KEY)))
    }

    fn read(at: &At<'_>) -> Result<Self, String> {
        let pgd = at.field("pgd")?;
        let steps = pgd.as_ref().map(|pgd| pgd.whole("n_steps")).transpose()?.flatten();
        let step_size = pgd.as_ref().map(|pgd| pgd.number("step_size")).transpose()?.flatten();
        let selections = at.list("selections")?.iter().map(SelectionEvaluation::read).collect::<Result<Vec<_>, _>>()?;
        if selections.is_empty() {
            return Err(format!("{at} has no selections, expected the set itself and what was chosen of it"));
        }
        Ok(Self {
            label: SpeltToken::read(at, "label_token", "label")?,
            position: at.whole("position")?,
            mask_by_ci: at.flag("mask_by_ci")?.unwrap_or(false),
            adversary: steps.zip(step_size),
            selections,
        })
    }

    /// All of the set.
    pub fn whole(&self) -> &SelectionEvaluation {
        &self.selections[0]
    }

    /// Every token that is named.
    pub fn tokens(&self) -> impl Iterator<Item = &SpeltToken> {
        let outcomes = self.selections.iter().flat_map(|selection| &selection.regimes);
        let top = outcomes.flat_map(|(_, outcome)| outcome.top.iter().map(|(token, _)| token));
        self.label.iter().chain(top)
    }

    /// The probability of the label, whose text is given, in one line, as in `p("·israel") at 9: target 0.93, ci 0.90, stochastic
    /// 0.41 ± 0.02`; `None` where none is known.
    pub fn line(&self, label: &str) -> Option<String> {
        let whole = self.whole();
        let shown = whole.regimes.iter().filter(|(regime, _)| *regime != Regime::AdversarialDeadAtZero);
        let prob = |(regime, outcome): &(Regime, Outcome)| {
            outcome.label_prob.map(|prob| format!("{} {}", regime.name(), prob.text()))
        };
        let probs: Vec<String> = shown.filter_map(prob).collect();
        let masked = if self.mask_by_ci { ", masked by CI" } else { "" };
        (!probs.is_empty()).then(|| format!("{}{masked}: {}", self.looked_at(label), probs.join(", ")))
    }

    /// What was looked at, as in `p("·israel") at 9`.
    pub fn looked_at(&self, label: &str) -> String {
        let of = self.label.as_ref().map_or_else(|| "p(label)".to_owned(), |_| format!("p({label:?})"));
        self.position.map_or_else(|| of.clone(), |position| format!("{of} at {position}"))
    }
}

impl SelectionEvaluation {
    fn read(at: &At<'_>) -> Result<Self, String> {
        let mut regimes = Vec::new();
        let told = at.field("regimes")?;
        for regime in Regime::ALL {
            // What the adversary reaches when the dead stay so is told with what it reaches otherwise.
            let (key, is_dead) = match regime {
                Regime::AdversarialDeadAtZero => (Regime::Adversarial.name(), true),
                regime => (regime.name(), false),
            };
            let Some(found) = told.as_ref().map(|told| told.field(key)).transpose()?.flatten() else { continue };
            let outcome = if is_dead {
                Outcome { label_prob: found.measured("label_prob_dead_at_zero")?, ..Outcome::default() }
            } else {
                Outcome::read(&found)?
            };
            if outcome != Outcome::default() {
                regimes.push((regime, outcome));
            }
        }
        Ok(Self { name: at.text("name")?.unwrap_or_default(), nodes: at.whole("nodes")?, regimes })
    }

    /// What is known of a regime.
    pub fn outcome(&self, regime: Regime) -> Option<&Outcome> {
        self.regimes.iter().find(|(known, _)| *known == regime).map(|(_, outcome)| outcome)
    }

    /// Probability of the label in a regime.
    pub fn label_prob(&self, regime: Regime) -> Option<Measured> {
        self.outcome(regime)?.label_prob
    }

    /// Whether an adversary brings the label to less than a tenth of its probability in the target model: what the graph says may
    /// then be the work of components that it says nothing of.
    pub fn is_refuted(&self) -> bool {
        let of = |regime| self.label_prob(regime).map(|prob| prob.mean);
        of(Regime::Adversarial)
            .zip(of(Regime::Target))
            .is_some_and(|(worst, target)| worst < target && is_far(worst as f32, target as f32))
    }
}

impl Outcome {
    fn read(at: &At<'_>) -> Result<Self, String> {
        let token = |at: &At<'_>| -> Result<_, String> {
            Ok(SpeltToken::read(at, "token_id", "token")?.zip(at.number("prob")?))
        };
        let top = at.list("top")?.iter().map(token).collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            label_prob: at.measured("label_prob")?,
            kl: at.measured("kl")?,
            kl_mean: at.measured("kl_mean")?,
            top: top.into_iter().flatten().collect(),
        })
    }
}

impl SpeltToken {
    fn read(at: &At<'_>, id: &str, spelling: &str) -> Result<Option<Self>, String> {
        let spelling = at.text(spelling)?.unwrap_or_default();
        Ok(at.token(id)?.map(|id| Self { id, spelling }))
    }
}

#[cfg(test)]
mod tests;
