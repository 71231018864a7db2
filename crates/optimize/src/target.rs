//! What the target model says at the positions that are read.

use std::collections::BTreeMap;

use tributary_backend::AttributionBackend;
use tributary_engine::{EngineError, LayerMask, MaskedModel, Model};
use tributary_model::Prompt;

use crate::log_softmax;

/// Logarithms of the target model's probabilities on one prompt, for each of `positions`, by token.
///
/// # Errors
///
/// [`EngineError::Set`] when the prompt does not fit the model.
pub fn target_log_probs<B: AttributionBackend>(
    model: &Model<B>,
    prompt: &Prompt,
    positions: std::ops::Range<usize>,
) -> Result<Vec<Vec<f64>>, EngineError> {
    let read: Vec<(usize, usize)> = positions.map(|position| (0, position)).collect();
    let masked = MaskedModel::new(model, &[prompt], &BTreeMap::new(), &read)?;
    let whole = vec![tributary_backend::Element::from_f64(1.0); prompt.tokens.len()];
    let masks =
        model.component_counts().keys().map(|&layer| (layer, LayerMask { mask: Vec::new(), whole: whole.clone() }));
    let logits = masked.logits(&masks.collect())?;
    Ok(logits.chunks_exact(model.architecture().vocab).map(log_softmax).collect())
}

/// The token of the largest, the first of equals; 0 of none.
pub fn likeliest(log_probs: &[f64]) -> usize {
    let largest = log_probs.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1).then(b.0.cmp(&a.0)));
    largest.map_or(0, |(token, _)| token)
}
