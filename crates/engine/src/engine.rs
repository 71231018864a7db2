//! The main job: every set's attributions in one pass.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use tributary_backend::{AttributionBackend, BackendError, Element};

use crate::batch::Batch;
use crate::batch_alive::BatchAlive;
use crate::borderline::borderline;
use crate::check::{check_finite, check_set, check_tokens};
use crate::masked::MaskedForward;
use crate::model_ci::{OriginalAlive, model_ci, original_alive};
use crate::output::OutputProbs;
use crate::{
    AliveEntries, CiSet, EngineError, Layer, LayerNodes, Method, Model, PairAttribution, Progress, Prompt,
    SetAttributions, Sets, Targets, Thresholds, autograd, closed_form,
};

/// Wall-clock seconds of each stage, summed over batches.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Timings {
    /// The model's own causal importances, for original-alive entries.
    pub model_ci: f64,
    /// The masked forward pass.
    pub forward: f64,
    /// From inputs ready to trimmed values on the host: `forward` included, `model_ci` not.
    pub attribution: f64,
}

/// Attribution graphs of several sets.
#[derive(Clone, Debug)]
pub struct Attributions<E> {
    /// One per set, in the order the sets were given.
    pub sets: Vec<SetAttributions<E>>,
    /// How long each stage took.
    pub timings: Timings,
}

/// Computes the attribution graph of every set.
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
    run(model, sets, thresholds, method, None, progress)
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
    sets: Sets<'_>,
    thresholds: Thresholds,
    method: Method,
    targets: &[Targets],
    progress: &mut dyn FnMut(Progress),
) -> Result<Attributions<B::Element>, EngineError> {
    run(model, sets, thresholds, method, Some(targets), progress)
}

fn run<B: AttributionBackend>(
    model: &Model<B>,
    sets: Sets<'_>,
    thresholds: Thresholds,
    method: Method,
    targets: Option<&[Targets]>,
    progress: &mut dyn FnMut(Progress),
) -> Result<Attributions<B::Element>, EngineError> {
    let ci_is_computed = matches!(sets, Sets::ModelCi(_));
    let prompts: Vec<&Prompt> = match sets {
        Sets::Given(sets) => {
            sets.iter().try_for_each(|set| check_set(model, set))?;
            sets.iter().map(|set| &set.prompt).collect()
        }
        Sets::ModelCi(prompts) => {
            let checked = prompts.iter().enumerate().try_for_each(|(index, prompt)| {
                check_tokens(model, prompt).map_err(|problem| EngineError::Set { set: own_name(index), problem })
            });
            checked.map(|()| prompts.iter().collect())?
        }
    };
    if let (Method::ClosedForm, Some(layer)) = (method, closed_form::uncovered(model)) {
        return Err(EngineError::NotCovered { layer });
    }
    let mut timings = Timings::default();
    let own = time(&mut timings.model_ci, || own_importances(model, &prompts, progress))?;
    let own_sets;
    let sets = match sets {
        Sets::Given(sets) => sets,
        Sets::ModelCi(prompts) => {
            let named = |(index, prompt): (usize, &Prompt)| CiSet {
                name: own_name(index),
                prompt: prompt.clone(),
                layers: own[prompt.tokens.as_slice()].layers.clone(),
            };
            own_sets = prompts.iter().enumerate().map(named).collect::<Vec<_>>();
            &own_sets
        }
    };
    let originals = time(&mut timings.model_ci, || {
        own.iter()
            .map(|(&tokens, own)| Ok((tokens, original_alive(model, own, thresholds)?)))
            .collect::<Result<BTreeMap<&[u32], OriginalAlive>, BackendError>>()
    })?;

    let groups = Batch::group_by_length(sets);
    let mut results: Vec<Option<SetAttributions<B::Element>>> = vec![None; sets.len()];
    for (done, group) in groups.iter().enumerate() {
        progress(Progress::Forward { done, batches: groups.len() });
        let batch = Batch::new(&group.iter().map(|&index| &sets[index]).collect::<Vec<_>>());
        let original: Vec<&OriginalAlive> =
            group.iter().map(|&index| &originals[sets[index].prompt.tokens.as_slice()]).collect();
        let wanted = targets.map(|targets| group.iter().map(|&index| &targets[index]).collect::<Vec<_>>());
        let started = Instant::now();
        let task = BatchTask { model, batch: &batch, originals: &original, thresholds, method, wanted };
        let graphs = task.run(&mut timings.forward, progress)?;
        timings.attribution += started.elapsed().as_secs_f64();
        for (&index, mut graph) in group.iter().zip(graphs) {
            check_finite(&graph)?;
            let computed = ci_is_computed.then_some(&sets[index]);
            graph.borderline = borderline(&graph, computed, thresholds, model.architecture.vocab);
            results[index] = Some(graph);
        }
    }
    Ok(Attributions { sets: results.into_iter().flatten().collect(), timings })
}

