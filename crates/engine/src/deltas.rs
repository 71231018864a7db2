//! What no component holds of the weights.

use std::collections::BTreeMap;

use tributary_backend::{AttributionBackend, BackendError};
use tributary_model::{Layer, Role};

use crate::Model;

/// `(W - (V U)^T)^T` of every decomposed linear layer, `[d_in, d_out]`: where gradients pass through them.
pub(crate) struct Deltas<T>(BTreeMap<Layer, T>);

impl<T: Clone> Deltas<T> {
    /// Those of a model. The embedding has none, as nothing passes through it, nor has an unembedding, which nothing lies behind.
    pub(crate) fn new<B: AttributionBackend<Tensor = T>>(model: &Model<B>) -> Result<Self, BackendError> {
        let b = &model.backend;
        let in_between = |layer: &Layer| !matches!(layer.role(), Role::TokenEmbedding | Role::Unembedding);
        let layers = model.components.iter().filter(|(layer, _)| in_between(layer));
        let of_layer = |(&layer, components): (&Layer, &crate::model::ComponentTensors<T>)| {
            let held = b.matmul(&components.v, &components.u)?;
            Ok((layer, b.sub(model.linear[&layer].weight(), &held)?))
        };
        Ok(Self(layers.map(of_layer).collect::<Result<_, _>>()?))
    }

    pub(crate) fn of(&self, layer: Layer) -> &T {
        &self.0[&layer]
    }

    /// What `x`, the input of a layer, adds to its output; and 0 to its values, which have it already.
    pub(crate) fn gradient_alone<B: AttributionBackend<Tensor = T>>(
        &self,
        b: &B,
        layer: Layer,
        x: &T,
    ) -> Result<T, BackendError> {
        let added = b.matmul(x, self.of(layer))?;
        b.sub(&added, &b.detach(&added))
    }
}
