//! Attributions without a backward pass.
//!
//! When every linear layer is decomposed, only three kinds of segment lie between a leaf and the next detach, and each
//! has a gradient that can be written down: a read of the residual stream ([`residual`]), the nonlinearity of an MLP
//! ([`elementwise`]) and an attention ([`attention`]). What depends on weights alone is computed once for the alive
//! union; the backend multiplies matrices, and every edge is then a few operations on the host, written in its place.

mod attention;
mod edges;
mod elementwise;
mod residual;

use std::collections::BTreeMap;
use std::rc::Rc;

use tributary_backend::{AttributionBackend, BackendError};

use self::edges::LayerEntries;
use self::residual::ResidualReads;
use crate::batch_alive::BatchAlive;
use crate::masked::MaskedForward;
use crate::{Layer, Model, Projection};

/// A layer for which the closed form does not cover a model: one that is not decomposed. `None` when it covers it.
pub(crate) fn uncovered<B: AttributionBackend>(model: &Model<B>) -> Option<Layer> {
    model.architecture.linear_layers().find(|layer| !model.component_counts.contains_key(layer))
}

/// Values of one pair for every set: `[set]`, in the order of [`PairAttribution`](crate::PairAttribution).
type PairValues<E> = Vec<Vec<E>>;

/// What every segment's computation starts from.
struct Context<'a, B: AttributionBackend> {
    model: &'a Model<B>,
    forward: &'a MaskedForward<B::Tensor>,
    /// Of every layer, what is alive.
    sources: BTreeMap<Layer, Rc<LayerEntries<'a, B::Element>>>,
    /// Of every layer, what attributions are wanted to; the same thing unless only some are.
    targets: BTreeMap<Layer, Rc<LayerEntries<'a, B::Element>>>,
}

/// Values of every pair of the pair table for every set: `[pair][set]`.
///
/// # Panics
///
/// When a layer of the model is [not covered](uncovered).
pub(crate) fn attribute<B: AttributionBackend>(
    model: &Model<B>,
    forward: &MaskedForward<B::Tensor>,
    alive: &BatchAlive,
) -> Result<Vec<PairValues<B::Element>>, BackendError> {
    let (mut sources, mut targets) = (BTreeMap::new(), BTreeMap::new());
    for layer in alive.layers() {
        let source = Rc::new(LayerEntries::new(model, forward, alive, layer, alive.of(layer))?);
        let target = if alive.targets(layer) == alive.of(layer) {
            Rc::clone(&source)
        } else {
            Rc::new(LayerEntries::new(model, forward, alive, layer, alive.targets(layer))?)
        };
        sources.insert(layer, source);
        targets.insert(layer, target);
    }
    let context = Context { model, forward, sources, targets };
    let mut found = BTreeMap::new();
    let mut reads = ResidualReads::new(&context)?;
    for (block, [attention_norm, mlp_norm]) in model.norms.iter().enumerate() {
        let at = |projection| Layer::linear(block, projection);
        reads.read(attention_norm, &[at(Projection::Q), at(Projection::K), at(Projection::V)], &mut found)?;
        attention::attribute(&context, block, &mut found)?;
        reads.write(at(Projection::O))?;
        reads.read(mlp_norm, &[at(Projection::CFc)], &mut found)?;
        let (source, target) = (at(Projection::CFc), at(Projection::DownProj));
        found.insert((source, target), elementwise::attribute(&context, source, target)?);
        reads.write(at(Projection::DownProj))?;
    }
    reads.read(&model.ln_f, &[Layer::Output], &mut found)?;
    let take = |pair: &crate::Pair| found.remove(&(pair.source, pair.target));
    Ok(model.pairs.iter().map(take).map(|values| values.expect("every pair is one of three kinds")).collect())
}
