//! Whether sets fit the model, and results are numbers.

use std::collections::BTreeMap;

use tributary_backend::{AttributionBackend, Element};
use tributary_model::{CausalImportances, CiSet, Contrast, Layer, Pair, Prediction, Prompt};

use crate::pass::Edit;
use crate::{EngineError, Model, OutputEntries};

/// Whether a set fits the model and its prompt.
pub(crate) fn check_set<B: AttributionBackend>(model: &Model<B>, set: &CiSet) -> Result<(), EngineError> {
    let fail = |problem: String| Err(EngineError::Set { set: set.name.clone(), problem });
    if let Err(problem) = check_tokens(model, &set.prompt) {
        return fail(problem);
    }
    check_mask(model, &set.layers, set.prompt.tokens.len()).or_else(fail)
}

/// Whether values for every component of every decomposed layer at `positions` positions are just these; `Err` says why not.
pub(crate) fn check_mask<B: AttributionBackend>(
    model: &Model<B>,
    layers: &BTreeMap<Layer, CausalImportances>,
    positions: usize,
) -> Result<(), String> {
    if let Some(layer) = layers.keys().find(|layer| !model.component_counts.contains_key(layer)) {
        return Err(format!("layer {layer} is not decomposed in this model"));
    }
    for (layer, &components) in &model.component_counts {
        let Some(ci) = layers.get(layer) else { return Err(format!("layer {layer} is missing")) };
        if ci.components() != components || ci.positions() != positions {
            let found = format!("{} positions of {} components", ci.positions(), ci.components());
            return Err(format!("layer {layer} has {found}, expected {positions} positions of {components}"));
        }
    }
    Ok(())
}

/// Whether there is the activation that an edit sets; `Err` says why not.
pub(crate) fn check_edit<B: AttributionBackend>(
    model: &Model<B>,
    edit: &Edit,
    items: usize,
    positions: usize,
) -> Result<(), String> {
    let Edit { item, layer, position, component, .. } = *edit;
    let components = if layer.is_embedding() { Some(1) } else { model.component_counts.get(&layer).copied() };
    let Some(components) = components else {
        return Err(format!("an edit is of layer {layer}, which is not decomposed in this model"));
    };
    if item >= items || position >= positions || component >= components {
        let there_are = format!("there are {items} prompts of {positions} positions and {components} components");
        return Err(format!("an edit is of prompt {item}, {layer} ({position}, {component}), but {there_are}"));
    }
    Ok(())
}

/// Whether there are the entries of the output that are asked for in sets, each with its name and its number of positions.
pub(crate) fn check_output<B: AttributionBackend>(
    model: &Model<B>,
    output: &OutputEntries<'_>,
    sets: impl Iterator<Item = (String, usize)>,
) -> Result<(), EngineError> {
    let vocab = model.architecture.vocab;
    let is_token = |token: u32| (token as usize) < vocab;
    let unknown = output.contrasts.iter().find(|contrast| !is_token(contrast.token) || !is_token(contrast.against));
    let components = vocab + output.contrasts.len();
    for ((name, positions), entries) in sets.zip(output.of_sets) {
        let fail = |problem| EngineError::Set { set: name.clone(), problem };
        if let Some(contrast) = unknown {
            let Contrast { token, against } = contrast;
            return Err(fail(format!(
                "a contrast is of tokens {token} and {against}, the model's vocabulary has {vocab}, numbered from 0"
            )));
        }
        let is_outside = |&&(position, component): &&(usize, usize)| position >= positions || component >= components;
        if let Some((position, component)) = entries.iter().find(is_outside) {
            return Err(fail(format!(
                "component {component} of the output is asked for at position {position}, but there are {positions} positions \
                 and {components} components, numbered from 0"
            )));
        }
    }
    Ok(())
}

/// Whether output probabilities of a set are finite.
pub(crate) fn check_probs<E: Element>(set: &str, probs: &[E]) -> Result<(), EngineError> {
    if all_finite(probs) { Ok(()) } else { Err(not_finite::<E>(set, "an output probability".to_owned())) }
}

/// Whether what the target model predicts is finite, and how far a set's masked model is from it.
pub(crate) fn check_prediction<E: Element>(set: &str, prediction: &Prediction<E>) -> Result<(), EngineError> {
    let Prediction { target_prob, kl, target_likeliest, .. } = prediction;
    let likeliest = target_likeliest.iter().flatten().all(|token| token.prob.is_finite());
    if !(likeliest && all_finite(target_prob)) {
        return Err(not_finite::<E>(set, "an output probability of the target model".to_owned()));
    }
    if !all_finite(kl) {
        return Err(not_finite::<E>(set, "the divergence from the target model".to_owned()));
    }
    Ok(())
}

/// Whether causal importances that were computed are finite. A NaN is never alive, so it would go unseen.
pub(crate) fn check_ci(set: &CiSet) -> Result<(), EngineError> {
    match set.layers.iter().find(|(_, ci)| !ci.values().all(f32::is_finite)) {
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
pub(crate) fn all_finite<E: Element>(values: &[E]) -> bool {
    values.iter().fold(true, |finite, value| finite & value.to_f32().is_finite())
}

fn not_finite<E: Element>(set: &str, what: String) -> EngineError {
    EngineError::NotFinite { set: set.to_owned(), what, dtype: E::DTYPE }
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

/// Whether the model can run prompts together; `Err` names one by its index.
pub(crate) fn check_prompts<B: AttributionBackend>(model: &Model<B>, prompts: &[&Prompt]) -> Result<(), EngineError> {
    for (item, prompt) in prompts.iter().enumerate() {
        let fail = |problem| EngineError::Set { set: item.to_string(), problem };
        check_tokens(model, prompt).map_err(fail)?;
        let (count, first) = (prompt.tokens.len(), prompts[0].tokens.len());
        if count != first {
            return Err(fail(format!("it has {count} tokens, the first prompt {first}")));
        }
    }
    Ok(())
}
