//! Every target's attributions, each by its route, in the order of the pair table.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use tributary_backend::AttributionBackend;
use tributary_model::{AliveEntries, Layer, Pair};

use crate::closed_form::{Context, ResidualReads, Transport, attention, elementwise, unembedding};
use crate::edges::{Edges, LayerEntries};
use crate::entry_values::{EntryValues, RecordedEntries};
use crate::recorded_pass::RecordedPass;
use crate::route::Route;
use crate::sink::Emit;
use crate::timings::StageClock;
use crate::{EngineError, Method, Model, Progress, autograd};

/// Emits the values of every pair of the pair table for every set, in the order of the pair table.
pub(crate) fn attribute<B: AttributionBackend>(
    model: &Model<B>,
    forward: &RecordedPass<B::Tensor>,
    entries: RecordedEntries<'_, B::Element>,
    method: Method,
    clock: &mut StageClock<'_>,
    progress: &mut dyn FnMut(Progress),
    emit: &mut Emit<'_, B::Element>,
) -> Result<(), EngineError> {
    let through_deltas = forward.deltas.is_some();
    let route = |target: Layer| model.route(target, method, through_deltas);
    // The pair table is ordered by target.
    let targets: Vec<&[Pair]> = model.pairs.chunk_by(|a, b| a.target == b.target).collect();
    let differentiated = |pairs: &&&[Pair]| route(pairs[0].target) == Route::Autograd;
    let mut by_autograd: BTreeMap<Layer, autograd::Target<'_>> = targets
        .iter()
        .filter(differentiated)
        .map(|pairs| (pairs[0].target, autograd::Target::new(pairs, entries.alive, through_deltas)))
        .collect();
    let passes = by_autograd.values().map(autograd::Target::passes).sum();
    let mut done = 0;

    let context = context(model, forward, entries);
    let mut edges = Edges::new(model, emit);
    let mut reads = ResidualReads::new(&context)?;
    let last_read = targets.iter().rposition(|pairs| route(pairs[0].target) == Route::Residual);
    let last_read = last_read.map(|at| targets[at][0].target);
    let mut transport = Transport::new(&context);
    for together in targets.chunk_by(|a, b| a[0].target.reading() == b[0].target.reading()) {
        let layers: Vec<Layer> = together.iter().map(|pairs| pairs[0].target).collect();
        let first = layers[0];
        match route(first) {
            Route::Residual => {
                clock.time(
                    |stages| &mut stages.residual,
                    || reads.read(model.norm_before(first), &layers, &mut edges),
                )?;
            }
            Route::Transport => {
                clock.time(
                    |stages| &mut stages.residual,
                    || layers.iter().try_for_each(|&layer| transport.read(layer, &mut edges)),
                )?;
            }
            Route::Attention => {
                clock.time(|stages| &mut stages.attention, || attention::attribute(&context, first, &mut edges))?;
            }
            Route::Elementwise => {
                clock.time(|stages| &mut stages.elementwise, || elementwise::attribute(&context, first, &mut edges))?;
            }
            Route::Unembedding => {
                let source = together[0][0].source;
                clock.time(|stages| &mut stages.residual, || unembedding::attribute(&context, source, &mut edges))?;
            }
            Route::Autograd => {
                for target in layers.iter().filter_map(|layer| by_autograd.remove(layer)) {
                    let mut pass_done = || {
                        done += 1;
                        progress(Progress::Backward { done, passes });
                    };
                    clock.time(
                        |stages| &mut stages.autograd,
                        || target.attribute(model, forward, &mut edges, &mut pass_done),
                    )?;
                }
            }
        }
        // Past a writer that is not decomposed no target has a residual route.
        if first.role().writes_residual() && last_read.is_some_and(|last| first < last) {
            reads.write(first)?;
        }
    }
    Ok(())
}

fn context<'a, B: AttributionBackend>(
    model: &'a Model<B>,
    forward: &'a RecordedPass<B::Tensor>,
    RecordedEntries { alive, values }: RecordedEntries<'a, B::Element>,
) -> Context<'a, B> {
    let (mut sources, mut targets) = (BTreeMap::new(), BTreeMap::new());
    for layer in alive.layers() {
        let (all, wanted) = (alive.of(layer), alive.targets(layer));
        let known = values.get(&layer).cloned().unwrap_or_else(|| EntryValues::none(all.len()));
        let target = (wanted != all).then(|| {
            let cut = |values: &[Vec<B::Element>]| -> Vec<Vec<B::Element>> {
                all.iter().zip(wanted).zip(values).map(|((all, wanted), values)| of_some(all, wanted, values)).collect()
            };
            let known = EntryValues { pre: cut(&known.pre), mask: cut(&known.mask) };
            Rc::new(LayerEntries::new(forward, layer, wanted, known))
        });
        let source = Rc::new(LayerEntries::new(forward, layer, all, known));
        targets.insert(layer, target.unwrap_or_else(|| Rc::clone(&source)));
        sources.insert(layer, source);
    }
    Context { model, forward, sources, targets }
}

/// Of values of all entries, those of some.
pub(crate) fn of_some<E: Copy>(all: &Arc<AliveEntries>, some: &Arc<AliveEntries>, values: &[E]) -> Vec<E> {
    if values.is_empty() {
        return Vec::new();
    }
    some.iter().filter_map(|(position, component)| Some(values[all.row_of(position, component)?])).collect()
}
