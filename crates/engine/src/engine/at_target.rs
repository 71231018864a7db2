//! Attributions at the target model's activations: what the sets of a prompt have in common is computed once for all.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;

use tributary_backend::{AttributionBackend, Element};
use tributary_model::{CiSet, Layer, SetAttributions};

use super::{Evaluated, PromptFacts, Run};
use crate::batch::Batch;
use crate::batch_alive::BatchAlive;
use crate::by_route::{self, of_some};
use crate::check::{all_finite, check_activations, check_finite};
use crate::cut::Cut;
use crate::deltas::Deltas;
use crate::entry_values::{EntryValues, RecordedEntries};
use crate::last::Last;
use crate::pass::Pass;
use crate::recorded_pass::RecordedPass;
use crate::support::Supports;
use crate::timings::{StageClock, time};
use crate::{DeltaGradient, EngineError, Forward, Progress, Sink, Timings};

/// The sets of one prompt, after their masked forward passes.
pub(super) struct OfPrompt<'a, T> {
    /// Indices of the sets among all.
    pub(super) members: &'a [usize],
    pub(super) sets: &'a [&'a CiSet],
    /// What is unembedded of a batch that they are in, and where in it each is.
    pub(super) last: &'a Last<T>,
    pub(super) items: &'a [usize],
    pub(super) facts: &'a PromptFacts<T>,
}

impl<B: AttributionBackend> Run<'_, B> {
    /// Computes and hands on the graphs of the sets of one prompt. `deltas` are there where gradients pass through them.
    pub(super) fn at_target(
        &self,
        OfPrompt { members, sets, last, items, facts }: OfPrompt<'_, B::Tensor>,
        deltas: Option<&Arc<Deltas<B::Tensor>>>,
        timings: &mut Timings,
        sink: &mut dyn Sink<B::Element>,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<(), EngineError> {
        let (model, b) = (self.model, &self.model.backend);
        let wanted = self.wanted(members);
        let batch = Batch::new(sets);
        let mut alive = BatchAlive::new(&batch, self.request.thresholds, self.until(members), wanted.as_deref());
        let union = alive.union();
        let of_all = |layer| union.of(layer)[0].component_union();
        let layers = model.component_counts.keys().map(|&layer| (layer, of_all(layer))).collect();
        let supports = Supports { layers, zero_is_alive: true };
        let tokens = &sets[0].prompt.tokens;
        let forward = time(&mut timings.forward, || RecordedPass::run(model, &[tokens], &Pass::of_target(), supports))?;
        let target_last = forward.last.with(&facts.last.contrasts);
        let mut forward = RecordedPass { deltas: deltas.map(Arc::clone), last: target_last, ..forward };
        let mut of_union = EntryValues::of_layers(b, &forward, &union)?;
        for (&layer, of_layer) in &of_union {
            check_activations(&sets[0].name, layer, &of_layer.pre[0])?;
        }
        let mut values = of_sets(&alive, &union, &of_union);
        values.insert(Layer::output(), EntryValues::none(0));
        let mut target = None;
        for (at, &set) in sets.iter().enumerate() {
            let Evaluated { output, prediction } =
                self.evaluate(members[at], set, (last, items[at]), facts, &mut target, timings)?;
            let logits = facts.last.logits(b, &output.alive.iter().collect::<Vec<_>>())?;
            check_activations(&set.name, Layer::output(), &logits)?;
            alive.push_output(output.alive, wanted.as_ref().map(|wanted| wanted[at]));
            if let Some(of_output) = values.get_mut(&Layer::output()) {
                of_output.pre.push(logits);
                of_output.mask.push(Vec::new());
            }
            let entries = RecordedEntries { alive: &alive, values: &values };
            let graph = self.begin(set, at, entries, facts.original.as_ref(), (output.importance, output.probs));
            let graph = SetAttributions { prediction: Some(prediction), ..graph };
            time(&mut timings.sink, || sink.begin(members[at], graph)).map_err(EngineError::Sink)?;
        }
        if self.values {
            let union = alive.union();
            let logits = facts.last.logits(b, &union.of(Layer::output())[0].iter().collect::<Vec<_>>())?;
            of_union.insert(Layer::output(), EntryValues { pre: vec![logits], mask: vec![Vec::new()] });
            let sink_seconds = Cell::new(0.0);
            let mut clock = StageClock { stages: &mut timings.stages, sink: &sink_seconds };
            let entries = RecordedEntries { alive: &union, values: &of_union };
            let method = self.request.method;
            let both = self.request.forward == Forward::Target(DeltaGradient::Both);
            for is_second in std::iter::once(false).chain(both.then_some(true)) {
                if is_second {
                    forward.deltas = None;
                }
                let mut cut = Cut::new(&model.pairs, &union, &alive);
                let mut emit = |pair: usize, _: usize, values: &[B::Element]| {
                    // Looked at once: which set it is of is said where something is wrong.
                    let are_finite = all_finite(values);
                    cut.hand_on(pair, values, |pair, set, values| {
                        if !are_finite {
                            check_finite(&sets[set].name, &model.pairs[pair], values)?;
                        }
                        let mut seconds = sink_seconds.get();
                        let taken = time(&mut seconds, || {
                            if is_second {
                                sink.stopped_values(members[set], pair, values)
                            } else {
                                sink.values(members[set], pair, values)
                            }
                        });
                        sink_seconds.set(seconds);
                        taken.map_err(EngineError::Sink)
                    })
                };
                by_route::attribute(model, &forward, entries, method, &mut clock, progress, &mut emit)?;
            }
            timings.sink += sink_seconds.get();
        }
        for &set in members {
            time(&mut timings.sink, || sink.end(set)).map_err(EngineError::Sink)?;
        }
        Ok(())
    }
}

/// Of what was recorded of a union's entries, what each set has.
fn of_sets<E: Element>(
    alive: &BatchAlive,
    union: &BatchAlive,
    values: &BTreeMap<Layer, EntryValues<E>>,
) -> BTreeMap<Layer, EntryValues<E>> {
    let of_layer = |(&layer, of_union): (&Layer, &EntryValues<E>)| {
        let all = &union.of(layer)[0];
        let pre: Vec<Vec<E>> = alive.of(layer).iter().map(|set| of_some(all, set, &of_union.pre[0])).collect();
        (layer, EntryValues { mask: vec![Vec::new(); pre.len()], pre })
    };
    values.iter().map(of_layer).collect()
}
