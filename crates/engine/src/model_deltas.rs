//! The deltas of a model, and how large they are.

use std::collections::BTreeMap;
use std::sync::Arc;

use tributary_backend::{AttributionBackend, BackendError, Element};
use tributary_model::{Layer, Role};

use crate::Model;
use crate::deltas::Deltas;
use crate::lanes::dot_shifted;

impl<B: AttributionBackend> Model<B> {
    /// By decomposed layer the Frobenius norm of its delta, what no component holds of its weight, by that of the weight.
    ///
    /// # Errors
    ///
    /// When the backend fails.
    pub fn delta_sizes(&self) -> Result<BTreeMap<Layer, f64>, BackendError> {
        let size = |&layer: &Layer| {
            let weight = self.weight(layer)?;
            let known = self.deltas.get().and_then(|deltas| deltas.get(layer).cloned());
            let delta = known.map_or_else(|| self.delta(layer, &weight), Ok)?;
            let of_weight = norm(&self.backend.download_vec(weight)?);
            Ok((layer, if of_weight > 0.0 { norm(&self.backend.download_vec(delta)?) / of_weight } else { 0.0 }))
        };
        self.components.keys().map(size).collect()
    }

    /// What gradients pass through beside components. Kept from the first time on.
    pub(crate) fn deltas(&self) -> Result<Arc<Deltas<B::Tensor>>, BackendError> {
        if let Some(deltas) = self.deltas.get() {
            return Ok(Arc::clone(deltas));
        }
        // The embedding has none, as nothing passes through it, nor has an unembedding, which nothing lies behind.
        let in_between = |layer: &&Layer| !matches!(layer.role(), Role::TokenEmbedding | Role::Unembedding);
        let of_layer = |&layer: &Layer| Ok((layer, self.delta(layer, &self.weight(layer)?)?));
        let deltas = self.components.keys().filter(in_between).map(of_layer).collect::<Result<_, BackendError>>()?;
        Ok(Arc::clone(self.deltas.get_or_init(|| Arc::new(Deltas::new(deltas)))))
    }

    /// The weight of a decomposed layer, `[d_in, d_out]`.
    fn weight(&self, layer: Layer) -> Result<B::Tensor, BackendError> {
        match layer.role() {
            Role::TokenEmbedding => Ok(self.wte.clone()),
            Role::Unembedding => self.backend.permute(&self.lm_head, &[1, 0]),
            _ => Ok(self.linear[&layer].weight().clone()),
        }
    }

    fn delta(&self, layer: Layer, weight: &B::Tensor) -> Result<B::Tensor, BackendError> {
        let components = &self.components[&layer];
        self.backend.sub(weight, &self.backend.matmul(&components.v, &components.u)?)
    }
}

fn norm<E: Element>(values: &[E]) -> f64 {
    dot_shifted(values, values, 0.0).sqrt()
}
