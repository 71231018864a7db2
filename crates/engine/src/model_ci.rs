//! The target model on prompts: its own causal importances, and what it predicts.

use std::collections::BTreeMap;
use std::sync::Arc;

use tributary_backend::AttributionBackend;
use tributary_model::{AliveEntries, CausalImportances, CiSet, Layer, Prompt, Role, Thresholds, alive_components};

use crate::check::{check_probs, check_prompts, check_tokens};
use crate::forward::{Flow, Halt, Visitor, forward};
use crate::last::Last;
use crate::output::Logits;
use crate::own_ci::Inputs;
use crate::pass::Pass;
use crate::recorded_pass::RecordedPass;
use crate::sequence::Sequence;
use crate::support::SetSupports;
use crate::{EngineError, Model};

/// The model's own causal importances on a prompt, as a set of the given name.
///
/// One forward pass of the *undecomposed* model; each decomposed layer's input goes through its causal-importance
/// function.
pub fn model_ci<B: AttributionBackend>(model: &Model<B>, name: &str, prompt: &Prompt) -> Result<CiSet, EngineError> {
    if let Some(reason) = model.own_ci.unknown() {
        return Err(EngineError::UnknownCi { reason: reason.to_owned() });
    }
    check_tokens(model, prompt).map_err(|problem| EngineError::Set { set: name.to_owned(), problem })?;
    let layers = target_passes(model, &[&prompt.tokens], true)?.remove(0).layers;
    Ok(CiSet { name: name.to_owned(), prompt: prompt.clone(), layers })
}

/// The model's own causal importances on a prompt, and what they come from.
#[derive(Clone, Debug, PartialEq)]
pub struct OwnImportances<E> {
    /// By layer.
    pub importances: BTreeMap<Layer, CausalImportances>,
    /// What the causal-importance functions give before their sigmoid, `[positions, C]` in row-major order.
    pub before_sigmoid: BTreeMap<Layer, Vec<E>>,
}

/// The model's own causal importances on prompts of equal length, each with what it comes from.
///
/// # Errors
///
/// [`EngineError::UnknownCi`] where the functions cannot be evaluated; [`EngineError::Set`], named by the index of the prompt,
/// when prompts differ in length or do not fit the model.
pub fn own_importances<B: AttributionBackend>(
    model: &Model<B>,
    prompts: &[&Prompt],
) -> Result<Vec<OwnImportances<B::Element>>, EngineError> {
    if let Some(reason) = model.own_ci.unknown() {
        return Err(EngineError::UnknownCi { reason: reason.to_owned() });
    }
    check_prompts(model, prompts)?;
    let tokens: Vec<&[u32]> = prompts.iter().map(|prompt| prompt.tokens.as_slice()).collect();
    let mut found: Vec<OwnImportances<B::Element>> = (0..prompts.len())
        .map(|_| OwnImportances { importances: BTreeMap::new(), before_sigmoid: BTreeMap::new() })
        .collect();
    if tokens.is_empty() {
        return Ok(found);
    }
    let keep: &mut Keep<'_, B::Element> = &mut |prompt: usize, layer, values| {
        found[prompt].importances.insert(layer, importances(model, layer, values));
        found[prompt].before_sigmoid.insert(layer, values.to_vec());
    };
    run(model, &tokens, Some(keep))?;
    Ok(found)
}

/// Causal importances of a layer, of what its function gives before its sigmoid.
fn importances<B: AttributionBackend>(
    model: &Model<B>,
    layer: Layer,
    before_sigmoid: &[B::Element],
) -> CausalImportances {
    CausalImportances::from_dense(model.component_counts[&layer], &model.own_ci.importances(before_sigmoid))
}

/// What the forward pass of the target model gives on one prompt.
pub(crate) struct TargetPass<T> {
    /// The model's own causal importances; of no layer where its function cannot be evaluated.
    pub(crate) layers: BTreeMap<Layer, CausalImportances>,
    /// What is unembedded, of one item.
    pub(crate) last: Last<T>,
}

/// Runs the undecomposed model on prompts of equal length; without its causal importances where they are not wanted.
pub(crate) fn target_passes<B: AttributionBackend>(
    model: &Model<B>,
    prompts: &[&[u32]],
    wants_ci: bool,
) -> Result<Vec<TargetPass<B::Tensor>>, EngineError> {
    let mut layers = vec![BTreeMap::new(); prompts.len()];
    let keep: &mut Keep<'_, B::Element> = &mut |prompt: usize, layer, values| {
        layers[prompt].insert(layer, importances(model, layer, values));
    };
    let last = run(model, prompts, wants_ci.then_some(keep))?;
    let pass = |(prompt, layers)| Ok(TargetPass { layers, last: last.item(&model.backend, prompt)? });
    layers.into_iter().enumerate().map(pass).collect()
}

/// Is told, by index of the prompt, what becomes causal importances of a layer, `[positions, C]`.
type Keep<'a, E> = dyn FnMut(usize, Layer, &[E]) + 'a;

