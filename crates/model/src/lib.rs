//! The vocabulary that everything else speaks: a decomposed model's layers and numbers, CI sets, who is alive, which
//! layers act on which, and the attributions of one set. Values only: nothing here computes or reads a file.
//!
//! ```
//! use tributary_model::{Layer, Role};
//!
//! let layer: Layer = "h.0.attn.q_proj".parse()?;
//! assert_eq!((layer.block(), layer.role()), (Some(0), Role::Query));
//! assert!(Layer::wte() < layer && layer < Layer::output());
//! # Ok::<(), tributary_model::UnknownLayer>(())
//! ```

mod alive;
mod architecture;
mod array;
mod attribution;
mod canonical;
mod causal_importances;
mod ci_function;
mod ci_set;
mod contrast;
mod faithfulness;
mod layer;
mod pair;
mod published;
mod remedy;
mod sigmoid;
mod thresholds;
mod token_label;
mod weights;

pub use alive::{AliveEntries, component_union, reaching};
pub use architecture::{Activation, Architecture, LinearLayer, Norm, PositionEncoding, RopeScaling};
pub use array::{Array, Values};
pub use attribution::{
    Borderline, DenseAttribution, LayerNodes, PairAttribution, Prediction, SetAttributions, TokenProb,
    alive_components, edge_count, source_rows,
};
pub use canonical::canonical_names;
pub use causal_importances::CausalImportances;
pub use ci_function::{CiArrays, CiFunction, CiInput, CiNetwork, CiTransformer, StoredCiArrays, StoredError};
pub use ci_set::{CiSet, Prompt};
pub use contrast::Contrast;
pub use faithfulness::{Faithfulness, FarOutput, is_far};
pub use layer::{Layer, Role};
pub use pair::{Pair, pair_table};
pub use published::{Biases, UnknownLayer, gated_blocks, published_blocks, published_layers, with_widths};
pub use remedy::Remedy;
pub use sigmoid::Sigmoid;
pub use thresholds::Thresholds;
pub use token_label::{token_heading, token_label};
pub use weights::{BlockNorms, Components, LinearWeights, NormWeights, RotaryTables, Weights};
