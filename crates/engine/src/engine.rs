//! The main job: every set's attributions in one pass.

mod at_target;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use rayon::prelude::*;
use tributary_backend::{AttributionBackend, Element};
use tributary_model::{CiSet, Contrast, Layer, LayerNodes, PairAttribution, Prediction, Prompt, Role, SetAttributions};

use crate::batch::{Batch, Planned, plan};
use crate::batch_alive::BatchAlive;
use crate::borderline::borderline;
use crate::check::{
    check_activations, check_ci, check_finite, check_output, check_prediction, check_probs, check_set, check_tokens,
};
use crate::deltas::Deltas;
use crate::entry_values::{EntryValues, RecordedEntries};
use crate::last::Last;
use crate::model_ci::{OriginalAlive, TargetPass, original_alive, target_passes};
use crate::output::{Logits, SetOutput};
use crate::pass::Pass;
use crate::recorded_pass::RecordedPass;
use crate::sink::Collect;
use crate::support::SetSupports;
use crate::target_output::TargetOutput;
use crate::timings::{StageClock, time};
use crate::{
    DeltaGradient, EngineError, Forward, Method, Model, Progress, Request, Sets, Sink, Targets, Timings, by_route,
    memory,
};
use at_target::OfPrompt;

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
    request: &Request<'_>,
    progress: &mut dyn FnMut(Progress),
) -> Result<Attributions<B::Element>, EngineError> {
    collect(model, request, None, progress)
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
        let Request { sets, thresholds, method, max_memory, .. } = **request;
        let prompts = self.check()?;
        let mut cost = Cost::default();
        let of_sink = sink.memory(sets.len(), model.component_counts.len() + 2, model.pairs.len());
        let PromptPass { own, facts, memory } =
            time(&mut cost.timings.model_ci, || self.prompt_facts(&prompts, of_sink, progress))?;
        let sets = match sets {
            Sets::Given(sets) => sets,
            Sets::ModelCi(_) => own.as_slice(),
        };
        let started = Instant::now();
        let supports: Vec<SetSupports> = sets.par_iter().map(|set| SetSupports::new(set, thresholds)).collect();
        let held = of_sink + memory::inputs(sets);
        let estimate = |supports: &SetSupports, count, positions| {
            let at_target = match request.forward {
                Forward::Masked => 0,
                Forward::Target(gradient) => {
                    memory::at_target(model, supports, positions, gradient, self.most_outputs(count))
                }
            };
            held + memory::working_set(model, supports, count, positions, method) + at_target
        };
        let planned = plan(sets, supports, max_memory.unwrap_or(u64::MAX), estimate)?;
        cost.timings.attribution += started.elapsed().as_secs_f64();
        cost.batches = planned.len();
        cost.memory = planned.iter().map(|planned| planned.memory).fold(memory, u64::max);
        let through = matches!(request.forward, Forward::Target(DeltaGradient::Through | DeltaGradient::Both));
        let deltas = if through && self.values { Some(model.deltas()?) } else { None };
        for (done, planned) in planned.into_iter().enumerate() {
            progress(Progress::Forward { done, batches: cost.batches });
            let started = Instant::now();
            let spent = cost.timings.sink;
            match request.forward {
                Forward::Masked => self.batch(sets, planned, &facts, &mut cost.timings, sink, progress)?,
                Forward::Target(_) => {
                    let shared = Shared { facts: &facts, deltas: deltas.as_ref() };
                    self.batch_at_target(sets, planned, shared, &mut cost.timings, sink, progress)?;
                }
            }
            cost.timings.attribution += started.elapsed().as_secs_f64() - (cost.timings.sink - spent);
        }
        Ok(cost)
    }

    /// What the target model says of every prompt, and its own causal importances as sets where those are asked for.
    fn prompt_facts<'p>(
        &self,
        prompts: &[&'p Prompt],
        of_sink: u64,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<PromptPass<'p, B::Tensor>, EngineError> {
        let (model, Request { sets, thresholds, ghosts, .. }) = (self.model, self.request);
        let wants_ci = match sets {
            Sets::Given(_) => *ghosts && model.own_ci.unknown().is_none(),
            Sets::ModelCi(_) => true,
        };
        let held = of_sink
            + match sets {
                Sets::Given(sets) => memory::inputs(sets),
                Sets::ModelCi(_) => 0,
            };
        let contrasts = self.contrasts();
        let groups = self.grouped(prompts, held)?;
        let count = groups.iter().map(|(group, _)| group.len()).sum();
        let (mut facts, mut own, mut memory) = (Facts::new(), BTreeMap::new(), 0);
        for (group, of_group) in groups {
            progress(Progress::ModelCi { done: facts.len(), prompts: count });
            memory = memory.max(of_group);
            let tokens: Vec<&[u32]> = group.iter().map(|prompt| prompt.tokens.as_slice()).collect();
            for (prompt, TargetPass { layers, last }) in group.iter().zip(target_passes(model, &tokens, wants_ci)?) {
                let set = CiSet { name: "model".to_owned(), prompt: (*prompt).clone(), layers };
                check_ci(&set)?;
                let original = match sets {
                    // What the set keeps alive stands for it then.
                    Sets::Given(_) if !wants_ci => None,
                    Sets::Given(_) => {
                        let supports = SetSupports::new(&set, *thresholds);
                        let needed = held + memory::original_pass(model, &supports, prompt.tokens.len());
                        memory = memory.max(self.allowed("a prompt under the model's own causal importances", needed)?);
                        Some(original_alive(model, &set, &supports, *thresholds)?)
                    }
                    Sets::ModelCi(_) => {
                        own.insert(prompt.tokens.as_slice(), set.layers);
                        None
                    }
                };
                facts.insert(prompt.tokens.as_slice(), PromptFacts { last: last.with(&contrasts), original });
            }
        }
        let named = |(index, prompt): (usize, &&Prompt)| {
            let layers = own.get(prompt.tokens.as_slice())?.clone();
            Some(CiSet { name: own_name(index), prompt: (*prompt).clone(), layers })
        };
        Ok(PromptPass { own: prompts.iter().enumerate().filter_map(named).collect(), facts, memory })
    }

    /// `needed` bytes, if that many may be taken.
    fn allowed(&self, what: &str, needed: u64) -> Result<u64, EngineError> {
        match self.request.max_memory {
            Some(allowed) if needed > allowed => Err(EngineError::Memory { what: what.to_owned(), needed, allowed }),
            _ => Ok(needed),
        }
    }

    /// Distinct prompts in groups of one length that go through the target model together, each with the bytes that takes;
    /// `held` are taken all the while.
    fn grouped<'p>(&self, prompts: &[&'p Prompt], held: u64) -> Result<Vec<(Vec<&'p Prompt>, u64)>, EngineError> {
        let distinct: BTreeMap<(usize, &[u32]), &Prompt> =
            prompts.iter().map(|prompt| ((prompt.tokens.len(), prompt.tokens.as_slice()), *prompt)).collect();
        let distinct: Vec<&Prompt> = distinct.into_values().collect();
        let mut groups = Vec::new();
        for same_length in distinct.chunk_by(|a, b| a.tokens.len() == b.tokens.len()) {
            let positions = same_length[0].tokens.len();
            let needed = |prompts| held + memory::target_pass(self.model, prompts, positions);
            self.allowed("the target model on a prompt", needed(1))?;
            let fits = |prompts: &usize| needed(*prompts) <= self.request.max_memory.unwrap_or(u64::MAX);
            let together = (1..=(ROWS_AT_ONCE / positions).max(1)).take_while(fits).last().unwrap_or(1);
            groups.extend(same_length.chunks(together).map(|group| (group.to_vec(), needed(group.len()))));
        }
        Ok(groups)
    }

    /// Whether everything fits the model; gives the prompts of the sets.
    fn check(&self) -> Result<Vec<&Prompt>, EngineError> {
        let (model, request) = (self.model, self.request);
        if let (Sets::ModelCi(_), Some(reason)) = (request.sets, model.own_ci.unknown()) {
            return Err(EngineError::UnknownCi { reason: reason.to_owned() });
        }
        let is_covered =
            |layer: &Layer| model.component_counts.contains_key(layer) && layer.role() != Role::QueryKeyValue;
        let left_out = || model.architecture.linear_layers().find(|layer| !is_covered(layer));
        if let (Method::ClosedForm, Some(layer)) = (request.method, left_out()) {
            return Err(EngineError::NotCovered { layer });
        }
        let output = &request.output;
        match request.sets {
            Sets::Given(sets) => {
                sets.iter().try_for_each(|set| check_set(model, set))?;
                check_output(model, output, sets.iter().map(|set| (set.name.clone(), set.prompt.tokens.len())))?;
                Ok(sets.iter().map(|set| &set.prompt).collect())
            }
            Sets::ModelCi(prompts) => {
                for (index, prompt) in prompts.iter().enumerate() {
                    check_tokens(model, prompt)
                        .map_err(|problem| EngineError::Set { set: own_name(index), problem })?;
                }
                let lengths = prompts.iter().map(|prompt| prompt.tokens.len());
                check_output(model, output, lengths.enumerate().map(|(at, length)| (own_name(at), length)))?;
                Ok(prompts.iter().collect())
            }
        }
    }

    fn batch(
        &self,
        sets: &[CiSet],
        planned: Planned,
        facts: &Facts<'_, B::Tensor>,
        timings: &mut Timings,
        sink: &mut dyn Sink<B::Element>,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<(), EngineError> {
        let (model, thresholds) = (self.model, self.request.thresholds);
        let Planned { sets: members, supports, .. } = planned;
        let batch = Batch::new(&members.iter().map(|&index| &sets[index]).collect::<Vec<_>>());
        let pass = Pass::masked(batch.sets());
        let forward = time(&mut timings.forward, || RecordedPass::run(model, &batch.tokens(), &pass, supports))?;
        let forward = RecordedPass { last: forward.last.with(&self.contrasts()), ..forward };

        let wanted = self.wanted(&members);
        let mut alive = BatchAlive::new(&batch, thresholds, self.until(&members), wanted.as_deref());
        let mut values = EntryValues::of_layers(&model.backend, &forward, &alive)?;
        let mut target = None;
        for (at, set) in batch.sets().iter().enumerate() {
            let own = &facts[set.prompt.tokens.as_slice()];
            let evaluated = self.evaluate(members[at], set, (&forward.last, at), own, &mut target, timings)?;
            let Evaluated { output, prediction } = evaluated;
            let of_output = values.entry(Layer::output()).or_insert_with(|| EntryValues::none(0));
            of_output.pre.push(output.logits);
            of_output.mask.push(Vec::new());
            alive.push_output(output.alive, wanted.as_ref().map(|wanted| wanted[at]));
            for (&layer, of_layer) in &values {
                check_activations(&set.name, layer, &of_layer.pre[at])?;
            }
            let entries = RecordedEntries { alive: &alive, values: &values };
            let graph = self.begin(set, at, entries, own.original.as_ref(), (output.importance, output.probs));
            let graph = SetAttributions { prediction: Some(prediction), ..graph };
            time(&mut timings.sink, || sink.begin(members[at], graph)).map_err(EngineError::Sink)?;
        }
        if self.values {
            let sink_seconds = Cell::new(0.0);
            let mut emit = |pair: usize, set: usize, values: &[B::Element]| {
                check_finite(&batch.sets()[set].name, &model.pairs[pair], values)?;
                let mut seconds = sink_seconds.get();
                let taken = time(&mut seconds, || sink.values(members[set], pair, values));
                sink_seconds.set(seconds);
                taken.map_err(EngineError::Sink)
            };
            let method = self.request.method;
            let entries = RecordedEntries { alive: &alive, values: &values };
            let mut clock = StageClock { stages: &mut timings.stages, sink: &sink_seconds };
            by_route::attribute(model, &forward, entries, method, &mut clock, progress, &mut emit)?;
            timings.sink += sink_seconds.get();
        }
        for &set in &members {
            time(&mut timings.sink, || sink.end(set)).map_err(EngineError::Sink)?;
        }
        Ok(())
    }

    /// The same at the target model's activations: the masked forward pass says what is alive of the output, and no more.
    fn batch_at_target(
        &self,
        sets: &[CiSet],
        planned: Planned,
        Shared { facts, deltas }: Shared<'_, B::Tensor>,
        timings: &mut Timings,
        sink: &mut dyn Sink<B::Element>,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<(), EngineError> {
        let model = self.model;
        let Planned { sets: members, supports, .. } = planned;
        let batch = Batch::new(&members.iter().map(|&index| &sets[index]).collect::<Vec<_>>());
        let last = {
            let pass = Pass::masked(batch.sets());
            let forward = time(&mut timings.forward, || RecordedPass::run(model, &batch.tokens(), &pass, supports))?;
            forward.last.with(&self.contrasts())
        };
        // By prompt, in the order of the first set of each.
        let mut prompts: Vec<(&[u32], Vec<usize>)> = Vec::new();
        for (at, tokens) in batch.tokens().into_iter().enumerate() {
            match prompts.iter_mut().find(|(of, _)| *of == tokens) {
                Some((_, of_prompt)) => of_prompt.push(at),
                None => prompts.push((tokens, vec![at])),
            }
        }
        for (tokens, of_prompt) in prompts {
            let own = &facts[tokens];
            let sets: Vec<&CiSet> = of_prompt.iter().map(|&at| batch.sets()[at]).collect();
            let members: Vec<usize> = of_prompt.iter().map(|&at| members[at]).collect();
            let of_prompt = OfPrompt { members: &members, sets: &sets, last: &last, items: &of_prompt, facts: own };
            self.at_target(of_prompt, deltas, timings, sink, progress)?;
        }
        Ok(())
    }

    /// What set number `member` predicts, from what of a batch is unembedded for it; `target` holds what the target model does
    /// on the prompt of the set before: sets of a prompt come one after the other.
    fn evaluate<'t>(
        &self,
        member: usize,
        set: &'t CiSet,
        (last, at): (&Last<B::Tensor>, usize),
        own: &PromptFacts<B::Tensor>,
        target: &mut Option<(&'t [u32], TargetOutput<B::Element>)>,
        timings: &mut Timings,
    ) -> Result<Evaluated<B::Element>, EngineError> {
        let (model, thresholds) = (self.model, self.request.thresholds);
        let logits = time(&mut timings.forward, || Logits::compute(&model.backend, last, at))?;
        let tokens = set.prompt.tokens.as_slice();
        let same = target.take().filter(|(of, _)| *of == tokens).map(|(_, output)| output);
        let of_target =
            same.map_or_else(|| time(&mut timings.target_output, || TargetOutput::compute(model, &own.last)), Ok)?;
        let (_, target) = target.insert((tokens, of_target));
        let probs = Some(target.probs());
        let mut output = time(&mut timings.output, || {
            logits.normalise(&model.backend, &thresholds, self.output_entries(member), probs)
        })?;
        if let Some(last) = self.last_position(member) {
            output.cut(last);
        }
        check_probs(&set.name, &output.probs)?;
        let vocab = model.architecture.vocab;
        let contrasts: Vec<(usize, usize)> = output.alive.iter().filter(|&(_, component)| component >= vocab).collect();
        let prediction = target.compare(&output, vocab, &own.last.logits(&model.backend, &contrasts)?);
        check_prediction(&set.name, &prediction)?;
        Ok(Evaluated { output, prediction })
    }

    /// What is wanted of the targets of some sets; `None` for all.
    fn wanted(&self, members: &[usize]) -> Option<Vec<&Targets>> {
        self.targets.map(|targets| members.iter().map(|&index| &targets[index]).collect())
    }

    /// What of the output of a set is alive whatever its probability.
    fn output_entries(&self, member: usize) -> &[(usize, usize)] {
        self.request.output.of_sets.get(member).map_or(&[], Vec::as_slice)
    }

    /// How many entries of the output are alive at a position at most, in `sets` sets of a prompt together.
    fn most_outputs(&self, sets: usize) -> usize {
        let Request { thresholds, output, .. } = self.request;
        let vocab = self.model.architecture.vocab;
        // So many may each have a probability that passes.
        let passing =
            (1..vocab).take_while(|&tokens| tokens as f64 * thresholds.output_prob <= 1.0).last().unwrap_or(1);
        let of_set = passing.min(thresholds.output_top.unwrap_or(vocab));
        // What is asked for may all be at one position.
        let asked = output.of_sets.iter().map(Vec::len).max().unwrap_or(0);
        (sets * of_set).min(vocab) + asked
    }

    fn contrasts(&self) -> Arc<[Contrast]> {
        Arc::from(self.request.output.contrasts)
    }

    /// The last position that takes part in each of some sets.
    fn until(&self, members: &[usize]) -> Vec<Option<usize>> {
        members.iter().map(|&member| self.last_position(member)).collect()
    }

    fn last_position(&self, member: usize) -> Option<usize> {
        self.request.until.get(member).copied().flatten()
    }

    /// The graph of set number `at` of a batch but for the values of its pairs and its predictions.
    fn begin(
        &self,
        set: &CiSet,
        at: usize,
        RecordedEntries { alive, values }: RecordedEntries<'_, B::Element>,
        original: Option<&OriginalAlive>,
        (of_output, probs): (Vec<B::Element>, Vec<B::Element>),
    ) -> SetAttributions<B::Element> {
        let (vocab, thresholds) = (self.model.architecture.vocab, self.request.thresholds);
        let computed = matches!(self.request.sets, Sets::ModelCi(_)).then_some(set);
        let borderline = borderline(&probs, computed, thresholds, vocab);
        let entries = |layer| Arc::clone(&alive.of(layer)[at]);
        let original =
            |layer| original.map_or_else(|| entries(layer), |original| alive.taking_part(at, &original[&layer]));
        let pairs = self.model.pairs.iter().map(|pair| PairAttribution {
            pair: *pair,
            source: entries(pair.source),
            target: Arc::clone(&alive.targets(pair.target)[at]),
            original_source: original(pair.source),
            original_target: original(pair.target),
            values: Vec::new(),
            stopped: Vec::new(),
        });
        let nodes = alive.layers().map(|layer| {
            let entries = entries(layer);
            let importance = match layer.role() {
                Role::Embedding => Vec::new(),
                Role::Output => of_output.clone(),
                _ => {
                    let ci = &set.layers[&layer];
                    entries
                        .iter()
                        .map(|(position, component)| B::Element::from_f32(ci.get(position, component)))
                        .collect()
                }
            };
            let activation = values.get(&layer).map_or_else(Vec::new, |of_layer| of_layer.pre[at].clone());
            (layer, LayerNodes { alive: entries, original: original(layer), importance, activation })
        });
        let nodes = nodes.collect();
        SetAttributions {
            name: set.name.clone(),
            until: alive.last_position(at),
            nodes,
            pairs: pairs.collect(),
            output_probs: probs,
            borderline,
            prediction: None,
        }
    }
}

/// What the masked model of a set says.
struct Evaluated<E> {
    output: SetOutput<E>,
    prediction: Prediction<E>,
}

/// What is known of all prompts before the sets are computed.
struct PromptPass<'a, T> {
    /// The model's own causal importances as sets, where those are asked for.
    own: Vec<CiSet>,
    facts: Facts<'a, T>,
    /// Estimated bytes of memory at the worst moment.
    memory: u64,
}

/// What the target model says of a prompt.
struct PromptFacts<T> {
    /// What it unembeds.
    last: Last<T>,
    /// What is alive under its own causal importances; `None` where these are the set, or cannot be known.
    original: Option<OriginalAlive>,
}

/// What batches share.
struct Shared<'a, T> {
    facts: &'a Facts<'a, T>,
    /// Where gradients pass through them.
    deltas: Option<&'a Arc<Deltas<T>>>,
}

/// The same for each distinct prompt, by its tokens.
type Facts<'a, T> = BTreeMap<&'a [u32], PromptFacts<T>>;

/// Rows, positions of prompts of one length, that go through the target model at once, unless one prompt has more.
const ROWS_AT_ONCE: usize = 1 << 11;

fn own_name(index: usize) -> String {
    format!("prompt_{index}")
}