/// Runs the undecomposed model on prompts of equal length; gives what is unembedded of all.
fn run<B: AttributionBackend>(
    model: &Model<B>,
    prompts: &[&[u32]],
    keep: Option<&mut Keep<'_, B::Element>>,
) -> Result<Last<B::Tensor>, EngineError> {
    let b = &model.backend;
    let sequence = Sequence::new(model, prompts[0].len())?;
    let mut visitor = Undecomposed { model, prompts, keep, inputs: Inputs::new(), failed: None };
    let last = match forward(model, &sequence, &mut visitor) {
        Err(Halt::Reached(last)) => visitor.failed.take().map_or(Ok(last), Err)?,
        Err(Halt::Failed(error)) => return Err(error.into()),
        Ok(_) => unreachable!("halts before the logits"),
    };
    if visitor.keep.is_some() {
        let inputs = std::mem::take(&mut visitor.inputs);
        for (layer, values) in model.own_ci.of_all(b, &inputs)? {
            visitor.keep(layer, &values);
        }
    }
    Ok(Last::of_target(model, last))
}

/// Entries of every layer that are alive under the model's own causal importances on a prompt.
pub(crate) type OriginalAlive = BTreeMap<Layer, Arc<AliveEntries>>;

/// Applies to the model's own causal importances the rules that say what of a set is alive.
pub(crate) fn original_alive<B: AttributionBackend>(
    model: &Model<B>,
    own: &CiSet,
    supports: &SetSupports,
    thresholds: Thresholds,
) -> Result<OriginalAlive, EngineError> {
    let forward = RecordedPass::run(model, &[&own.prompt.tokens], &Pass::masked(&[own]), supports.components())?;
    let output =
        Logits::compute(&model.backend, &forward.last, 0)?.normalise(&model.backend, &thresholds, &[], None)?;
    check_probs(&own.name, &output.probs)?;
    let mut alive: OriginalAlive =
        own.layers.iter().map(|(&layer, ci)| (layer, Arc::new(alive_components(ci, thresholds)))).collect();
    if model.architecture.token_embedding().is_none() {
        alive.insert(Layer::wte(), Arc::new(AliveEntries::every_position(own.prompt.tokens.len())));
    }
    alive.insert(Layer::output(), Arc::new(output.alive));
    Ok(alive)
}

struct Undecomposed<'a, 'k, B: AttributionBackend> {
    model: &'a Model<B>,
    prompts: &'a [&'a [u32]],
    /// `None` where causal importances are not wanted.
    keep: Option<&'a mut Keep<'k, B::Element>>,
    /// What a function of all layers reads.
    inputs: Inputs<B::Tensor>,
    /// Why a causal-importance function could not be evaluated, which ends the pass.
    failed: Option<EngineError>,
}

impl<B: AttributionBackend> Undecomposed<'_, '_, B> {
    /// Keeps what a decomposed layer's causal importances are made of, or themselves: `x` is what its function reads,
    /// `[prompts, positions, _]`.
    fn importances(&mut self, layer: Layer, x: &B::Tensor) -> Result<(), Halt<B::Tensor>> {
        if self.keep.is_none() {
            return Ok(());
        }
        let (model, b) = (self.model, &self.model.backend);
        if model.own_ci.is_global() {
            self.inputs.insert(layer, x.clone());
        }
        let [prompts, positions, width] = b.shape(x)[..] else { panic!("a layer's input has three axes") };
        let rows = b.reshape(x, &[1, prompts * positions, width])?;
        let v = (layer.role() != Role::TokenEmbedding).then_some(&model.components[&layer].v);
        match model.own_ci.of_layer(b, layer, &rows, v) {
            Ok(Some(values)) => self.keep(layer, &values),
            Ok(None) => {}
            Err(error) => {
                self.failed = Some(error);
                return Err(Halt::Reached(x.clone()));
            }
        }
        Ok(())
    }

    /// Hands on what becomes causal importances of a layer, `[prompts * positions, C]`.
    fn keep(&mut self, layer: Layer, values: &[B::Element]) {
        let Some(keep) = &mut self.keep else { return };
        let of_prompt = values.len() / self.prompts.len();
        for prompt in 0..self.prompts.len() {
            keep(prompt, layer, &values[prompt * of_prompt..][..of_prompt]);
        }
    }
}

impl<B: AttributionBackend> Visitor<B> for Undecomposed<'_, '_, B> {
    fn embedding(&mut self) -> Flow<B> {
        if let Some(layer) = self.model.architecture.token_embedding() {
            // Its input is a token, so the function reads the activations of its components.
            let activations = self.model.token_activations(layer, self.prompts)?;
            self.importances(layer, &activations)?;
        }
        Ok(self.model.embed(self.prompts)?)
    }

    fn layer(&mut self, layer: Layer, input: impl FnOnce(&mut Self) -> Flow<B>) -> Flow<B> {
        let x = input(self)?;
        if layer.is_output() {
            return Err(Halt::Reached(x));
        }
        if self.model.components.contains_key(&layer) {
            self.importances(layer, &x)?;
        }
        // It is unembedded where all of it is wanted.
        if layer.role() == Role::Unembedding {
            return Ok(x);
        }
        Ok(self.model.apply_linear_closely(layer, &x)?)
    }
}
