//! Layers as their names in JSON.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};
use tributary_model::Layer;

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands out a reference to the field")]
pub(crate) fn serialize<S: Serializer>(layer: &Layer, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(layer)
}

/// A map with layers as keys, in the order data flows.
pub(crate) fn keys<S: Serializer, T: Serialize>(map: &BTreeMap<Layer, T>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(map.iter().map(|(layer, value)| (layer.to_string(), value)))
}
