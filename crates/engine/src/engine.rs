//! The main job: every set's attributions in one pass.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use rayon::prelude::*;
use tributary_backend::{AttributionBackend, BackendError, Element};
use tributary_model::{
    AliveEntries, CiSet, Layer, LayerNodes, PairAttribution, Prompt, Role, SetAttributions, Thresholds,
};

use crate::batch::{Batch, Planned, plan};
use crate::batch_alive::BatchAlive;
use crate::borderline::borderline;
use crate::check::{check_activations, check_finite, check_probs, check_set, check_tokens};
use crate::masked::MaskedForward;
use crate::model_ci::{OriginalAlive, model_ci, original_alive};
use crate::output::Logits;
use crate::sink::Collect;
use crate::support::{Places, SetSupports};
use crate::timings::time;
use crate::{
    EngineError, Method, Model, Progress, Request, Sets, Sink, Targets, Timings, autograd, closed_form, memory,
};

/// What a run took.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cost {
    /// Time.
    pub timings: Timings,
    /// Estimated bytes of memory at the worst moment, beside the model and what the sink keeps.
    pub memory: u64,
    /// Number of batches.
    pub batches: usize,
}

/// Attribution graphs of several sets.
#[derive(Clone, Debug)]
pub struct Attributions<E> {
    /// One per set, in the order the sets were given.
    pub sets: Vec<SetAttributions<E>>,
    /// How long each stage took.
    pub timings: Timings,
}

/// Computes the attribution graph of every set and holds all of them.
///
/// Sets whose prompts have the same number of tokens are stacked into one batch. The model's own causal importances are
/// computed once for each prompt; what is originally alive under them is shared by the prompt's sets.
///
/// # Errors
///
/// [`EngineError::Set`] when a set's layers, positions, components or tokens are not those of the model and its prompt.
pub fn attribute<B: AttributionBackend>(
    model: &Model<B>,
    sets: Sets<'_>,
    thresholds: Thresholds,
    method: Method,
    progress: &mut dyn FnMut(Progress),
) -> Result<Attributions<B::Element>, EngineError> {
    collect(model, &Request { sets, thresholds, method, max_memory: None }, None, progress)
}

/// The same with edges to some target entries alone, at a cost that shrinks with their number.
///
/// `targets` holds, for each set in order, the entries of each layer that are wanted; those that are not alive are left
/// out. Nodes are complete all the same, and [`PairAttribution::target`] lists what was computed.
///
/// # Errors
///
/// As [`attribute`].
///
/// # Panics
///
/// When there are not as many `targets` as sets, or entries have another number of positions than their set.
pub fn attribute_to<B: AttributionBackend>(
    model: &Model<B>,
    request: &Request<'_>,
    targets: &[Targets],
    progress: &mut dyn FnMut(Progress),
) -> Result<Attributions<B::Element>, EngineError> {
    collect(model, request, Some(targets), progress)
}

/// Computes the attribution graph of every set and hands it out while it is computed: what is held at once is bounded by
/// [`Request::max_memory`], whatever the size of the graphs.
///
/// # Errors
///
/// As [`attribute`]; [`EngineError::Memory`] when not even one set can be computed in the memory allowed;
/// [`EngineError::Sink`] when the sink fails.
pub fn stream<B: AttributionBackend>(
    model: &Model<B>,
    request: &Request<'_>,
    sink: &mut dyn Sink<B::Element>,
    progress: &mut dyn FnMut(Progress),
) -> Result<Cost, EngineError> {
    Run { model, request, targets: None, values: true }.run(sink, progress)
}

/// Does what [`stream`] does up to the attributions: every set begins and ends, and no values come. So the sink learns
/// all nodes, and with them the number of edges.
///
/// # Errors
///
/// As [`stream`].
pub fn outline<B: AttributionBackend>(
    model: &Model<B>,
    request: &Request<'_>,
    sink: &mut dyn Sink<B::Element>,
    progress: &mut dyn FnMut(Progress),
) -> Result<Cost, EngineError> {
    Run { model, request, targets: None, values: false }.run(sink, progress)
}

