//! The sets that follow from what is asked for.

use std::sync::Arc;

use serde_json::{Map, Value};
use tributary_backend::AttributionBackend;
use tributary_engine::{Model, own_importances};
use tributary_inputs::TokenName;
use tributary_model::{Prompt, Remedy};
use tributary_optimize::{Entries, Objective, Task, likeliest, target_log_probs};

use super::context::Context;
use super::metadata;
use super::optimized::OptimizedSet;
use super::recorded_curve::RecordedCurve;
use crate::Error;

/// A number as somebody would write it: no row of zeros.
fn short(number: f64) -> String {
    if number == 0.0 || (1e-4..1e6).contains(&number) { number.to_string() } else { format!("{number:e}") }
}

/// A set that is asked for.
pub(super) struct AskedSet<'a> {
    pub(super) name: String,
    /// Number of the prompt.
    pub(super) prompt: usize,
    pub(super) task: Task<'a>,
    /// Whether the tokenizer makes the prompt's tokens of its text.
    pub(super) has_text: bool,
    /// The label, as the vocabulary spells it.
    pub(super) label: String,
    /// Everything that is needed to make it again.
    pub(super) metadata: Map<String, Value>,
}

impl<'a> AskedSet<'a> {
    /// Before its first step.
    pub(super) fn begun(&self) -> OptimizedSet {
        OptimizedSet {
            name: self.name.clone(),
            prompt: self.prompt,
            sparsity: self.task.sparsity,
            seed: self.task.seed,
            label: self.label.clone(),
            position: self.task.objective.position,
            entries: self.task.entries.len(),
            step: 0,
            metrics: None,
            failed: None,
            curve: RecordedCurve::default(),
        }
    }

    /// All of them, prompt by prompt, coefficient by coefficient, seed by seed.
    pub(super) fn all<B: AttributionBackend>(
        context: &Context<'_>,
        model: &Model<B>,
        prompts: &'a [Prompt],
        note: &mut dyn FnMut(&str),
    ) -> Result<Vec<Self>, Error> {
        let asked = context.asked;
        let mut sets = Vec::new();
        for (index, prompt) in prompts.iter().enumerate() {
            let of_prompt = OfPrompt::new(context, model, prompt, index)?;
            for &sparsity in &asked.sparsity {
                for &seed in &asked.seeds {
                    let name = format!("coeff_{}_seed_{seed}", short(sparsity));
                    let name = if prompts.len() == 1 { name } else { format!("prompt_{index}_{name}") };
                    let OfPrompt { has_text, label, task } = &of_prompt;
                    sets.push(Self {
                        name,
                        prompt: index,
                        task: Task { seed, sparsity, ..task.clone() },
                        has_text: *has_text,
                        label: label.clone(),
                        metadata: metadata::asked(context, &task.objective, label, sparsity, seed),
                    });
                }
            }
        }
        if asked.seeds.len() > 1 && asked.settings.draws_nothing() {
            note(
                "nothing is drawn with these masks, without an adversary, from the model's own importances: all seeds give the same",
            );
        }
        Ok(sets)
    }
}

/// What all sets of a prompt share.
struct OfPrompt<'a> {
    has_text: bool,
    label: String,
    /// That of one of them.
    task: Task<'a>,
}

impl<'a> OfPrompt<'a> {
    fn new<B: AttributionBackend>(
        context: &Context<'_>,
        model: &Model<B>,
        prompt: &'a Prompt,
        index: usize,
    ) -> Result<Self, Error> {
        let (asked, tokenizer) = (context.asked, context.tokenizer);
        let fail =
            |problem: String, remedy| Error::Optimization { problem: format!("prompt {index}: {problem}"), remedy };
        let positions = prompt.tokens.len();
        let position = asked.position.of(positions - 1);
        if position >= positions {
            let problem =
                format!("the position {position} is looked at, but it has {positions} tokens, numbered from 0");
            return Err(fail(problem, Some(Remedy::Position)));
        }
        let own = own_importances(model, &[prompt])?.remove(0);
        let entries = Entries::alive(&own.importances, positions);
        if entries.is_empty() {
            return Err(fail(
                "no component is alive under the model's own causal importances, so there is nothing to optimise"
                    .to_owned(),
                None,
            ));
        }
        let target = target_log_probs(model, prompt, Objective::reads(asked.loss, position, positions))?;
        let vocab = model.architecture().vocab;
        let named = |name: &TokenName, remedy| {
            let found = tokenizer.token_named(name, vocab);
            found.map_err(|problem| Error::Optimization { problem, remedy: Some(remedy) })
        };
        let label = if let Some(name) = &asked.label {
            named(name, Remedy::Label)?
        } else {
            likeliest(&target[Objective::row_of(position, target.len())]) as u32
        };
        let against = asked.against.as_ref().map(|name| named(name, Remedy::Against)).transpose()?;
        if against == Some(label) {
            let problem = format!("the label, token {label}, is to be compared with itself; name two tokens");
            return Err(fail(problem, Some(Remedy::Against)));
        }
        let has_text = tokenizer.makes(&prompt.text, &prompt.tokens);
        let objective = Objective {
            loss: asked.loss,
            position,
            label: label as usize,
            against: against.map(|token| token as usize),
            target: target.into(),
        };
        let task = Task {
            prompt,
            before_sigmoid: entries.pick(&own.before_sigmoid).into(),
            entries: Arc::new(entries),
            objective,
            seed: 0,
            sparsity: 0.0,
        };
        Ok(Self { has_text, label: tokenizer.token_string(label), task })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_names_are_short() {
        let names = [0.0, 0.001, 0.02, 1.0, 1e-5, 2.5e-7, 1e308].map(short);
        assert_eq!(names, ["0", "0.001", "0.02", "1", "1e-5", "2.5e-7", "1e308"]);
    }
}
