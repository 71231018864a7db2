//! Which layers act on which: the pair table.

use std::collections::{BTreeMap, BTreeSet};

use crate::{Layer, Projection};

/// A source layer and a target layer joined by a gradient path that no detach cuts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pair {
    /// Where the attribution starts.
    pub source: Layer,
    /// Where it leads.
    pub target: Layer,
    /// Whether a source entry acts on target entries at later positions too (`s_in <= s_out`), or only at its own
    /// (`s_in = s_out`).
    pub crosses_positions: bool,
}

impl Pair {
    /// Whether this is a key or value projection acting on the output projection of its own block.
    pub fn is_kv_to_o_pair(&self) -> bool {
        match (self.source, self.target) {
            (Layer::Linear { block: a, projection: from }, Layer::Linear { block: b, projection: Projection::O }) => {
                a == b && matches!(from, Projection::K | Projection::V)
            }
            _ => false,
        }
    }
}

/// All pairs of a model of `n_blocks` blocks in which the layers in `decomposed` are decomposed.
///
/// Gradient flows from a target's input back to the nearest decomposed layers, each of which detaches, and to the
/// embedding. It passes through linear layers that were left undecomposed, and crosses positions where it passes from
/// the output of an attention to its keys and values. Pairs are ordered by target, then source, as data flows.
pub fn pair_table(n_blocks: usize, decomposed: &BTreeSet<Layer>) -> Vec<Pair> {
    let targets = decomposed.iter().copied().chain([Layer::Output]);
    targets
        .flat_map(|target| {
            sources(target, n_blocks, decomposed).into_iter().map(move |(source, crosses_positions)| Pair {
                source,
                target,
                crosses_positions,
            })
        })
        .collect()
}

/// Source layers of `target`, each with whether any path from it crosses positions.
fn sources(target: Layer, n_blocks: usize, decomposed: &BTreeSet<Layer>) -> BTreeMap<Layer, bool> {
    let mut found = BTreeMap::new();
    let mut seen = BTreeSet::new();
    let mut open: Vec<(Layer, bool)> = inputs(target, n_blocks);
    while let Some((layer, crosses)) = open.pop() {
        if !seen.insert((layer, crosses)) {
            continue;
        }
        if layer == Layer::Wte || decomposed.contains(&layer) {
            *found.entry(layer).or_insert(false) |= crosses;
        } else {
            open.extend(inputs(layer, n_blocks).into_iter().map(|(input, also)| (input, crosses || also)));
        }
    }
    found
}

/// The layers whose outputs a layer's input is made of, each with whether it is read at earlier positions too.
fn inputs(layer: Layer, n_blocks: usize) -> Vec<(Layer, bool)> {
    match layer {
        Layer::Wte => Vec::new(),
        Layer::Output => residual(n_blocks, false),
        Layer::Linear { block, projection } => match projection {
            Projection::Q | Projection::K | Projection::V => residual(block, false),
            Projection::O => [(Projection::Q, false), (Projection::K, true), (Projection::V, true)]
                .map(|(projection, crosses)| (Layer::linear(block, projection), crosses))
                .to_vec(),
            Projection::CFc => residual(block, true),
            Projection::DownProj => vec![(Layer::linear(block, Projection::CFc), false)],
        },
    }
}

/// What the residual stream is the sum of before block `block`, or between its attention and its MLP.
fn residual(block: usize, after_attention: bool) -> Vec<(Layer, bool)> {
    let writers = (0..block).flat_map(|block| [Projection::O, Projection::DownProj].map(|p| Layer::linear(block, p)));
    let own_attention = after_attention.then(|| Layer::linear(block, Projection::O));
    [Layer::Wte].into_iter().chain(writers).chain(own_attention).map(|layer| (layer, false)).collect()
}
