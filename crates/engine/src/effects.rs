//! What nodes do, measured: the change of a target's activation when a source is taken away, and what the activation is made of.

mod function;
mod in_model;
mod in_segment;
mod parts;

use std::collections::BTreeMap;
use std::sync::Arc;

use tributary_backend::{AttributionBackend, Element};
use tributary_model::{CiSet, Contrast, Layer, Thresholds};

use crate::check::{check_set, check_tokens};
use crate::deltas::Deltas;
use crate::pass::Pass;
use crate::recorded_pass::RecordedPass;
use crate::support::{SetSupports, Slots, Supports};
use crate::{DeltaGradient, EngineError, Forward, Model, memory};

pub use parts::Parts;

/// A node of a set's graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Node {
    /// Its layer.
    pub layer: Layer,
    /// Its position.
    pub position: usize,
    /// Its component; of `wte` 0, of the output the token, or behind the vocabulary the contrast.
    pub component: usize,
}

/// A set's forward pass, the one that its attributions are made in, to be asked what nodes do in it.
///
/// An attribution is the gradient of a target's activation times a source's activation, and so an estimate of what the
/// activation loses without the source. [`in_segment`](Self::in_segment) and [`in_model`](Self::in_model) take the source away
/// and look; [`parts`](Self::parts) says what all attributions to a target come to, and what the rest of its activation is.
pub struct Effects<'a, B: AttributionBackend> {
    model: &'a Model<B>,
    set: &'a CiSet,
    thresholds: Thresholds,
    /// Of the set alone.
    recorded: RecordedPass<B::Tensor>,
    /// Whether activations are the target model's.
    at_target: bool,
    /// Bytes that may be taken beside the model.
    max_memory: u64,
}

impl<'a, B: AttributionBackend> Effects<'a, B> {
    /// Of a set whose attributions are made in this `forward` pass. At the target model's activations only the prompt of the set
    /// is looked at; where both kinds of gradients are asked for, they pass through deltas here. `contrasts` are what the output
    /// has behind the tokens of the vocabulary, `max_memory` the bytes that may be taken beside the model.
    ///
    /// # Errors
    ///
    /// [`EngineError::Set`] when the set does not fit the model, [`EngineError::Memory`] when its forward pass does not fit.
    pub fn new(
        model: &'a Model<B>,
        set: &'a CiSet,
        forward: Forward,
        thresholds: Thresholds,
        contrasts: &[Contrast],
        max_memory: u64,
    ) -> Result<Self, EngineError> {
        let fail = |problem| EngineError::Set { set: set.name.clone(), problem };
        let (pass, supports, deltas) = match forward {
            Forward::Masked => {
                check_set(model, set)?;
                (Pass::masked(&[set]), SetSupports::new(set, thresholds).components(), None)
            }
            Forward::Target(gradient) => {
                check_tokens(model, &set.prompt).map_err(fail)?;
                let all = |(&layer, &count): (&Layer, &usize)| (layer, (0..count).collect());
                let layers = model.component_counts.iter().map(all).collect();
                let deltas = if gradient == DeltaGradient::Stopped { None } else { Some(model.deltas()?) };
                (Pass::of_target(), Supports { layers, zero_is_alive: true }, deltas)
            }
        };
        let sizes = supports.layers.iter().map(|(&layer, components)| (layer, components.len())).collect();
        at_once(model, &sizes, set, max_memory, 1)?;
        let recorded = RecordedPass::run(model, &[&set.prompt.tokens], &pass, supports)?;
        let last = recorded.last.with(&Arc::from(contrasts));
        let recorded = RecordedPass { last, deltas, ..recorded };
        Ok(Self { model, set, thresholds, recorded, at_target: forward != Forward::Masked, max_memory })
    }

    /// The layers that act on a target, each with whether it acts across positions.
    fn sources(&self, target: Layer) -> Vec<(Layer, bool)> {
        let to_target = self.model.pairs.iter().filter(|pair| pair.target == target);
        to_target.map(|pair| (pair.source, pair.crosses_positions)).collect()
    }

    /// What gradients to a target pass through beside components. Only what reads the stream can be reached through deltas:
    /// for other targets, nothing between them and their sources has one, and those of the sources are constant.
    fn deltas(&self, sources: &[(Layer, bool)]) -> Option<&Arc<Deltas<B::Tensor>>> {
        let writes = |layer: Layer| layer.is_embedding() || layer.role().writes_residual();
        self.recorded.deltas.as_ref().filter(|_| sources.iter().any(|&(layer, _)| writes(layer)))
    }

    /// Where in a row of what was recorded of a layer a node's activation is.
    fn slot(&self, node: Node) -> Result<usize, EngineError> {
        let Node { layer, position, component } = node;
        let slot = match self.recorded.layers.get(&layer) {
            Some(recorded) => Slots::new(&recorded.components).find(component),
            None => (layer.is_embedding() && component == 0).then_some(0),
        };
        slot.filter(|_| position < self.positions()).ok_or_else(|| self.no_node(node))
    }

    /// Whether a node can be a target.
    fn check_target(&self, node: Node) -> Result<(), EngineError> {
        let outputs = self.model.architecture.vocab + self.recorded.last.contrasts.len();
        let there_is = match self.model.component_counts.get(&node.layer) {
            Some(&count) => node.component < count,
            None => node.layer.is_output() && node.component < outputs,
        };
        if there_is && node.position < self.positions() { Ok(()) } else { Err(self.no_node(node)) }
    }

    fn no_node(&self, Node { layer, position, component }: Node) -> EngineError {
        let problem = format!("{layer}:{position}:{component} takes no part in its forward pass");
        EngineError::Set { set: self.set.name.clone(), problem }
    }

    fn positions(&self) -> usize {
        self.set.prompt.tokens.len()
    }

    /// Of `wanted` items as many as can be computed together, beside one that is as it was recorded.
    fn at_once(&self, wanted: usize) -> Result<usize, EngineError> {
        let layers = &self.recorded.layers;
        let sizes = layers.iter().map(|(&layer, recorded)| (layer, recorded.components.len())).collect();
        at_once(self.model, &sizes, self.set, self.max_memory, wanted)
    }

    fn check_finite(&self, what: &str, values: &[f64]) -> Result<(), EngineError> {
        if values.iter().all(|value| value.is_finite()) {
            return Ok(());
        }
        let (set, what) = (self.set.name.clone(), what.to_owned());
        Err(EngineError::NotFinite { set, what, dtype: B::Element::DTYPE })
    }
}

/// Of `wanted` items as many as can be computed together.
fn at_once<B: AttributionBackend>(
    model: &Model<B>,
    sizes: &BTreeMap<Layer, usize>,
    set: &CiSet,
    allowed: u64,
    wanted: usize,
) -> Result<usize, EngineError> {
    let needed = |items: usize| memory::effects(model, sizes, items + 1, set.prompt.tokens.len());
    if needed(1) > allowed {
        let what = format!("measuring the effects of nodes of set {:?}", set.name);
        return Err(EngineError::Memory { what, needed: needed(1), allowed });
    }
    Ok((1..=wanted).take_while(|&items| needed(items) <= allowed).last().unwrap_or(1))
}

/// The different nodes among some, each with its number.
fn numbered(nodes: impl Iterator<Item = Node>) -> BTreeMap<Node, usize> {
    let mut numbers: BTreeMap<Node, usize> = nodes.map(|node| (node, 0)).collect();
    numbers.values_mut().enumerate().for_each(|(number, at)| *at = number);
    numbers
}
