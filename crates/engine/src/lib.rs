//! Local attributions of several CI sets in one pass, generic over the backend.
//!
//! Data flows one way. [`Weights`] and [`CiSet`]s come in from files; [`Model::upload`] puts the weights on a backend;
//! [`attribute`] stacks the sets into batches, runs one masked forward pass for each batch (`masked`), finds what is
//! alive (`alive`), computes each target's attributions to its sources (`pair`; `closed_form`, or `segment` and
//! `autograd`), and hands out each set's own entries as [`SetAttributions`].
//!
//! The forward pass is written once, in `forward`, and serves every purpose through a visitor.

mod alive;
mod architecture;
mod attribution;
mod autograd;
mod batch;
mod batch_alive;
mod borderline;
mod check;
mod ci_function;
mod ci_set;
mod closed_form;
mod engine;
mod error;
mod forward;
mod layer;
mod masked;
mod memory;
mod model;
mod model_ci;
mod output;
mod pair;
mod remedy;
mod request;
mod segment;
mod sequence;
mod sink;
mod support;
mod timings;
mod weights;

pub use alive::{AliveEntries, component_union};
pub use architecture::{Architecture, Norm, PositionEncoding};
pub use attribution::{
    DenseAttribution, LayerNodes, PairAttribution, SetAttributions, alive_components, edge_count, source_rows,
};
pub use borderline::Borderline;
pub use ci_set::{CausalImportances, CiSet, Prompt};
pub use engine::{Attributions, Cost, attribute, attribute_to, outline, stream};
pub use error::EngineError;
pub use layer::{Layer, Projection, UnknownLayer};
pub use model::Model;
pub use model_ci::model_ci;
pub use pair::{Pair, pair_table};
pub use remedy::Remedy;
pub use request::{Method, Progress, Request, Sets, Targets, Thresholds};
pub use sink::{Sink, SinkError};
pub use timings::{Stages, Timings};
pub use weights::{
    Array, BlockNorms, CiFunction, CiInput, Components, DecomposedLayer, LinearWeights, NormWeights, Sigmoid, Weights,
};
