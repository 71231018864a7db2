//! The model's own causal importances, and what is originally alive under them.

use std::collections::BTreeMap;
use std::sync::Arc;

use tributary_backend::{AttributionBackend, BackendError};
use tributary_model::{AliveEntries, CausalImportances, CiSet, Layer, Prompt, Thresholds, alive_components};

use crate::batch::Batch;
use crate::check::{check_ci, check_probs};
use crate::forward::{Flow, Halt, Visitor, forward};
use crate::masked::MaskedForward;
use crate::output::Logits;
use crate::sequence::Sequence;
use crate::support::SetSupports;
use crate::{EngineError, Model};

/// The model's own causal importances on a prompt, as a set of the given name.
///
/// One forward pass of the *undecomposed* model; each decomposed layer's input goes through its causal-importance
/// function.
pub fn model_ci<B: AttributionBackend>(model: &Model<B>, name: &str, prompt: &Prompt) -> Result<CiSet, BackendError> {
    let sequence = Sequence::new(model, prompt.tokens.len())?;
    let mut visitor = Undecomposed { model, tokens: &prompt.tokens, layers: BTreeMap::new() };
    match forward(model, &sequence, &mut visitor) {
        Ok(_) => Ok(CiSet { name: name.to_owned(), prompt: prompt.clone(), layers: visitor.layers }),
        Err(Halt::Failed(error)) => Err(error),
        Err(Halt::Reached(_)) => unreachable!("runs to the logits"),
    }
}

/// Entries of every layer that are alive under the model's own causal importances on a prompt.
pub(crate) type OriginalAlive = BTreeMap<Layer, Arc<AliveEntries>>;

/// Applies to the model's own causal importances the rules that say what of a set is alive.
pub(crate) fn original_alive<B: AttributionBackend>(
    model: &Model<B>,
    own: &CiSet,
    thresholds: Thresholds,
) -> Result<OriginalAlive, EngineError> {
    check_ci(own)?;
    let batch = Batch::new(&[own]);
    let forward = MaskedForward::run(model, &batch, SetSupports::new(own, thresholds).components())?;
    let logits = Logits::compute(model, &forward, 0..1)?;
    let mut alive: OriginalAlive =
        own.layers.iter().map(|(&layer, ci)| (layer, Arc::new(alive_components(ci, thresholds.ci)))).collect();
    alive.insert(Layer::wte(), Arc::new(AliveEntries::every_position(batch.positions())));
    for set in logits.by_set() {
        let output = set.normalise(model.architecture.vocab, thresholds.output_prob);
        check_probs(&own.name, &output.probs)?;
        alive.insert(Layer::output(), Arc::new(output.alive));
    }
    Ok(alive)
}

struct Undecomposed<'a, B: AttributionBackend> {
    model: &'a Model<B>,
    tokens: &'a [u32],
    layers: BTreeMap<Layer, CausalImportances>,
}

impl<B: AttributionBackend> Visitor<B> for Undecomposed<'_, B> {
    fn embedding(&mut self) -> Flow<B> {
        Ok(self.model.embed(&[self.tokens])?)
    }

    fn layer(&mut self, layer: Layer, input: impl FnOnce(&mut Self) -> Flow<B>) -> Flow<B> {
        let x = input(self)?;
        if let Some(network) = self.model.ci_networks.get(&layer) {
            let values = network.evaluate(&self.model.backend, &x, &self.model.components[&layer].v)?;
            let components = self.model.component_counts[&layer];
            self.layers.insert(layer, CausalImportances { components, values });
        }
        Ok(self.model.apply_linear(layer, &x)?)
    }
}
