//! What no component holds of the weights.

use std::collections::BTreeMap;

use tributary_backend::{AttributionBackend, BackendError};
use tributary_model::Layer;

/// `(W - (V U)^T)^T` of every decomposed linear layer, `[d_in, d_out]`: where gradients pass through them.
pub(crate) struct Deltas<T>(BTreeMap<Layer, T>);

impl<T> Deltas<T> {
    pub(crate) fn new(layers: BTreeMap<Layer, T>) -> Self {
        Self(layers)
    }

    pub(crate) fn get(&self, layer: Layer) -> Option<&T> {
        self.0.get(&layer)
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
