//! A forward pass for its own sake.

use std::collections::BTreeSet;

use tributary_backend::AttributionBackend;
use tributary_model::{Layer, Prompt};

use crate::check::{check_edit, check_mask, check_prompts};
use crate::output::Logits;
use crate::pass::{Masks, Pass};
use crate::recorded_pass::RecordedPass;
use crate::support::Supports;
use crate::{EngineError, Model};

/// Logits `[prompts, positions, vocab]`, in row-major order, of a forward pass over prompts of equal length: what the model
/// predicts when its components are masked, and its activations edited, as `pass` says.
///
/// # Errors
///
/// [`EngineError::Set`], named by the index of the prompt, when prompts differ in length or do not fit the model, or
/// masks or edits do not fit model and prompts.
pub fn logits<B: AttributionBackend>(
    model: &Model<B>,
    prompts: &[&Prompt],
    pass: &Pass<'_>,
) -> Result<Vec<B::Element>, EngineError> {
    let Some(first) = prompts.first() else { return Ok(Vec::new()) };
    let positions = first.tokens.len();
    let of_item = |item: usize| move |problem| EngineError::Set { set: item.to_string(), problem };
    check_prompts(model, prompts)?;
    if let Masks::Given(masks) = &pass.masks {
        if masks.len() != prompts.len() {
            return Err(of_item(masks.len())(format!("{} masks for {} prompts", masks.len(), prompts.len())));
        }
        for (item, mask) in masks.iter().enumerate() {
            check_mask(model, mask, positions).map_err(of_item(item))?;
        }
    }
    for edit in pass.edits {
        check_edit(model, edit, prompts.len(), positions).map_err(of_item(edit.item))?;
    }
    let tokens: Vec<&[u32]> = prompts.iter().map(|prompt| prompt.tokens.as_slice()).collect();
    let forward = RecordedPass::run(model, &tokens, pass, supports(model, &pass.masks))?;
    let mut logits = Vec::with_capacity(prompts.len() * positions * model.architecture.vocab);
    for item in 0..prompts.len() {
        logits.extend(Logits::compute(&model.backend, &forward.last, item)?.into_values());
    }
    Ok(logits)
}

/// The components that any mask keeps.
fn supports<B: AttributionBackend>(model: &Model<B>, masks: &Masks<'_>) -> Supports {
    let kept = |(&layer, &count): (&Layer, &usize)| {
        let components = match masks {
            Masks::Ones => (0..count).collect(),
            Masks::Given(items) => {
                let rows = items
                    .iter()
                    .map(|layers| &layers[&layer])
                    .flat_map(|mask| (0..mask.positions()).map(|at| mask.row(at)));
                let kept: BTreeSet<usize> = rows.flatten().map(|(component, _)| component).collect();
                kept.into_iter().collect()
            }
        };
        (layer, components)
    };
    Supports { layers: model.component_counts.iter().map(kept).collect(), zero_is_alive: false }
}
