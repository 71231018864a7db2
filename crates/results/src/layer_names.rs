//! Layers as text in JSON.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tributary_model::Layer;

pub(crate) fn serialize<S: Serializer>(layer: &Layer, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(layer)
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Layer, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
}

/// Maps with layers as keys, written in the order data flows.
pub(crate) mod keys {
    use super::{BTreeMap, Deserialize, Deserializer, Layer, Serialize, Serializer};

    pub(crate) fn serialize<S: Serializer, T: Serialize>(
        map: &BTreeMap<Layer, T>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_map(map.iter().map(|(layer, value)| (layer.to_string(), value)))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
        deserializer: D,
    ) -> Result<BTreeMap<Layer, T>, D::Error> {
        let named = BTreeMap::<String, T>::deserialize(deserializer)?;
        let layer = |(name, value): (String, T)| Ok((name.parse().map_err(serde::de::Error::custom)?, value));
        named.into_iter().map(layer).collect()
    }
}
