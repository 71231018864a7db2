//! By which way the attributions to a target are computed.

use tributary_model::{Layer, Role};

use crate::Method;

/// By which way the attributions to a target are computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    /// In closed form, from everything that writes to the residual stream through the norm that the target reads behind.
    Residual,
    /// From everything that writes to the residual stream, by way of the deltas of what lies in between.
    Transport,
    /// In closed form, through the attention before an output projection.
    Attention,
    /// In closed form, through the nonlinearity before the MLP's output.
    Elementwise,
    /// In closed form, from a decomposed unembedding to the logits.
    Unembedding,
    /// By the backend's automatic differentiation, whatever lies in between.
    Autograd,
}

impl Route {
    /// The way to `target` in a model with these `linear` layers.
    ///
    /// A closed form covers a target when nothing but it lies between the target and the nearest detaches: when every layer
    /// that its input is made of is decomposed.
    pub(crate) fn to(target: Layer, linear: &[Layer], is_decomposed: impl Fn(Layer) -> bool) -> Self {
        let in_block = |roles: &[Role]| -> Vec<Layer> {
            linear.iter().filter(|layer| layer.shares_block(target) && roles.contains(&layer.role())).copied().collect()
        };
        let (inputs, route): (Vec<Layer>, Self) = match target.role() {
            Role::Embedding | Role::TokenEmbedding => unreachable!("an embedding is no target"),
            // The closed form has queries, keys and values of their own.
            Role::AttentionOutput if !in_block(&[Role::QueryKeyValue]).is_empty() => return Self::Autograd,
            Role::AttentionOutput => (in_block(&[Role::Query, Role::Key, Role::Value]), Self::Attention),
            Role::MlpDown => (in_block(&[Role::MlpGate, Role::MlpUp]), Self::Elementwise),
            Role::Output if linear.iter().any(|layer| layer.role() == Role::Unembedding) => return Self::Unembedding,
            Role::Query
            | Role::Key
            | Role::Value
            | Role::QueryKeyValue
            | Role::MlpGate
            | Role::MlpUp
            | Role::Unembedding
            | Role::Output => {
                let writers = linear.iter().filter(|layer| layer.role().writes_residual() && **layer < target);
                (writers.copied().collect(), Self::Residual)
            }
        };
        if inputs.into_iter().all(is_decomposed) { route } else { Self::Autograd }
    }
}

impl Route {
    /// This way to `target` where gradients pass through deltas: of the closed forms they matter to the reads of a stream that
    /// more than the embedding has written to.
    pub(crate) fn through_deltas(self, target: Layer, linear: &[Layer], is_decomposed: impl Fn(Layer) -> bool) -> Self {
        if self != Self::Residual {
            return self;
        }
        let mut before = linear.iter().copied().filter(|layer| {
            *layer < target && layer.role() != Role::TokenEmbedding && layer.reading() != target.reading()
        });
        let has_closed_form = |layer: Layer| is_decomposed(layer) && layer.role() != Role::QueryKeyValue;
        if before.clone().next().is_none() {
            Self::Residual
        } else if before.all(has_closed_form) {
            Self::Transport
        } else {
            Self::Autograd
        }
    }
}

/// The fastest method for a model with these `linear` layers.
pub(crate) fn fastest(linear: &[Layer], is_decomposed: impl Fn(Layer) -> bool) -> Method {
    let layers = linear.iter().copied().filter(|&layer| is_decomposed(layer) && layer.role() != Role::TokenEmbedding);
    let targets = layers.chain([Layer::output()]);
    let routes = targets.map(|target| Route::to(target, linear, &is_decomposed));
    let (differentiated, closed): (Vec<Route>, Vec<Route>) = routes.partition(|route| *route == Route::Autograd);
    match (closed.is_empty(), differentiated.is_empty()) {
        (_, true) => Method::ClosedForm,
        (true, false) => Method::Autograd,
        (false, false) => Method::Mixed,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use tributary_model::published_blocks;

    use super::*;

    /// Ways to each decomposed layer and the output, in the order data flows, when `left_out` are not decomposed.
    fn routes(left_out: &[&str]) -> Vec<(String, Route)> {
        let linear = published_blocks(2);
        let left_out: BTreeSet<Layer> = left_out.iter().map(|path| path.parse().unwrap()).collect();
        let decomposed = |layer: Layer| !left_out.contains(&layer);
        let targets = linear.iter().copied().filter(|&layer| decomposed(layer)).chain([Layer::output()]);
        targets.map(|target| (target.to_string(), Route::to(target, &linear, decomposed))).collect()
    }

    fn by_autograd(left_out: &[&str]) -> Vec<String> {
        let routes = routes(left_out).into_iter();
        routes.filter(|(_, route)| *route == Route::Autograd).map(|(target, _)| target).collect()
    }

    #[test]
    fn every_target_of_a_fully_decomposed_model_has_a_closed_form() {
        let block =
            [Route::Residual, Route::Residual, Route::Residual, Route::Attention, Route::Residual, Route::Elementwise];
        let expected: Vec<Route> = block.into_iter().chain(block).chain([Route::Residual]).collect();
        assert_eq!(routes(&[]).into_iter().map(|(_, route)| route).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn an_undecomposed_layer_costs_the_targets_that_lie_behind_it() {
        // Read by the MLP's output alone.
        assert_eq!(by_autograd(&["h.1.mlp.c_fc"]), ["h.1.mlp.down_proj"]);
        assert_eq!(by_autograd(&["h.0.attn.q_proj"]), ["h.0.attn.o_proj"]);
        // A writer: what reads the stream behind it.
        assert_eq!(by_autograd(&["h.1.attn.o_proj"]), ["h.1.mlp.c_fc", "output"]);
        assert_eq!(by_autograd(&["h.1.mlp.down_proj"]), ["output"]);
    }

    #[test]
    fn the_fastest_method_is_as_closed_as_the_model_allows() {
        let linear = published_blocks(2);
        let fastest = |roles: &[Role]| super::fastest(&linear, |layer: Layer| roles.contains(&layer.role()));
        assert_eq!(fastest(&Role::ALL), Method::ClosedForm);
        assert_eq!(fastest(&[Role::MlpUp, Role::MlpDown]), Method::Mixed);
        assert_eq!(fastest(&[Role::AttentionOutput]), Method::Autograd);
    }
}
