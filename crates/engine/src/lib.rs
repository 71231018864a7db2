//! Local attributions of several CI sets in one pass, generic over the backend.

mod alive;
mod architecture;
mod attribution;
mod ci_set;
mod layer;
mod pair;
mod weights;

pub use alive::{AliveEntries, component_union};
pub use architecture::{Architecture, Norm, PositionEncoding};
pub use attribution::{
    DenseAttribution, LayerNodes, PairAttribution, SetAttributions, alive_components, edge_count, source_rows,
};
pub use ci_set::{CausalImportances, CiSet, Prompt};
pub use layer::{Layer, Projection, UnknownLayer};
pub use pair::{Pair, pair_table};
pub use weights::{
    Array, BlockNorms, CiFunction, CiInput, Components, DecomposedLayer, LinearWeights, NormWeights, Sigmoid, Weights,
};
