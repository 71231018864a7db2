//! Whether attributions predict effects: some of a result's edges beside what happens without their sources, and what the
//! activations of their targets are made of.

mod agreement;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use tributary_backend::{AttributionBackend, Providers, Work};
use tributary_engine::{self as engine, Model, Node, Parts, model_ci};
use tributary_inputs::TrainedRun;
use tributary_model::{CausalImportances, CiSet, Layer, Weights};
use tributary_results::{Forward, Manifest};

use crate::result_inputs::{ResultInputs, forward, thresholds};
use crate::sample::{self, StoredSet};
use crate::sets::InputSets;
use crate::{Compute, Error, OnProgress, Progress, ResultRun, memory, on_backend, select_sets};

pub use agreement::{Agreement, Correlation, PairAgreement};

/// Which edges of a result are put to the test, and how.
#[derive(Clone, Debug, PartialEq)]
pub struct Effects {
    /// The result.
    pub result: ResultRun,
    /// The file of CI sets, which masked forward passes need; `None` for the one the result names, if it names one.
    pub ci_sets: Option<PathBuf>,
    /// Which sets; all of them if there are none.
    pub sets: Vec<String>,
    /// How many edges of each set are drawn, evenly from the pairs of layers; all edges where there are no more.
    pub edges: u64,
    /// Which edges are drawn: the same ones for the same seed.
    pub seed: u64,
    /// Bytes of memory that may be taken beside the model; `None` for half of what is free.
    pub max_memory: Option<u64>,
    /// What computes.
    pub compute: Compute,
}

/// An edge, and what happens without its source.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EdgeEffect {
    /// The source.
    pub source: Node,
    /// The target.
    pub target: Node,
    /// The attribution, as the result has it; of two, that whose gradients pass through deltas.
    pub attribution: f64,
    /// What the target's activation loses without the source, where everything is constant that the attribution holds constant.
    pub in_segment: f64,
    /// What it loses where everything behind the source is computed anew.
    pub in_model: f64,
    /// Activation of the source, as the result has it; `None` for `wte`.
    pub source_activation: Option<f64>,
    /// Activation of the target, as the result has it.
    pub target_activation: f64,
}

/// A target of sampled edges, and what its activation is made of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TargetParts {
    /// The target.
    pub node: Node,
    /// What of its activation is what.
    pub parts: Parts,
}

/// What has come out for a set.
#[derive(Clone, Debug, PartialEq)]
pub struct SetEffects {
    /// Name of the set.
    pub name: String,
    /// The sampled edges, pair by pair.
    pub edges: Vec<EdgeEffect>,
    /// The pairs of layers that have any, in the order of the result's pairs.
    pub pairs: Vec<PairAgreement>,
    /// All sampled edges together.
    pub overall: Agreement,
    /// The targets of the sampled edges, in the order data flows.
    pub targets: Vec<TargetParts>,
}

/// Puts some edges of a result to the test on a backend of `L`.
pub fn effects<L: Providers>(asked: &Effects, on_progress: &mut OnProgress<'_>) -> Result<Vec<SetEffects>, Error> {
    let folder = asked.result.folder()?;
    let manifest = folder.manifest().clone();
    let known: Vec<&str> = manifest.sets.iter().map(|set| set.name.as_str()).collect();
    let wanted = select_sets(&asked.sets, &known, folder.path())?;
    let run = asked.result.open(&manifest, on_progress)?;
    on_progress(Progress::Drawing(folder.path()));
    let sets = manifest.sets.iter().filter(|set| wanted.is_empty() || wanted.contains(&set.name));
    let stored = sets.map(|set| sample::draw_of_set(&folder, set, asked.edges, asked.seed));
    let stored = stored.collect::<Result<Vec<StoredSet>, _>>()?;
    let inputs = asked.inputs(&run, &manifest, &stored, on_progress)?;
    let job = Job { asked, manifest, stored, inputs, weights: run.weights, on_progress };
    on_backend::<L, _, _, _>(&asked.compute, job)
}

/// What is known of a set before a model is there.
struct Input {
    set: CiSet,
    /// Whether its causal importances are the model's own, and have yet to be computed.
    is_own: bool,
}

impl Effects {
    /// The sets of the result: at the target model's activations, their prompts alone.
    fn inputs(
        &self,
        run: &TrainedRun,
        manifest: &Manifest,
        stored: &[StoredSet],
        on_progress: &mut OnProgress<'_>,
    ) -> Result<Vec<Input>, Error> {
        let inputs = ResultInputs { result: &self.result, ci_sets: self.ci_sets.as_deref() };
        let is_masked = manifest.settings.forward == Forward::Masked;
        let file = if is_masked { inputs.ci_sets_file(manifest)? } else { None };
        if let Some(file) = file {
            let mut note = |text: &str| on_progress(Progress::Note(text));
            return match inputs.sets(&file, run, manifest, stored, &mut note)? {
                InputSets::Given { sets, .. } => Ok(sets.into_iter().map(|set| Input { set, is_own: false }).collect()),
                InputSets::Own(_) => unreachable!("sets of a file are given"),
            };
        }
        let entries = stored.iter().filter_map(|set| manifest.set(&set.name));
        let input = |(entry, name): (_, &String)| {
            let prompt = inputs.prompt(run, manifest, entry)?;
            Ok(Input { set: CiSet { name: name.clone(), prompt, layers: BTreeMap::new() }, is_own: is_masked })
        };
        entries.zip(stored.iter().map(|set| &set.name)).map(input).collect()
    }
}

