//! What has come out, also as JSON, as which a result records it of its sets.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};
use tributary_optimize::{Evaluated, Predicted, Trials};
use tributary_results::{ResultFolder, SetEvaluation};

use crate::Error;

/// What has come out for a set.
#[derive(Clone, Debug, PartialEq)]
pub struct EvaluatedSet {
    /// Name of the set.
    pub name: String,
    /// The token whose probability is looked at, and how the vocabulary spells it.
    pub label: (u32, String),
    /// The position it is looked at.
    pub position: usize,
    /// Whether what was kept was masked by its causal importance.
    pub mask_by_ci: bool,
    /// How often what is drawn was drawn, and who the adversary was.
    pub trials: Trials,
    /// The set itself, and what was chosen of it.
    pub selections: Vec<EvaluatedSelection>,
}

/// What has come out for nodes that are kept.
#[derive(Clone, Debug, PartialEq)]
pub struct EvaluatedSelection {
    /// What they are.
    pub name: String,
    /// The causal importance that all of them are above, where that is how they were chosen.
    pub above: Option<f64>,
    /// How many.
    pub nodes: usize,
    /// What the model predicts with them.
    pub evaluated: Evaluated,
    /// How the vocabulary spells the tokens that are told of.
    pub tokens: BTreeMap<usize, String>,
}

impl EvaluatedSet {
    /// `{"name", "label_token", "label", "position", "mask_by_ci", "draws", "restarts", "pgd", "seed", "selections": [...]}`, as
    /// docs/evaluate.md says.
    pub fn to_json(&self) -> Value {
        let Self { name, label: (id, label), position, mask_by_ci, trials, selections } = self;
        let Trials { draws, adversary, restarts, seed } = trials;
        json!({
            "name": name,
            "label_token": id,
            "label": label,
            "position": position,
            "mask_by_ci": mask_by_ci,
            "draws": draws,
            "restarts": restarts,
            "pgd": { "n_steps": adversary.steps, "step_size": adversary.step_size },
            "seed": seed,
            "selections": selections.iter().map(selection_json).collect::<Vec<_>>(),
        })
    }

    /// Puts evaluations into the metadata of a result's sets, where views show them.
    ///
    /// # Errors
    ///
    /// Where the folder cannot be written, or holds other results by now.
    pub fn record(result: &Path, sets: &[Self]) -> Result<(), Error> {
        let mut folder = ResultFolder::open(result)?;
        let values: BTreeMap<String, Value> = sets.iter().map(|set| (set.name.clone(), set.to_json())).collect();
        Ok(folder.record(SetEvaluation::KEY, &values)?)
    }
}

fn selection_json(selection: &EvaluatedSelection) -> Value {
    let EvaluatedSelection { name, above, nodes, evaluated, tokens } = selection;
    let predicted = |Predicted { label_prob, kl, kl_mean, top }: &Predicted| {
        let top: Vec<Value> =
            top.iter().map(|(id, prob)| json!({ "token_id": id, "token": tokens[id], "prob": prob })).collect();
        json!({ "label_prob": label_prob, "kl": kl, "kl_mean": kl_mean, "top": top })
    };
    let mut adversarial = json!(evaluated.adversarial);
    adversarial["label_prob_dead_at_zero"] = json!(evaluated.adversarial_dead_at_zero.label_prob);
    let mut selection = json!({
        "name": name,
        "nodes": nodes,
        "regimes": {
            "target": predicted(&evaluated.target),
            "ci": predicted(&evaluated.ci),
            "ablated": predicted(&evaluated.ablated),
            "stochastic": evaluated.stochastic,
            "adversarial": adversarial,
        },
    });
    if let Some(above) = above {
        selection["above"] = json!(above);
    }
    selection
}
