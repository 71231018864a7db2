//! Whether sets fit the model, and results are numbers.

use tributary_backend::{AttributionBackend, Element};
use tributary_model::{CiSet, Layer, Pair, Prompt};

use crate::{EngineError, Model};

/// Whether a set fits the model and its prompt.
pub(crate) fn check_set<B: AttributionBackend>(model: &Model<B>, set: &CiSet) -> Result<(), EngineError> {
    let fail = |problem: String| Err(EngineError::Set { set: set.name.clone(), problem });
    if let Err(problem) = check_tokens(model, &set.prompt) {
        return fail(problem);
    }
    let positions = set.prompt.tokens.len();
    if let Some(layer) = set.layers.keys().find(|layer| !model.component_counts.contains_key(layer)) {
        return fail(format!("layer {layer} is not decomposed in this model"));
    }
    for (layer, &components) in &model.component_counts {
        let Some(ci) = set.layers.get(layer) else { return fail(format!("layer {layer} is missing")) };
        if ci.components != components || ci.values.len() != positions * components {
            let found = format!("{} values of {} components", ci.values.len(), ci.components);
            return fail(format!("layer {layer} has {found}, expected {positions} positions of {components}"));
        }
    }
    Ok(())
}

/// Whether output probabilities of a set are finite.
pub(crate) fn check_probs<E: Element>(set: &str, probs: &[E]) -> Result<(), EngineError> {
    if all_finite(probs) { Ok(()) } else { Err(not_finite::<E>(set, "an output probability".to_owned())) }
}

/// Whether causal importances that were computed are finite. A NaN is never alive, so it would go unseen.
pub(crate) fn check_ci(set: &CiSet) -> Result<(), EngineError> {
    match set.layers.iter().find(|(_, ci)| !all_finite(&ci.values)) {
        Some((layer, _)) => Err(not_finite::<f32>(&set.name, format!("the model's own causal importance of {layer}"))),
        None => Ok(()),
    }
}

/// Whether activations of a layer in a set are finite.
pub(crate) fn check_activations<E: Element>(set: &str, layer: Layer, values: &[E]) -> Result<(), EngineError> {
    if all_finite(values) { Ok(()) } else { Err(not_finite::<E>(set, format!("an activation of {layer}"))) }
}

/// Whether attributions of a pair in a set are finite.
pub(crate) fn check_finite<E: Element>(set: &str, pair: &Pair, values: &[E]) -> Result<(), EngineError> {
    if all_finite(values) {
        return Ok(());
    }
    Err(not_finite::<E>(set, format!("an attribution of {} to {}", pair.source, pair.target)))
}

/// Whether all are finite in f32, the type of results. Looks at every value, so that the loop has no branch.
fn all_finite<E: Element>(values: &[E]) -> bool {
    values.iter().fold(true, |finite, value| finite & value.to_f32().is_finite())
}

fn not_finite<E: Element>(set: &str, place: String) -> EngineError {
    EngineError::NotFinite { set: set.to_owned(), place, dtype: E::DTYPE }
}

/// Whether the model can run a prompt; `Err` says why not.
pub(crate) fn check_tokens<B: AttributionBackend>(model: &Model<B>, prompt: &Prompt) -> Result<(), String> {
    let (count, architecture) = (prompt.tokens.len(), &model.architecture);
    if count == 0 || count > architecture.max_positions {
        return Err(format!("its prompt has {count} tokens, the model takes 1 to {}", architecture.max_positions));
    }
    match prompt.tokens.iter().find(|&&token| token as usize >= architecture.vocab) {
        Some(token) => Err(format!("token id {token} is outside the model's vocabulary of {}", architecture.vocab)),
        None => Ok(()),
    }
}
