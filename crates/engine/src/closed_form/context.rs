//! What every route starts from.

use std::collections::BTreeMap;
use std::rc::Rc;

use tributary_backend::AttributionBackend;
use tributary_model::Layer;

use crate::Model;
use crate::edges::LayerEntries;
use crate::recorded_pass::RecordedPass;

/// What every segment's computation starts from.
pub(crate) struct Context<'a, B: AttributionBackend> {
    pub(crate) model: &'a Model<B>,
    pub(crate) forward: &'a RecordedPass<B::Tensor>,
    /// Of every layer, what is alive.
    pub(crate) sources: BTreeMap<Layer, Rc<LayerEntries<'a, B::Element>>>,
    /// Of every layer, what attributions are wanted to; the same thing unless only some are.
    pub(crate) targets: BTreeMap<Layer, Rc<LayerEntries<'a, B::Element>>>,
}
