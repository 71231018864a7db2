//! The main job: every set's attributions in one pass.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use tributary_backend::{AttributionBackend, BackendError, Dtype, Element};

use crate::batch::Batch;
use crate::masked::MaskedForward;
use crate::model_ci::{OriginalAlive, model_ci, original_alive};
use crate::output::OutputProbs;
use crate::{
    AliveEntries, CiSet, Layer, LayerNodes, Model, PairAttribution, Prompt, SetAttributions, alive_components, autograd,
};

/// What makes an entry alive.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Thresholds {
    /// Least causal importance of an alive component. Compared in f32, the type of causal importances.
    pub ci: f64,
    /// Least probability of an alive output token. Compared in the backend's element type.
    pub output_prob: f64,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self { ci: 1e-6, output_prob: 0.1 }
    }
}

/// How attributions are computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// The backend's automatic differentiation: works for every model, and is what other methods are checked against.
    Autograd,
}

impl Method {
    /// Name of the method, as `--method` takes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Autograd => "autograd",
        }
    }
}

/// What the engine is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The model's own causal importances on prompt number `done + 1`.
    ModelCi {
        /// Prompts finished.
        done: usize,
        /// Prompts in all.
        prompts: usize,
    },
    /// The masked forward pass of batch number `done + 1`.
    Forward {
        /// Batches finished.
        done: usize,
        /// Batches in all; there is one for each prompt length.
        batches: usize,
    },
    /// Backward passes of the current batch.
    Backward {
        /// Passes finished.
        done: usize,
        /// Passes in all.
        passes: usize,
    },
}

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

/// A CI set that does not fit the model.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// The backend failed.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// A set cannot be run through the model.
    #[error("CI set {set:?}: {problem}")]
    Set {
        /// Name of the set.
        set: String,
        /// What was found and what was expected.
        problem: String,
    },
    /// A number came out infinite or not a number.
    #[error(
        "CI set {set:?}: {place} is not finite: the numbers overflow {dtype}; look for causal importances far from 0 to 1, or compute in f64"
    )]
    NotFinite {
        /// Name of the set.
        set: String,
        /// What is not finite.
        place: String,
        /// What was computed in.
        dtype: Dtype,
    },
}