fn collect<B: AttributionBackend>(
    model: &Model<B>,
    request: &Request<'_>,
    targets: Option<&[Targets]>,
    progress: &mut dyn FnMut(Progress),
) -> Result<Attributions<B::Element>, EngineError> {
    let mut sink = Collect::new(request.sets.len());
    let Cost { timings, .. } = Run { model, request, targets, values: true }.run(&mut sink, progress)?;
    Ok(Attributions { sets: sink.into_sets(), timings })
}

/// What is to be computed.
struct Run<'a, B: AttributionBackend> {
    model: &'a Model<B>,
    request: &'a Request<'a>,
    /// `[set]`; `None` for all.
    targets: Option<&'a [Targets]>,
    /// Whether attributions are wanted at all.
    values: bool,
}

impl<B: AttributionBackend> Run<'_, B> {
    fn run(&self, sink: &mut dyn Sink<B::Element>, progress: &mut dyn FnMut(Progress)) -> Result<Cost, EngineError> {
        let Self { model, request, .. } = self;
        let Request { sets, thresholds, method, max_memory } = **request;
        let prompts = self.check()?;
        let mut cost = Cost::default();
        let own_sets;
        let (sets, originals) = match sets {
            Sets::Given(sets) => {
                let originals = time(&mut cost.timings.model_ci, || originals(model, &prompts, thresholds, progress))?;
                (sets, originals)
            }
            Sets::ModelCi(_) => {
                let found = time(&mut cost.timings.model_ci, || own_sets_of(model, &prompts, thresholds, progress))?;
                own_sets = found.0;
                (own_sets.as_slice(), found.1)
            }
        };
        let started = Instant::now();
        let supports: Vec<SetSupports> = sets.par_iter().map(|set| SetSupports::new(set, thresholds)).collect();
        let estimate = |supports: &SetSupports, count, positions| {
            memory::inputs(sets) + memory::working_set(model, supports, count, positions, method)
        };
        let planned = plan(sets, supports, max_memory.unwrap_or(u64::MAX), estimate)?;
        cost.timings.attribution += started.elapsed().as_secs_f64();
        cost.batches = planned.len();
        cost.memory = planned.iter().map(|planned| planned.memory).max().unwrap_or(0);
        for (done, planned) in planned.into_iter().enumerate() {
            progress(Progress::Forward { done, batches: cost.batches });
            let started = Instant::now();
            let spent = cost.timings.sink;
            self.batch(sets, planned, &originals, &mut cost.timings, sink, progress)?;
            cost.timings.attribution += started.elapsed().as_secs_f64() - (cost.timings.sink - spent);
        }
        Ok(cost)
    }

    /// Whether everything fits the model; gives the prompts of the sets.
    fn check(&self) -> Result<Vec<&Prompt>, EngineError> {
        let (model, request) = (self.model, self.request);
        if let (Method::ClosedForm, Some(layer)) = (request.method, closed_form::uncovered(model)) {
            return Err(EngineError::NotCovered { layer });
        }
        match request.sets {
            Sets::Given(sets) => {
                sets.iter().try_for_each(|set| check_set(model, set))?;
                Ok(sets.iter().map(|set| &set.prompt).collect())
            }
            Sets::ModelCi(prompts) => {
                for (index, prompt) in prompts.iter().enumerate() {
                    check_tokens(model, prompt)
                        .map_err(|problem| EngineError::Set { set: own_name(index), problem })?;
                }
                Ok(prompts.iter().collect())
            }
        }
    }

    fn batch(
        &self,
        sets: &[CiSet],
        planned: Planned,
        originals: &Originals<'_>,
        timings: &mut Timings,
        sink: &mut dyn Sink<B::Element>,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<(), EngineError> {
        let (model, thresholds) = (self.model, self.request.thresholds);
        let Planned { sets: members, supports, .. } = planned;
        let batch = Batch::new(&members.iter().map(|&index| &sets[index]).collect::<Vec<_>>());
        let forward = time(&mut timings.forward, || MaskedForward::run(model, &batch, supports))?;

        let wanted = self.targets.map(|targets| members.iter().map(|&index| &targets[index]).collect::<Vec<_>>());
        let mut alive = BatchAlive::new(&batch, thresholds, wanted.as_deref());
        let mut activations = self.activations(&forward, &alive)?;
        let vocab = model.architecture.vocab;
        for group in forward.output_groups(vocab) {
            let logits = time(&mut timings.forward, || Logits::compute(model, &forward, group.clone()))?;
            for (at, logits) in group.zip(logits.by_set()) {
                let set = batch.sets()[at];
                let output = time(&mut timings.output, || logits.normalise(vocab, thresholds.output_prob));
                check_probs(&set.name, &output.probs)?;
                activations.entry(Layer::output()).or_default().push(output.logits);
                alive.push_output(output.alive, wanted.as_ref().map(|wanted| wanted[at]));
                for (&layer, of_sets) in &activations {
                    check_activations(&set.name, layer, &of_sets[at])?;
                }
                let original = &originals[set.prompt.tokens.as_slice()];
                let graph = self.begin(set, at, output.probs, &alive, &activations, original);
                time(&mut timings.sink, || sink.begin(members[at], graph)).map_err(EngineError::Sink)?;
            }
        }
        if self.values {
            let Timings { sink: sink_seconds, stages, .. } = timings;
            let mut emit = |pair: usize, set: usize, values: &[B::Element]| {
                check_finite(&batch.sets()[set].name, &model.pairs[pair], values)?;
                time(sink_seconds, || sink.values(members[set], pair, values)).map_err(EngineError::Sink)
            };
            match self.request.method {
                Method::Autograd => autograd::attribute(model, &batch, &forward, &alive, progress, &mut emit)?,
                Method::ClosedForm => {
                    closed_form::attribute(model, &batch, &forward, &alive, &activations, stages, &mut emit)?;
                }
            }
        }
        for &set in &members {
            time(&mut timings.sink, || sink.end(set)).map_err(EngineError::Sink)?;
        }
        Ok(())
    }

    /// Activations of the alive components of every decomposed layer, by set and row.
    fn activations(
        &self,
        forward: &MaskedForward<B::Tensor>,
        alive: &BatchAlive,
    ) -> Result<Activations<B::Element>, BackendError> {
        let b = &self.model.backend;
        let mut activations = BTreeMap::new();
        for (&layer, recorded) in &forward.layers {
            let (places, width) = (Places::new(&recorded.components), recorded.components.len());
            let mut indices = Vec::new();
            for (set, entries) in alive.of(layer).iter().enumerate() {
                let row = |position| (set * entries.positions() + position) * width;
                indices.extend(entries.iter().map(|(position, component)| row(position) + places.of(component)));
            }
            let gathered = b.download(&b.gather(&recorded.post, &indices)?)?;
            let mut rest = gathered.as_slice();
            let split = |entries: &Arc<AliveEntries>| rest.split_off(..entries.len()).unwrap_or_default().to_vec();
            activations.insert(layer, alive.of(layer).iter().map(split).collect());
        }
        Ok(activations)
    }

    /// The graph of set number `at` of a batch but for the values of its pairs.
    fn begin(
        &self,
        set: &CiSet,
        at: usize,
        probs: Vec<B::Element>,
        alive: &BatchAlive,
        activations: &Activations<B::Element>,
        original: &OriginalAlive,
    ) -> SetAttributions<B::Element> {
        let (vocab, thresholds) = (self.model.architecture.vocab, self.request.thresholds);
        let computed = matches!(self.request.sets, Sets::ModelCi(_)).then_some(set);
        let borderline = borderline(&probs, computed, thresholds, vocab);
        let entries = |layer| Arc::clone(&alive.of(layer)[at]);
        let original = |layer| Arc::clone(&original[&layer]);
        let pairs = self.model.pairs.iter().map(|pair| PairAttribution {
            pair: *pair,
            source: entries(pair.source),
            target: Arc::clone(&alive.targets(pair.target)[at]),
            original_source: original(pair.source),
            original_target: original(pair.target),
            values: Vec::new(),
        });
        let nodes = alive.layers().map(|layer| {
            let entries = entries(layer);
            let importance = match layer.role() {
                Role::Embedding => Vec::new(),
                Role::Output => pick(&entries, &probs, vocab, |prob| prob),
                _ => {
                    let ci = &set.layers[&layer];
                    pick(&entries, &ci.values, ci.components, B::Element::from_f32)
                }
            };
            let activation = activations.get(&layer).map_or_else(Vec::new, |sets| sets[at].clone());
            (layer, LayerNodes { alive: entries, original: original(layer), importance, activation })
        });
        let nodes = nodes.collect();
        SetAttributions { name: set.name.clone(), nodes, pairs: pairs.collect(), output_probs: probs, borderline }
    }
}

