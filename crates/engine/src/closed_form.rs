//! Attributions without a backward pass.
//!
//! When every linear layer is decomposed, only three kinds of segment lie between a leaf and the next detach, and each
//! has a gradient that can be written down: a read of the residual stream ([`residual`]), the nonlinearity of an MLP
//! ([`elementwise`]) and an attention ([`attention`]). The backend multiplies matrices, those of weights alone once for
//! the support of the batch; every edge is then a few operations on the host, written in its place. What comes back from
//! the device are these factors, which are fewer than the edges.

mod attention;
mod edges;
mod elementwise;
mod residual;

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use tributary_backend::AttributionBackend;
use tributary_model::{AliveEntries, Layer, Role};

pub(crate) use self::edges::CHUNK;
use self::edges::{Edges, LayerEntries};
pub(crate) use self::elementwise::products_at_once;
use self::residual::ResidualReads;
use crate::batch::Batch;
use crate::batch_alive::BatchAlive;
use crate::engine::Activations;
use crate::masked::MaskedForward;
use crate::sink::Emit;
use crate::timings::time;
use crate::{EngineError, Model, Stages};

/// A layer for which the closed form does not cover a model: one that is not decomposed. `None` when it covers it.
pub(crate) fn uncovered<B: AttributionBackend>(model: &Model<B>) -> Option<Layer> {
    model.architecture.linear_layers().find(|layer| !model.component_counts.contains_key(layer))
}

/// What every segment's computation starts from.
struct Context<'a, B: AttributionBackend> {
    model: &'a Model<B>,
    forward: &'a MaskedForward<B::Tensor>,
    /// Of every layer, what is alive.
    sources: BTreeMap<Layer, Rc<LayerEntries<'a, B::Element>>>,
    /// Of every layer, what attributions are wanted to; the same thing unless only some are.
    targets: BTreeMap<Layer, Rc<LayerEntries<'a, B::Element>>>,
}

/// Emits the values of every pair of the pair table for every set, in the order of the pair table.
///
/// # Panics
///
/// When a layer of the model is [not covered](uncovered).
pub(crate) fn attribute<B: AttributionBackend>(
    model: &Model<B>,
    batch: &Batch<'_>,
    forward: &MaskedForward<B::Tensor>,
    alive: &BatchAlive,
    activations: &Activations<B::Element>,
    stages: &mut Stages,
    emit: &mut Emit<'_, B::Element>,
) -> Result<(), EngineError> {
    let (mut sources, mut targets) = (BTreeMap::new(), BTreeMap::new());
    for layer in alive.layers() {
        let (all, wanted) = (alive.of(layer), alive.targets(layer));
        let none = vec![Vec::new(); all.len()];
        let known = activations.get(&layer).unwrap_or(&none);
        let source = Rc::new(LayerEntries::new(batch, forward, layer, all, known.clone()));
        let target = if wanted == all {
            Rc::clone(&source)
        } else {
            let known = all.iter().zip(wanted).zip(known).map(|((all, wanted), known)| of_some(all, wanted, known));
            Rc::new(LayerEntries::new(batch, forward, layer, wanted, known.collect()))
        };
        sources.insert(layer, source);
        targets.insert(layer, target);
    }
    let context = Context { model, forward, sources, targets };
    let mut edges = Edges::new(model, emit);
    let mut reads = ResidualReads::new(&context)?;
    for (block, [attention_norm, mlp_norm]) in model.norms.iter().enumerate() {
        let at = |role| model.architecture.layer(block, role);
        time(&mut stages.residual, || {
            reads.read(attention_norm, &[at(Role::Query), at(Role::Key), at(Role::Value)], &mut edges)
        })?;
        time(&mut stages.attention, || attention::attribute(&context, block, &mut edges))?;
        reads.write(at(Role::AttentionOutput))?;
        time(&mut stages.residual, || reads.read(mlp_norm, &[at(Role::MlpUp)], &mut edges))?;
        let (source, target) = (at(Role::MlpUp), at(Role::MlpDown));
        time(&mut stages.elementwise, || elementwise::attribute(&context, source, target, &mut edges))?;
        reads.write(target)?;
    }
    time(&mut stages.residual, || reads.read(&model.ln_f, &[Layer::output()], &mut edges))
}

/// Of values of all entries, those of some.
fn of_some<E: Copy>(all: &Arc<AliveEntries>, some: &Arc<AliveEntries>, values: &[E]) -> Vec<E> {
    if values.is_empty() {
        return Vec::new();
    }
    some.iter().filter_map(|(position, component)| Some(values[all.row_of(position, component)?])).collect()
}
