//! Sources taken away with everything constant that attributions hold constant.

use std::collections::BTreeMap;

use tributary_backend::{AttributionBackend, BackendError, Element};
use tributary_model::Layer;

use super::function::Function;
use super::{Effects, Node, numbered};
use crate::EngineError;

impl<B: AttributionBackend> Effects<'_, B> {
    /// For each edge, a source and a target, what the target's activation loses when this share of the source's is taken away,
    /// 1 for all of it: what varies is what the attribution's gradient lets vary, so that a small share is worth that share of
    /// the attribution. In the order of `edges`.
    ///
    /// # Errors
    ///
    /// [`EngineError::Set`] when a source or a target takes no part, or the one does not act on the other;
    /// [`EngineError::Memory`] when one source cannot be taken away in the memory allowed; [`EngineError::NotFinite`].
    pub fn in_segment(&self, edges: &[(Node, Node)], share: f64) -> Result<Vec<f64>, EngineError> {
        let mut by_target: BTreeMap<Layer, Vec<usize>> = BTreeMap::new();
        for (at, (_, target)) in edges.iter().enumerate() {
            by_target.entry(target.layer).or_default().push(at);
        }
        let mut lost = vec![0.0; edges.len()];
        for (target, of_target) in by_target {
            let edges_of: Vec<(Node, Node)> = of_target.iter().map(|&at| edges[at]).collect();
            for (at, value) in of_target.into_iter().zip(self.of_target(target, &edges_of, share)?) {
                lost[at] = value;
            }
        }
        self.check_finite("the effect of a node in a segment", &lost)?;
        Ok(lost)
    }

    fn of_target(&self, target: Layer, edges: &[(Node, Node)], share: f64) -> Result<Vec<f64>, EngineError> {
        let b = &self.model.backend;
        let components = self.components(edges.iter().map(|&(_, node)| node))?;
        let function = self.function(target, &components)?;
        let leaves = function.leaves();
        let hosted: Vec<Vec<B::Element>> = leaves.iter().map(|leaf| b.download(leaf)).collect::<Result<_, _>>()?;
        let removed = numbered(edges.iter().map(|&(source, _)| source));
        for &source in removed.keys() {
            self.slot(source)?;
            if !function.sources.contains(&source.layer) {
                return Err(self.no_node(source));
            }
        }
        let positions = self.positions();
        let mut lost = vec![0.0; edges.len()];
        let nodes: Vec<Node> = removed.keys().copied().collect();
        for (chunk, first) in chunks(&nodes, self.at_once(nodes.len())?) {
            let mut varied = Vec::with_capacity(leaves.len());
            for ((leaf, values), &layer) in leaves.iter().zip(&hosted).zip(&function.sources) {
                let width = b.shape(leaf)[2];
                // As it was recorded, and then without each.
                let mut items = values.repeat(chunk.len() + 1);
                for (item, &node) in chunk.iter().enumerate().filter(|(_, node)| node.layer == layer) {
                    let row = ((item + 1) * positions + node.position) * width;
                    let entries =
                        if layer.is_embedding() { 0..width } else { self.slot(node).map(|slot| slot..slot + 1)? };
                    for value in &mut items[row + entries.start..row + entries.end] {
                        *value = B::Element::from_f64(value.to_f64() * (1.0 - share));
                    }
                }
                varied.push(b.upload_vec(items, &[chunk.len() + 1, positions, width])?);
            }
            let pre = function.evaluate(&varied, None)?;
            let here: Vec<usize> = (0..edges.len())
                .filter(|&edge| (first..first + chunk.len()).contains(&removed[&edges[edge].0]))
                .collect();
            let index = |item: usize, node: Node| {
                let slot = components.binary_search(&node.component).unwrap_or_default();
                (item * positions + node.position) * components.len() + slot
            };
            let indices = here.iter().flat_map(|&edge| {
                let (source, target) = edges[edge];
                [index(0, target), index(removed[&source] - first + 1, target)]
            });
            let values = b.download_vec(b.gather(&pre, &indices.collect::<Vec<_>>())?)?;
            for (&edge, pair) in here.iter().zip(values.chunks_exact(2)) {
                lost[edge] = pair[0].to_f64() - pair[1].to_f64();
            }
        }
        Ok(lost)
    }

    /// The components that targets of a layer are, ascending.
    pub(super) fn components(&self, targets: impl Iterator<Item = Node>) -> Result<Vec<usize>, EngineError> {
        let mut components = Vec::new();
        for node in targets {
            self.check_target(node)?;
            components.push(node.component);
        }
        components.sort_unstable();
        components.dedup();
        Ok(components)
    }

    pub(super) fn function(&self, target: Layer, components: &[usize]) -> Result<Function<'_, B>, BackendError> {
        let sources = self.sources(target);
        Ok(Function {
            model: self.model,
            recorded: &self.recorded,
            reader: self.recorded.reader(self.model, target, components)?,
            target,
            has_deltas: self.at_target,
            through: self.deltas(&sources),
            sources: sources.into_iter().map(|(layer, _)| layer).collect(),
        })
    }
}

impl<B: AttributionBackend> Function<'_, B> {
    /// What each source gave in the forward pass: component activations, or embeddings.
    pub(super) fn leaves(&self) -> Vec<B::Tensor> {
        let leaf =
            |source| self.recorded.layers.get(source).map_or(&self.recorded.embedding, |layer| &layer.post).clone();
        self.sources.iter().map(leaf).collect()
    }
}

/// Some nodes at a time, each time with how many came before.
pub(super) fn chunks(nodes: &[Node], at_once: usize) -> impl Iterator<Item = (&[Node], usize)> {
    nodes.chunks(at_once.max(1)).enumerate().map(move |(number, chunk)| (chunk, number * at_once.max(1)))
}
