//! What a target's activation is made of.

use std::collections::BTreeMap;
use std::sync::Arc;

use tributary_backend::{AttributionBackend, Element};
use tributary_model::{AliveEntries, Layer};

use super::function::Constants;
use super::in_segment::chunks;
use super::{Effects, Node};
use crate::EngineError;

/// What the activation of a target is made of: gradient times activation of all that goes into it, and what these do not add up to.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Parts {
    /// The activation.
    pub activation: f64,
    /// Of the nodes among the sources: the attributions to the target.
    pub edges: f64,
    /// Of components that take part in the forward pass and are no nodes, at the positions of edges.
    pub dead: f64,
    /// Of components and embeddings at other positions, where gradients cross positions and edges do not.
    pub other_positions: f64,
    /// Of biases and learned positions.
    pub biases: f64,
    /// Of what no component holds of the sources' weights, where no gradient passes through it.
    pub deltas: f64,
    /// Of the components of layers between sources and target, which are constant: where gradients pass through deltas.
    pub held: f64,
}

impl Parts {
    /// What is left of the activation. It is 0 where the target is a linear function of all of these.
    pub fn curvature(&self) -> f64 {
        self.activation - self.edges - self.dead - self.other_positions - self.biases - self.deltas - self.held
    }
}

impl<B: AttributionBackend> Effects<'_, B> {
    /// What the activations of targets are made of, in the order of `targets`; `nodes` are those of the set's graph by layer.
    ///
    /// # Errors
    ///
    /// As [`in_segment`](Self::in_segment).
    pub fn parts(
        &self,
        targets: &[Node],
        nodes: &BTreeMap<Layer, Arc<AliveEntries>>,
    ) -> Result<Vec<Parts>, EngineError> {
        let mut by_layer: BTreeMap<Layer, Vec<usize>> = BTreeMap::new();
        for (at, target) in targets.iter().enumerate() {
            by_layer.entry(target.layer).or_default().push(at);
        }
        let mut found = vec![Parts::default(); targets.len()];
        for (layer, of_layer) in by_layer {
            let asked: Vec<Node> = of_layer.iter().map(|&at| targets[at]).collect();
            // The tape of a gradient is counted with what is computed at once.
            for (chunk, first) in chunks(&asked, self.at_once(asked.len())?) {
                for (at, parts) in self.parts_of(layer, chunk, nodes)?.into_iter().enumerate() {
                    found[of_layer[first + at]] = parts;
                }
            }
        }
        for &Parts { activation, edges, dead, other_positions, biases, deltas, held } in &found {
            let all = [activation, edges, dead, other_positions, biases, deltas, held];
            self.check_finite("what the activation of a node is made of", &all)?;
        }
        Ok(found)
    }

    /// Of targets of one layer, each an item of one backward pass.
    fn parts_of(
        &self,
        layer: Layer,
        targets: &[Node],
        nodes: &BTreeMap<Layer, Arc<AliveEntries>>,
    ) -> Result<Vec<Parts>, EngineError> {
        let b = &self.model.backend;
        let (items, positions) = (targets.len(), self.positions());
        let components = self.components(targets.iter().copied())?;
        let function = self.function(layer, &components)?;
        let of_sources = function.sources.len();
        let repeated = |leaf: &B::Tensor| b.select(leaf, 0, &vec![0; items]);
        let mut leaves = function.leaves().iter().map(repeated).collect::<Result<Vec<_>, _>>()?;
        let ones = vec![B::Element::from_f64(1.0); items];
        for _ in 0..3 {
            leaves.push(b.upload(&ones, &[items, 1, 1])?);
        }
        let slot = |node: &Node| components.binary_search(&node.component).unwrap_or_default();
        let indices: Vec<usize> = targets
            .iter()
            .enumerate()
            .map(|(item, node)| (item * positions + node.position) * components.len() + slot(node))
            .collect();
        let mut cotangent = vec![B::Element::default(); items * positions * components.len()];
        for &index in &indices {
            cotangent[index] = B::Element::from_f64(1.0);
        }
        let cotangent = b.upload_vec(cotangent, &[items, positions, components.len()])?;
        let mut activations = Vec::new();
        let gradients = b.vjp(&leaves, &cotangent, |leaves| {
            let (leaves, constants) = leaves.split_at(of_sources);
            let [biases, deltas, others] = [0, 1, 2].map(|at| constants[at].clone());
            let pre = function.evaluate(leaves, Some(&Constants { biases, deltas, others }))?;
            activations = b.download_vec(b.gather(&b.detach(&pre), &indices)?)?;
            Ok(pre)
        })?;
        let mut found: Vec<Parts> = activations
            .iter()
            .map(|activation| Parts { activation: activation.to_f64(), ..Parts::default() })
            .collect();
        for ((source, crosses), (leaf, gradient)) in self.sources(layer).into_iter().zip(leaves.iter().zip(&gradients))
        {
            let weighted = b.mul(leaf, gradient)?;
            let weighted = if source.is_embedding() { b.sum(&weighted, 2)? } else { weighted };
            let width = b.shape(&weighted)[2];
            let values = b.download_vec(weighted)?;
            let components = self.recorded.layers.get(&source).map_or([0].as_slice(), |layer| &layer.components);
            for (row, values) in values.chunks_exact(width.max(1)).enumerate() {
                let (item, position) = (row / positions, row % positions);
                let (parts, at) = (&mut found[item], targets[item].position);
                for (&component, value) in components.iter().zip(values) {
                    let value = value.to_f64();
                    if position != at && !(crosses && position < at) {
                        parts.other_positions += value;
                    } else if nodes.get(&source).is_some_and(|nodes| nodes.row_of(position, component).is_some()) {
                        parts.edges += value;
                    } else {
                        parts.dead += value;
                    }
                }
            }
        }
        for (kind, gradient) in gradients.into_iter().skip(of_sources).enumerate() {
            for (parts, value) in found.iter_mut().zip(b.download_vec(gradient)?) {
                match kind {
                    0 => parts.biases = value.to_f64(),
                    1 => parts.deltas = value.to_f64(),
                    _ => parts.held = value.to_f64(),
                }
            }
        }
        if layer.is_output() {
            // Of a decomposed unembedding, which is read as it is.
            let entries = targets.iter().map(|node| (node.position, node.component));
            for (parts, constant) in found.iter_mut().zip(self.recorded.last.constants(b, entries)?) {
                parts.activation += constant;
                parts.deltas += constant;
            }
        }
        Ok(found)
    }
}
