//! CI sets put to the test: what the model predicts with nothing but their nodes.

mod selection;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;
use tributary_backend::{AttributionBackend, Providers, Work};
use tributary_engine::{Model, own_importances};
use tributary_inputs::{TokenName, TrainedRun};
use tributary_model::{CiSet, Prompt};
use tributary_optimize::{Entries, Evaluated, Kept, Trials, evaluate as evaluated, likeliest, target_log_probs};
use tributary_results::At;

use crate::sets::InputSets;
use crate::{Compute, Error, Input, OnProgress, Progress, Run, memory, on_backend};
use selection::{Chosen, chosen};

pub use selection::{NodePattern, Selections};

/// What is to be evaluated.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluation {
    /// The trained run.
    pub run: Run,
    /// A file of CI sets.
    pub input: Input,
    /// The token whose probability is looked at; `None` for that of each set's metadata, or else the target model's likeliest.
    pub label: Option<TokenName>,
    /// The position it is looked at, the last of which nodes are kept; `None` for that of each set's metadata, or else the last.
    pub position: Option<At>,
    /// Which nodes are kept beside all of each set.
    pub selections: Selections,
    /// Whether what is kept is masked by its causal importance; by 1 otherwise.
    pub mask_by_ci: bool,
    /// How often what is drawn is drawn, and who the adversary is.
    pub trials: Trials,
    /// Bytes of memory that may be taken beside the model; `None` for half of what is free.
    pub max_memory: Option<u64>,
    /// What computes.
    pub compute: Compute,
}

/// What has come out for a set.
#[derive(Clone, Debug, PartialEq)]
pub struct EvaluatedSet {
    /// Name of the set.
    pub name: String,
    /// The token whose probability is looked at, and how the vocabulary spells it.
    pub label: (u32, String),
    /// The position it is looked at.
    pub position: usize,
    /// The set itself, and what was chosen of it.
    pub selections: Vec<EvaluatedSelection>,
}

/// What has come out for nodes that are kept.
#[derive(Clone, Debug, PartialEq)]
pub struct EvaluatedSelection {
    /// What they are.
    pub name: String,
    /// How many.
    pub nodes: usize,
    /// What the model predicts with them.
    pub evaluated: Evaluated,
    /// How the vocabulary spells the tokens that are told of.
    pub tokens: BTreeMap<usize, String>,
}

/// Evaluates CI sets on a backend of `L`.
pub fn evaluate<L: Providers>(
    asked: &Evaluation,
    on_progress: &mut OnProgress<'_>,
) -> Result<Vec<EvaluatedSet>, Error> {
    on_backend::<L, _, _, _>(&asked.compute, Evaluate { asked, on_progress })
}

struct Evaluate<'a, 'p> {
    asked: &'a Evaluation,
    on_progress: &'a mut OnProgress<'p>,
}

impl Work for Evaluate<'_, '_> {
    type Output = Result<Vec<EvaluatedSet>, Error>;

    fn run<B: AttributionBackend>(self, backend: B) -> Self::Output {
        let Self { asked, on_progress } = self;
        let run = asked.run.open(on_progress)?;
        let sets = InputSets::read(&asked.input, &run, &mut |text| on_progress(Progress::Note(text)))?;
        let TrainedRun { tokenizer, weights, .. } = run;
        let model = Model::upload(backend, weights)?;
        let vocab = model.architecture().vocab;
        let label = |name: &TokenName| {
            tokenizer.token_named(name, vocab).map_err(|problem| Error::Evaluation { set: None, problem })
        };
        let asked_label = asked.label.as_ref().map(label).transpose()?;
        let mut prompts: BTreeMap<&[u32], OfPrompt> = BTreeMap::new();
        let mut found = Vec::new();
        for (index, set) in sets.given().iter().enumerate() {
            if !prompts.contains_key(set.prompt.tokens.as_slice()) {
                prompts.insert(&set.prompt.tokens, OfPrompt::new(&model, &set.prompt)?);
            }
            let of_prompt = &prompts[set.prompt.tokens.as_slice()];
            let looked_at = LookedAt::of(asked, asked_label, set, sets.metadata(index), of_prompt, vocab)?;
            let (own, last) = (&of_prompt.own, looked_at.position);
            let chosen = chosen(
                &asked.selections,
                set,
                own,
                last,
                model.component_counts(),
                asked.mask_by_ci,
                asked.trials.seed,
            )?;
            on_progress(Progress::Evaluating { set: &set.name, done: index, sets: sets.given().len() });
            let kept: Vec<Kept<'_>> = chosen.iter().map(|chosen| of_prompt.kept(set, chosen, looked_at)).collect();
            let allowed = memory::allowed(asked.max_memory);
            let mut of_set = Vec::new();
            for kept in kept.chunks(at_once(&model, &kept, allowed)?) {
                of_set.extend(evaluated(&model, kept, asked.trials)?);
            }
            let selections = chosen.into_iter().zip(of_set).map(|(chosen, evaluated)| {
                let predicted = [&evaluated.target, &evaluated.ci, &evaluated.ablated];
                let tokens = predicted.into_iter().flat_map(|predicted| &predicted.top);
                EvaluatedSelection {
                    name: chosen.name,
                    nodes: chosen.nodes.len(),
                    tokens: tokens.map(|&(token, _)| (token, tokenizer.token_string(token as u32))).collect(),
                    evaluated,
                }
            });
            let LookedAt { label, position } = looked_at;
            found.push(EvaluatedSet {
                name: set.name.clone(),
                label: (label, tokenizer.token_string(label)),
                position,
                selections: selections.collect(),
            });
        }
        Ok(found)
    }
}

