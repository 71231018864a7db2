//! Parts of the JSON form.

use serde::Serializer;
use serde::ser::SerializeStruct;
use tributary_graph::{Entry, View};
use tributary_model::Layer;

/// Layers as text.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
pub(crate) fn layer<S: Serializer>(layer: &Layer, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(layer)
}

/// Views as `{sign, normalise}`.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
pub(crate) fn view<S: Serializer>(view: &View, serializer: S) -> Result<S::Ok, S::Error> {
    let mut fields = serializer.serialize_struct("View", 2)?;
    fields.serialize_field("sign", view.sign.name())?;
    fields.serialize_field("normalise", view.normalise.name())?;
    fields.end()
}

/// Entries as `{layer, position, component}`.
pub(crate) fn entry<S: Serializer>(entry: &Entry, serializer: S) -> Result<S::Ok, S::Error> {
    let mut fields = serializer.serialize_struct("Entry", 3)?;
    fields.serialize_field("layer", &entry.layer.to_string())?;
    fields.serialize_field("position", &entry.position)?;
    fields.serialize_field("component", &entry.component)?;
    fields.end()
}