/// Activations of alive entries by layer, set and row.
pub(crate) type Activations<E> = BTreeMap<Layer, Vec<Vec<E>>>;

/// What is originally alive on each distinct prompt, by its tokens.
type Originals<'a> = BTreeMap<&'a [u32], OriginalAlive>;

fn own_name(index: usize) -> String {
    format!("prompt_{index}")
}

fn distinct<'a>(prompts: &[&'a Prompt]) -> BTreeMap<&'a [u32], &'a Prompt> {
    prompts.iter().map(|prompt| (prompt.tokens.as_slice(), *prompt)).collect()
}

fn originals<'a, B: AttributionBackend>(
    model: &Model<B>,
    prompts: &[&'a Prompt],
    thresholds: Thresholds,
    progress: &mut dyn FnMut(Progress),
) -> Result<Originals<'a>, EngineError> {
    let distinct = distinct(prompts);
    let count = distinct.len();
    let compute = |(done, (tokens, prompt))| {
        progress(Progress::ModelCi { done, prompts: count });
        Ok((tokens, original_alive(model, &model_ci(model, "model", prompt)?, thresholds)?))
    };
    distinct.into_iter().enumerate().map(compute).collect()
}

/// The model's own causal importances on every prompt, as sets, and what is alive under them.
fn own_sets_of<'a, B: AttributionBackend>(
    model: &Model<B>,
    prompts: &[&'a Prompt],
    thresholds: Thresholds,
    progress: &mut dyn FnMut(Progress),
) -> Result<(Vec<CiSet>, Originals<'a>), EngineError> {
    let distinct = distinct(prompts);
    let count = distinct.len();
    let (mut own, mut originals) = (BTreeMap::new(), Originals::new());
    for (done, (tokens, prompt)) in distinct.into_iter().enumerate() {
        progress(Progress::ModelCi { done, prompts: count });
        let set = model_ci(model, "model", prompt)?;
        originals.insert(tokens, original_alive(model, &set, thresholds)?);
        own.insert(tokens, set.layers);
    }
    let named = |(index, prompt): (usize, &&Prompt)| CiSet {
        name: own_name(index),
        prompt: (*prompt).clone(),
        layers: own[prompt.tokens.as_slice()].clone(),
    };
    Ok((prompts.iter().enumerate().map(named).collect(), originals))
}

/// Values of `entries` out of `values`, `[positions, components]`.
fn pick<V: Copy, E>(entries: &AliveEntries, values: &[V], components: usize, convert: impl Fn(V) -> E) -> Vec<E> {
    entries.iter().map(|(position, component)| convert(values[position * components + component])).collect()
}