/// As many selections as fit into the memory allowed for them.
fn at_once<B: AttributionBackend>(model: &Model<B>, kept: &[Kept<'_>], allowed: u64) -> Result<usize, Error> {
    let positions = kept[0].prompt.tokens.len();
    let needed = |count: usize| {
        tributary_engine::MaskedModel::memory(model, model.component_counts(), count, positions, count * positions)
    };
    if needed(1) > allowed {
        let what = format!("evaluating nodes of a prompt of {positions} tokens");
        return Err(tributary_engine::EngineError::Memory { what, needed: needed(1), allowed }.into());
    }
    Ok((1..=kept.len()).take_while(|&count| needed(count) <= allowed).last().unwrap_or(1))
}

/// The token and the position that are looked at.
#[derive(Clone, Copy, Debug)]
struct LookedAt {
    label: u32,
    position: usize,
}

impl LookedAt {
    fn of(
        asked: &Evaluation,
        asked_label: Option<u32>,
        set: &CiSet,
        metadata: Option<&Value>,
        of_prompt: &OfPrompt,
        vocab: usize,
    ) -> Result<Self, Error> {
        let fail = |problem: String| Error::Evaluation { set: Some(set.name.clone()), problem };
        let said = |name: &str| match metadata.and_then(|metadata| metadata.get(name)) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => match value.as_u64() {
                Some(number) => Ok(Some(number as usize)),
                None => Err(fail(format!("{name} in its metadata is {value}, expected a whole number"))),
            },
        };
        let last = set.prompt.tokens.len() - 1;
        let position = match asked.position {
            Some(at) => at.of(last),
            None => said("position")?.or(said("until")?).unwrap_or(last),
        };
        if position > last {
            let problem = format!(
                "the position {position} is looked at, but its prompt has {} tokens, numbered from 0",
                last + 1
            );
            return Err(fail(problem));
        }
        let label = match asked_label {
            Some(label) => label as usize,
            None => said("label_token")?.unwrap_or_else(|| likeliest(&of_prompt.target[position])),
        };
        if label >= vocab {
            return Err(fail(format!(
                "label_token in its metadata is {label}, but the vocabulary has {vocab} tokens, numbered from 0"
            )));
        }
        Ok(Self { label: label as u32, position })
    }
}

/// What all sets of a prompt share.
struct OfPrompt {
    own: Arc<Entries>,
    /// Logarithms of the target model's probabilities, by position.
    target: Arc<[Vec<f64>]>,
}

impl OfPrompt {
    fn new<B: AttributionBackend>(model: &Model<B>, prompt: &Prompt) -> Result<Self, Error> {
        let positions = prompt.tokens.len();
        let own = own_importances(model, &[prompt])?.remove(0);
        let target = target_log_probs(model, prompt, 0..positions)?;
        Ok(Self { own: Arc::new(Entries::alive(&own.importances, positions)), target: target.into() })
    }

    fn kept<'s>(&self, set: &'s CiSet, chosen: &Chosen, looked_at: LookedAt) -> Kept<'s> {
        Kept {
            prompt: &set.prompt,
            nodes: Arc::clone(&chosen.nodes),
            factors: chosen.factors.clone(),
            left_out: Arc::clone(&chosen.left_out),
            own: Arc::clone(&self.own),
            label: looked_at.label as usize,
            position: looked_at.position,
            target: Arc::clone(&self.target),
        }
    }
}