/// Ready but for a backend.
struct Job<'a, 'p> {
    asked: &'a Effects,
    manifest: Manifest,
    stored: Vec<StoredSet>,
    inputs: Vec<Input>,
    weights: Weights,
    on_progress: &'a mut OnProgress<'p>,
}

impl Work for Job<'_, '_> {
    type Output = Result<Vec<SetEffects>, Error>;

    fn run<B: AttributionBackend>(self, backend: B) -> Self::Output {
        let Self { asked, manifest, stored, inputs, weights, on_progress } = self;
        let model = Model::upload(backend, weights)?;
        let allowed = memory::allowed(asked.max_memory);
        let (sets, mut found) = (stored.len(), Vec::new());
        for (done, (stored, Input { mut set, is_own })) in stored.into_iter().zip(inputs).enumerate() {
            on_progress(Progress::Evaluating { set: &stored.name, done, sets });
            if is_own {
                set = CiSet { layers: with_nodes(model_ci(&model, &set.name, &set.prompt)?.layers, &stored), ..set };
            }
            let contrasts = manifest.settings.output_targets.contrasts();
            let of_set =
                engine::Effects::new(&model, &set, forward(&manifest), thresholds(&manifest), &contrasts, allowed)?;
            found.push(measured(&of_set, &manifest, &stored)?);
        }
        Ok(found)
    }
}

/// The model's own causal importances, those of a result's nodes as it has them: others differ by rounding where they were computed
/// elsewhere.
fn with_nodes(layers: BTreeMap<Layer, CausalImportances>, stored: &StoredSet) -> BTreeMap<Layer, CausalImportances> {
    let of_layer = |(layer, importances): (Layer, CausalImportances)| {
        let Some(nodes) = stored.nodes.get(&layer) else { return (layer, importances) };
        let (components, mut values) = (importances.components(), importances.to_dense());
        for ((position, component), &importance) in nodes.alive.iter().zip(&nodes.importance) {
            if let Some(value) = values.get_mut(position * components + component) {
                *value = importance;
            }
        }
        (layer, CausalImportances::from_dense(components, &values))
    };
    layers.into_iter().map(of_layer).collect()
}

fn measured<B: AttributionBackend>(
    effects: &engine::Effects<'_, B>,
    manifest: &Manifest,
    stored: &StoredSet,
) -> Result<SetEffects, Error> {
    // Of two values of an edge the second is that of gradients which stop.
    let drawn: Vec<_> = stored.edges.iter().filter(|edge| !edge.stopped).collect();
    let node = |layer, (position, component)| Node { layer, position, component };
    let nodes: Vec<(Node, Node)> = drawn
        .iter()
        .map(|edge| {
            let pair = &manifest.pairs[edge.pair];
            (node(pair.source, edge.source), node(pair.target, edge.target))
        })
        .collect();
    let (in_segment, in_model) = (effects.in_segment(&nodes, 1.0)?, effects.in_model(&nodes)?);
    let activation = |node: Node| {
        let of_layer = stored.nodes.get(&node.layer)?;
        let row = of_layer.alive.row_of(node.position, node.component)?;
        of_layer.activation.get(row).copied().map(f64::from)
    };
    let measured = drawn.iter().zip(&nodes).zip(in_segment.into_iter().zip(in_model));
    let edges: Vec<EdgeEffect> = measured
        .map(|((edge, &(source, target)), (in_segment, in_model))| EdgeEffect {
            source,
            target,
            attribution: f64::from(edge.value),
            in_segment,
            in_model,
            source_activation: activation(source),
            target_activation: activation(target).unwrap_or_default(),
        })
        .collect();
    let targets: Vec<Node> = nodes.iter().map(|&(_, target)| target).collect::<BTreeSet<_>>().into_iter().collect();
    let alive = stored.nodes.iter().map(|(&layer, nodes)| (layer, Arc::clone(&nodes.alive))).collect();
    let parts = effects.parts(&targets, &alive)?;
    let targets = targets.into_iter().zip(parts).map(|(node, parts)| TargetParts { node, parts }).collect();
    Ok(SetEffects {
        name: stored.name.clone(),
        pairs: PairAgreement::of_pairs(&edges),
        overall: Agreement::new(&edges),
        edges,
        targets,
    })
}