fn own_name(index: usize) -> String {
    format!("prompt_{index}")
}

/// The model's own causal importances on each distinct prompt, by its tokens.
fn own_importances<'a, B: AttributionBackend>(
    model: &Model<B>,
    prompts: &[&'a Prompt],
    progress: &mut dyn FnMut(Progress),
) -> Result<BTreeMap<&'a [u32], CiSet>, BackendError> {
    let distinct: BTreeMap<&[u32], &Prompt> =
        prompts.iter().map(|prompt| (prompt.tokens.as_slice(), *prompt)).collect();
    let count = distinct.len();
    let compute = |(done, (tokens, prompt))| {
        progress(Progress::ModelCi { done, prompts: count });
        Ok((tokens, model_ci(model, "model", prompt)?))
    };
    distinct.into_iter().enumerate().map(compute).collect()
}

/// What is to be computed of one batch.
struct BatchTask<'a, B: AttributionBackend> {
    model: &'a Model<B>,
    batch: &'a Batch<'a>,
    /// `[set]`
    originals: &'a [&'a OriginalAlive],
    thresholds: Thresholds,
    method: Method,
    /// `[set]`; `None` for all.
    wanted: Option<Vec<&'a Targets>>,
}

impl<B: AttributionBackend> BatchTask<'_, B> {
    fn run(
        &self,
        forward_seconds: &mut f64,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Vec<SetAttributions<B::Element>>, BackendError> {
        let Self { model, batch, originals, thresholds, method, wanted } = self;
        let forward = time(forward_seconds, || MaskedForward::run(model, batch))?;
        let probs = OutputProbs::compute(model, &forward)?;
        let mut alive = BatchAlive::new(model, batch, &probs, *thresholds);
        if let Some(wanted) = wanted {
            alive.restrict_targets(wanted);
        }
        let mut values = match method {
            Method::Autograd => autograd::attribute(model, batch, &forward, &alive, progress)?,
            Method::ClosedForm => closed_form::attribute(model, &forward, &alive)?,
        };
        let mut activations = BTreeMap::new();
        for (&layer, pre) in forward.activations.iter().chain([(&Layer::Output, &forward.logits)]) {
            activations.insert(layer, alive.gather(&model.backend, layer, alive.of(layer), pre)?);
        }
        let mut graphs = Vec::with_capacity(batch.sets().len());
        for (index, set) in batch.sets().iter().enumerate() {
            let original = |layer| Arc::clone(&originals[index][&layer]);
            let entries = |layer| Arc::clone(&alive.of(layer)[index]);
            let pairs = model.pairs.iter().zip(&mut values).map(|(pair, values)| PairAttribution {
                pair: *pair,
                source: entries(pair.source),
                target: Arc::clone(&alive.targets(pair.target)[index]),
                original_source: original(pair.source),
                original_target: original(pair.target),
                values: std::mem::take(&mut values[index]),
            });
            let pairs = pairs.collect();
            let nodes = alive.layers().map(|layer| {
                let entries = entries(layer);
                let importance = match layer {
                    Layer::Wte => Vec::new(),
                    Layer::Output => pick(&entries, probs.of_set(index), model.architecture.vocab, |prob| prob),
                    Layer::Linear { .. } => {
                        let ci = &set.layers[&layer];
                        pick(&entries, &ci.values, ci.components, B::Element::from_f32)
                    }
                };
                let activation =
                    activations.get_mut(&layer).map(|sets| std::mem::take(&mut sets[index])).unwrap_or_default();
                (layer, LayerNodes { alive: entries, original: original(layer), importance, activation })
            });
            let nodes = nodes.collect();
            graphs.push(SetAttributions {
                name: set.name.clone(),
                nodes,
                pairs,
                output_probs: probs.of_set(index).to_vec(),
                borderline: Vec::new(),
            });
        }
        Ok(graphs)
    }
}

/// Values of `entries` out of `values`, `[positions, components]`.
fn pick<V: Copy, E>(entries: &AliveEntries, values: &[V], components: usize, convert: impl Fn(V) -> E) -> Vec<E> {
    entries.iter().map(|(position, component)| convert(values[position * components + component])).collect()
}

fn time<T>(seconds: &mut f64, f: impl FnOnce() -> T) -> T {
    let started = Instant::now();
    let result = f();
    *seconds += started.elapsed().as_secs_f64();
    result
}
