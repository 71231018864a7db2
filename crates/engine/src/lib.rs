//! Local attributions of several CI sets in one pass, generic over the backend.

mod architecture;
mod ci_set;
mod layer;
mod weights;

pub use architecture::{Architecture, Norm, PositionEncoding};
pub use ci_set::{CausalImportances, CiSet, Prompt};
pub use layer::{Layer, Projection, UnknownLayer};
pub use weights::{
    Array, BlockNorms, CiFunction, CiInput, Components, DecomposedLayer, LinearWeights, NormWeights, Sigmoid, Weights,
};
