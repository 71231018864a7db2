//! Sources taken away from the whole forward pass.

use std::collections::BTreeMap;

use tributary_backend::{AttributionBackend, Element};
use tributary_model::Layer;

use super::in_segment::chunks;
use super::{Effects, Node, numbered};
use crate::EngineError;
use crate::pass::{Delta, Edit, Masks, Pass};
use crate::recorded_pass::RecordedPass;
use crate::support::{SetSupports, Slots, Supports};

impl<B: AttributionBackend> Effects<'_, B> {
    /// For each edge, a source and a target, what the target's activation loses when the source's activation is 0 (of `wte` the
    /// token's embedding) and everything behind it is computed anew: masks and attention with what they now read, at the target
    /// model's activations also what no component holds. In the order of `edges`.
    ///
    /// # Errors
    ///
    /// As [`in_segment`](Self::in_segment).
    pub fn in_model(&self, edges: &[(Node, Node)]) -> Result<Vec<f64>, EngineError> {
        let model = self.model;
        for &(source, target) in edges {
            self.slot(source)?;
            self.check_target(target)?;
        }
        let mut by_target: BTreeMap<Layer, Vec<usize>> = BTreeMap::new();
        for (at, (_, target)) in edges.iter().enumerate() {
            by_target.entry(target.layer).or_default().push(at);
        }
        let removed = numbered(edges.iter().map(|&(source, _)| source));
        let nodes: Vec<Node> = removed.keys().copied().collect();
        let mut lost = vec![0.0; edges.len()];
        for (chunk, first) in chunks(&nodes, self.at_once(nodes.len())?) {
            let items = chunk.len() + 1;
            // As it was recorded, and then without each.
            let edit = |(item, &Node { layer, position, component }): (usize, &Node)| Edit {
                item: item + 1,
                layer,
                position,
                component,
                value: 0.0,
            };
            let edits: Vec<Edit> = chunk.iter().enumerate().map(edit).collect();
            let pass = if self.at_target {
                Pass { masks: Masks::Ones, delta: Delta::Stopped, edits: &edits }
            } else {
                Pass { edits: &edits, ..Pass::masked(&vec![self.set; items]) }
            };
            let tokens = vec![self.set.prompt.tokens.as_slice(); items];
            let forward = RecordedPass::run(model, &tokens, &pass, self.taking_part(edges))?;
            let last = forward.last.with(&self.recorded.last.contrasts);
            let forward = RecordedPass { last, ..forward };
            for (&target, of_target) in &by_target {
                let is_here = |edge: &&usize| (first..first + chunk.len()).contains(&removed[&edges[**edge].0]);
                let here: Vec<usize> = of_target.iter().filter(is_here).copied().collect();
                let entries = here.iter().flat_map(|&edge| {
                    let (source, target) = edges[edge];
                    [(0, target), (removed[&source] - first + 1, target)]
                });
                let values = self.activations(&forward, target, &entries.collect::<Vec<_>>())?;
                for (&edge, pair) in here.iter().zip(values.chunks_exact(2)) {
                    lost[edge] = pair[0] - pair[1];
                }
            }
        }
        self.check_finite("the effect of a node in the whole model", &lost)?;
        Ok(lost)
    }

    /// The components of a pass that sources are taken away from: where nothing else is masked, those that are looked at.
    fn taking_part(&self, edges: &[(Node, Node)]) -> Supports {
        if !self.at_target {
            return SetSupports::new(self.set, self.thresholds).components();
        }
        let mut layers: BTreeMap<Layer, Vec<usize>> = BTreeMap::new();
        let nodes = edges.iter().flat_map(|&(source, target)| [source, target]);
        for node in nodes.filter(|node| self.model.component_counts.contains_key(&node.layer)) {
            layers.entry(node.layer).or_default().push(node.component);
        }
        for components in layers.values_mut() {
            components.sort_unstable();
            components.dedup();
        }
        Supports { layers, zero_is_alive: true }
    }

    /// Activations of nodes of a layer in items of a pass, each an item and a node.
    fn activations(
        &self,
        forward: &RecordedPass<B::Tensor>,
        layer: Layer,
        entries: &[(usize, Node)],
    ) -> Result<Vec<f64>, EngineError> {
        if entries.is_empty() {
            return Ok(Vec::new());
        }
        let b = &self.model.backend;
        let row = |item: usize, node: Node| item * self.positions() + node.position;
        if let Some(recorded) = forward.layers.get(&layer) {
            let (slots, width) = (Slots::new(&recorded.components), recorded.components.len());
            let index = |&(item, node): &(usize, Node)| Some(row(item, node) * width + slots.find(node.component)?);
            let indices: Option<Vec<usize>> = entries.iter().map(index).collect();
            let indices = indices.ok_or_else(|| self.no_node(entries[0].1))?;
            let values = b.download_vec(b.gather(&recorded.post, &indices)?)?;
            return Ok(values.iter().map(|value| value.to_f64()).collect());
        }
        let components = self.components(entries.iter().map(|&(_, node)| node))?;
        let reader = forward.reader(self.model, layer, &components)?;
        let shape = b.shape(&forward.last.rows);
        let rows: Vec<usize> = entries.iter().map(|&(item, node)| row(item, node)).collect();
        let flat = b.reshape(&forward.last.rows, &[shape[0] * shape[1], shape[2]])?;
        let read = b.matmul(&b.select(&flat, 0, &rows)?, &reader)?;
        let slot = |node: Node| components.binary_search(&node.component).unwrap_or_default();
        let indices: Vec<usize> =
            entries.iter().enumerate().map(|(at, &(_, node))| at * components.len() + slot(node)).collect();
        let values = b.download_vec(b.gather(&read, &indices)?)?;
        let constants =
            forward.last.constants(b, entries.iter().map(|&(item, node)| (row(item, node), node.component)))?;
        Ok(values.iter().zip(constants).map(|(value, constant)| value.to_f64() + constant).collect())
    }
}