/// Where the CI sets come from.
#[derive(Clone, Copy, Debug)]
pub enum Sets<'a> {
    /// Sets that were read or made elsewhere.
    Given(&'a [CiSet]),
    /// The model's own causal importances on each prompt, as sets named `prompt_0`, `prompt_1`, ...
    ModelCi(&'a [Prompt]),
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
    let prompts: Vec<&Prompt> = match sets {
        Sets::Given(sets) => {
            sets.iter().try_for_each(|set| check(model, set))?;
            sets.iter().map(|set| &set.prompt).collect()
        }
        Sets::ModelCi(prompts) => {
            let checked = prompts.iter().enumerate().try_for_each(|(index, prompt)| {
                check_tokens(model, prompt).map_err(|problem| EngineError::Set { set: own_name(index), problem })
            });
            checked.map(|()| prompts.iter().collect())?
        }
    };
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
        let started = Instant::now();
        let graphs = attribute_batch(model, &batch, &original, thresholds, method, &mut timings.forward, progress)?;
        timings.attribution += started.elapsed().as_secs_f64();
        for (&index, graph) in group.iter().zip(graphs) {
            check_finite(&graph)?;
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

fn attribute_batch<B: AttributionBackend>(
    model: &Model<B>,
    batch: &Batch<'_>,
    originals: &[&OriginalAlive],
    thresholds: Thresholds,
    method: Method,
    forward_seconds: &mut f64,
    progress: &mut dyn FnMut(Progress),
) -> Result<Vec<SetAttributions<B::Element>>, BackendError> {
    let forward = time(forward_seconds, || MaskedForward::run(model, batch))?;
    let probs = OutputProbs::compute(model, &forward)?;
    let alive = BatchAlive::new(model, batch, &probs, thresholds);
    let mut values = match method {
        Method::Autograd => autograd::attribute(model, batch, &forward, &alive, progress)?,
    };
    let mut activations = BTreeMap::new();
    for (&layer, pre) in forward.activations.iter().chain([(&Layer::Output, &forward.logits)]) {
        activations.insert(layer, alive.gather(&model.backend, layer, pre)?);
    }
    let mut graphs = Vec::with_capacity(batch.sets().len());
    for (index, set) in batch.sets().iter().enumerate() {
        let original = |layer| Arc::clone(&originals[index][&layer]);
        let entries = |layer| Arc::clone(&alive.of(layer)[index]);
        let pairs = model.pairs.iter().zip(&mut values).map(|(pair, values)| PairAttribution {
            pair: *pair,
            source: entries(pair.source),
            target: entries(pair.target),
            original_source: original(pair.source),
            original_target: original(pair.target),
            values: std::mem::take(&mut values[index]),
        });
        let pairs = pairs.collect();
        let nodes = alive.layers.keys().map(|&layer| {
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
        });
    }
    Ok(graphs)
}

/// Values of `entries` out of `values`, `[positions, components]`.
fn pick<V: Copy, E>(entries: &AliveEntries, values: &[V], components: usize, convert: impl Fn(V) -> E) -> Vec<E> {
    entries.iter().map(|(position, component)| convert(values[position * components + component])).collect()
}

/// Alive entries of every layer for every set of a batch.
pub(crate) struct BatchAlive {
    layers: BTreeMap<Layer, Vec<Arc<AliveEntries>>>,
    widths: BTreeMap<Layer, usize>,
}

impl BatchAlive {
    fn new<B: AttributionBackend>(
        model: &Model<B>,
        batch: &Batch<'_>,
        probs: &OutputProbs<B::Element>,
        thresholds: Thresholds,
    ) -> Self {
        let mut layers = BTreeMap::new();
        let mut widths = model.component_counts.clone();
        for &layer in model.component_counts.keys() {
            let of_set = |set: &&CiSet| Arc::new(alive_components(&set.layers[&layer], thresholds.ci));
            layers.insert(layer, batch.sets().iter().map(of_set).collect());
        }
        let every_position = Arc::new(AliveEntries::every_position(batch.positions()));
        layers.insert(Layer::Wte, vec![every_position; batch.sets().len()]);
        let output = (0..batch.sets().len()).map(|set| Arc::new(probs.alive(set, thresholds.output_prob)));
        layers.insert(Layer::Output, output.collect());
        widths.insert(Layer::Output, model.architecture.vocab);
        Self { layers, widths }
    }

    /// Alive entries of a layer: one per set.
    pub(crate) fn of(&self, layer: Layer) -> &[Arc<AliveEntries>] {
        &self.layers[&layer]
    }

    /// The alive entries' values out of `x`, `[sets, positions, components of layer]`: one vector per set.
    fn gather<B: AttributionBackend>(
        &self,
        b: &B,
        layer: Layer,
        x: &B::Tensor,
    ) -> Result<Vec<Vec<B::Element>>, BackendError> {
        let width = self.widths[&layer];
        let sets = self.of(layer);
        let indices = sets
            .iter()
            .enumerate()
            .flat_map(|(set, entries)| entries.iter().map(move |(s, c)| (set * entries.positions() + s) * width + c));
        let gathered = b.download(&b.gather(x, &indices.collect::<Vec<_>>())?)?;
        let mut rest = gathered.as_slice();
        let split = |entries: &Arc<AliveEntries>| rest.split_off(..entries.len()).unwrap_or_default().to_vec();
        Ok(sets.iter().map(split).collect())
    }
}

fn check<B: AttributionBackend>(model: &Model<B>, set: &CiSet) -> Result<(), EngineError> {
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

fn check_finite<E: Element>(graph: &SetAttributions<E>) -> Result<(), EngineError> {
    let finite = |values: &[E]| values.iter().all(|value| value.to_f64().is_finite());
    let pair = graph.pairs.iter().find(|pair| !finite(&pair.values));
    let place = match pair {
        _ if !finite(&graph.output_probs) => "an output probability".to_owned(),
        Some(pair) => format!("an attribution of {} to {}", pair.pair.source, pair.pair.target),
        None => return Ok(()),
    };
    Err(EngineError::NotFinite { set: graph.name.clone(), place, dtype: E::DTYPE })
}

fn check_tokens<B: AttributionBackend>(model: &Model<B>, prompt: &Prompt) -> Result<(), String> {
    let (count, architecture) = (prompt.tokens.len(), &model.architecture);
    if count == 0 || count > architecture.max_positions {
        return Err(format!("its prompt has {count} tokens, the model takes 1 to {}", architecture.max_positions));
    }
    match prompt.tokens.iter().find(|&&token| token as usize >= architecture.vocab) {
        Some(token) => Err(format!("token id {token} is outside the model's vocabulary of {}", architecture.vocab)),
        None => Ok(()),
    }
}

fn time<T>(seconds: &mut f64, f: impl FnOnce() -> T) -> T {
    let started = Instant::now();
    let result = f();
    *seconds += started.elapsed().as_secs_f64();
    result
}
