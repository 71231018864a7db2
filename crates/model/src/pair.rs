//! Which layers act on which: the pair table.

use std::collections::{BTreeMap, BTreeSet};

use crate::{Layer, Role};

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
        let reads_past = matches!(self.source.role(), Role::Key | Role::Value | Role::QueryKeyValue);
        reads_past && self.target.role() == Role::AttentionOutput && self.source.shares_block(self.target)
    }
}

/// All pairs of a model with these `linear` layers, of which those in `decomposed` are decomposed.
///
/// Gradient flows from a target's input back to the nearest decomposed layers, each of which detaches, and to the
/// embedding. It passes through linear layers that were left undecomposed, and crosses positions where it passes from
/// the output of an attention to its keys and values. Pairs are ordered by target, then source, as data flows.
pub fn pair_table(linear: &[Layer], decomposed: &BTreeSet<Layer>) -> Vec<Pair> {
    let targets = decomposed.iter().copied().chain([Layer::output()]);
    targets
        .flat_map(|target| {
            sources(target, linear, decomposed).into_iter().map(move |(source, crosses_positions)| Pair {
                source,
                target,
                crosses_positions,
            })
        })
        .collect()
}

/// Source layers of `target`, each with whether any path from it crosses positions.
fn sources(target: Layer, linear: &[Layer], decomposed: &BTreeSet<Layer>) -> BTreeMap<Layer, bool> {
    let mut found = BTreeMap::new();
    let mut seen = BTreeSet::new();
    let mut open: Vec<(Layer, bool)> = inputs(target, linear);
    while let Some((layer, crosses)) = open.pop() {
        if !seen.insert((layer, crosses)) {
            continue;
        }
        if layer.is_embedding() || decomposed.contains(&layer) {
            *found.entry(layer).or_insert(false) |= crosses;
        } else {
            open.extend(inputs(layer, linear).into_iter().map(|(input, also)| (input, crosses || also)));
        }
    }
    found
}

/// The layers whose outputs a layer's input is made of, each with whether it is read at earlier positions too.
fn inputs(layer: Layer, linear: &[Layer]) -> Vec<(Layer, bool)> {
    let of_block = |roles: &[(Role, bool)]| {
        let find = |&(role, crosses): &(Role, bool)| {
            let found = linear.iter().find(|other| other.shares_block(layer) && other.role() == role)?;
            Some((*found, crosses))
        };
        roles.iter().filter_map(find).collect()
    };
    match layer.role() {
        Role::Embedding | Role::TokenEmbedding => Vec::new(),
        Role::Query | Role::Key | Role::Value | Role::QueryKeyValue | Role::MlpGate | Role::MlpUp => {
            residual(layer, linear)
        }
        Role::AttentionOutput => {
            of_block(&[(Role::Query, false), (Role::Key, true), (Role::Value, true), (Role::QueryKeyValue, true)])
        }
        Role::MlpDown => of_block(&[(Role::MlpGate, false), (Role::MlpUp, false)]),
        Role::Unembedding => residual(layer, linear),
        Role::Output => match linear.iter().find(|layer| layer.role() == Role::Unembedding) {
            Some(&unembedding) => vec![(unembedding, false)],
            None => residual(layer, linear),
        },
    }
}

/// What the residual stream that `reader` reads is the sum of: the embedding and all that is written before.
fn residual(reader: Layer, linear: &[Layer]) -> Vec<(Layer, bool)> {
    let writers = linear.iter().copied().filter(|layer| layer.role().writes_residual() && *layer < reader);
    let is_decomposed = linear.iter().any(|layer| layer.role() == Role::TokenEmbedding);
    let embedding = (!is_decomposed).then(Layer::wte);
    embedding.into_iter().chain(writers).map(|layer| (layer, false)).collect()
}
