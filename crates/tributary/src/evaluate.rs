//! CI sets put to the test: what the model predicts with nothing but their nodes.

mod evaluated;
mod looked_at;
mod node_file;
mod node_pattern;
mod selection;
mod subject;

use std::collections::BTreeMap;
use std::sync::Arc;

use tributary_backend::{AttributionBackend, Providers, Work};
use tributary_engine::{EngineError, Model, own_importances};
use tributary_inputs::TokenName;
use tributary_model::{CausalImportances, Layer, Prompt};
use tributary_optimize::{self as optimization, Entries, Kept, Trials, target_log_probs};
use tributary_results::At;

use crate::{Compute, Error, OnProgress, Progress, memory, on_backend};
use looked_at::LookedAt;
use selection::{Choice, Chosen};
use subject::{Opened, Subject};

pub use evaluated::{EvaluatedSelection, EvaluatedSet};
pub use node_pattern::NodePattern;
pub use selection::{LADDER, Selections, TopInfluence};
pub use subject::Subjects;

/// What is to be evaluated.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluation {
    /// Whose sets.
    pub subjects: Subjects,
    /// The token whose probability is looked at; `None` for that of each set's metadata, or else the target model's likeliest.
    pub label: Option<TokenName>,
    /// The position it is looked at, the last of which nodes are kept; `None` for that of each set's metadata, or else the last.
    pub position: Option<At>,
    /// Which nodes are kept beside all of each set.
    pub selections: Selections,
    /// Whether what is kept is masked by its causal importance: the set's, or of nodes that it does not have the model's own; by 1
    /// otherwise.
    pub mask_by_ci: bool,
    /// How often what is drawn is drawn, and who the adversary is.
    pub trials: Trials,
    /// Bytes of memory that may be taken beside the model; `None` for half of what is free.
    pub max_memory: Option<u64>,
    /// What computes.
    pub compute: Compute,
}

/// Evaluates CI sets on a backend of `L`.
///
/// # Errors
///
/// What a user can do wrong.
pub fn evaluate<L: Providers>(
    asked: &Evaluation,
    on_progress: &mut OnProgress<'_>,
) -> Result<Vec<EvaluatedSet>, Error> {
    if asked.selections.top_influence.is_some() && matches!(asked.subjects, Subjects::File { .. }) {
        return Err(Error::NoInfluence);
    }
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
        let (opened, weights) = Opened::open(&asked.subjects, on_progress)?;
        let tokenizer = &opened.tokenizer;
        let model = Model::upload(backend, weights)?;
        let vocab = model.architecture().vocab;
        let label = |name: &TokenName| {
            tokenizer.token_named(name, vocab).map_err(|problem| Error::Label { set: None, problem })
        };
        let asked_label = asked.label.as_ref().map(label).transpose()?;
        let mut prompts: BTreeMap<Vec<u32>, OfPrompt> = BTreeMap::new();
        let mut found = Vec::new();
        for index in 0..opened.len() {
            let subject = opened.subject(index, asked.selections.top_influence.is_some())?;
            if subject.metadata.is_some_and(|metadata| !metadata.is_object()) {
                let set = subject.name;
                on_progress(Progress::Note(&format!("set {set:?}: its metadata are no object, so they say no label")));
            }
            if !prompts.contains_key(&subject.prompt.tokens) {
                prompts.insert(subject.prompt.tokens.clone(), OfPrompt::new(&model, subject.prompt)?);
            }
            let of_prompt = &prompts[&subject.prompt.tokens];
            let looked_at = LookedAt::of(asked_label, asked.position, &subject, &of_prompt.target)?;
            let choice = Choice {
                selections: &asked.selections,
                subject: &subject,
                looked_at,
                own: &of_prompt.own,
                own_importances: &of_prompt.own_importances,
                components: model.component_counts(),
                mask_by_ci: asked.mask_by_ci,
                seed: asked.trials.seed,
            };
            let chosen = choice.chosen(&mut |text| on_progress(Progress::Note(text)))?;
            on_progress(Progress::Evaluating { set: subject.name, done: index, sets: opened.len() });
            let kept: Vec<Kept<'_>> = chosen.iter().map(|chosen| of_prompt.kept(&subject, chosen, looked_at)).collect();
            let allowed = memory::allowed(asked.max_memory);
            let mut of_set = Vec::new();
            for kept in kept.chunks(at_once(&model, &kept, asked.trials, allowed)?) {
                of_set.extend(optimization::evaluate(&model, kept, asked.trials)?);
            }
            let selections = chosen.into_iter().zip(of_set).map(|(chosen, evaluated)| {
                let predicted = [&evaluated.target, &evaluated.ci, &evaluated.ablated];
                let tokens = predicted.into_iter().flat_map(|predicted| &predicted.top);
                EvaluatedSelection {
                    name: chosen.name,
                    above: chosen.above,
                    nodes: chosen.nodes.len(),
                    tokens: tokens.map(|&(token, _)| (token, tokenizer.token_string(token as u32))).collect(),
                    evaluated,
                }
            });
            let LookedAt { label, position } = looked_at;
            found.push(EvaluatedSet {
                name: subject.name.to_owned(),
                label: (label, tokenizer.token_string(label)),
                position,
                mask_by_ci: asked.mask_by_ci,
                trials: asked.trials,
                selections: selections.collect(),
            });
        }
        Ok(found)
    }
}

/// As many selections as fit into the memory allowed for them.
fn at_once<B: AttributionBackend>(
    model: &Model<B>,
    kept: &[Kept<'_>],
    trials: Trials,
    allowed: u64,
) -> Result<usize, Error> {
    let needed = |count: usize| optimization::evaluation_memory(model, &kept[..count], trials);
    if needed(1) > allowed {
        let what = format!("evaluating nodes of a prompt of {} tokens", kept[0].prompt.tokens.len());
        return Err(EngineError::Memory { what, needed: needed(1), allowed }.into());
    }
    Ok((1..=kept.len()).take_while(|&count| needed(count) <= allowed).last().unwrap_or(1))
}

/// What all sets of a prompt share.
struct OfPrompt {
    own: Arc<Entries>,
    own_importances: BTreeMap<Layer, CausalImportances>,
    /// Logarithms of the target model's probabilities, by position.
    target: Arc<[Vec<f64>]>,
}

impl OfPrompt {
    fn new<B: AttributionBackend>(model: &Model<B>, prompt: &Prompt) -> Result<Self, Error> {
        let positions = prompt.tokens.len();
        let own_importances = own_importances(model, &[prompt])?.remove(0).importances;
        let own = Arc::new(Entries::alive(&own_importances, positions));
        Ok(Self { own, own_importances, target: target_log_probs(model, prompt, 0..positions)?.into() })
    }

    fn kept<'s>(&self, subject: &Subject<'s>, chosen: &Chosen, looked_at: LookedAt) -> Kept<'s> {
        Kept {
            prompt: subject.prompt,
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
