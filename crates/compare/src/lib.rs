//! Compares the attribution graphs of several CI sets of one prompt: what they have in common, where they differ, what
//! most of them have, and what dies as sets get sparser.
//!
//! [`open`] takes result folders and gives [`ComparedSet`]s; [`Alignment::new`] checks that they can be compared and finds
//! what is the same node and the same edge in all of them; [`Consensus`] and [`Comparison`] follow from that.
//! [`Comparison`] is written as JSON, which [`SCHEMA`] describes; [`Consensus::write`] writes a result folder that every
//! reader of results reads. The definitions and formulas are in `docs/compare.md` of the repository.
//!
//! ```
//! use std::path::Path;
//!
//! use tributary_compare::{Comparison, ComparisonOptions, open};
//! use tributary_graph::View;
//! use tributary_results::ResultFolder;
//!
//! let result = ResultFolder::open(Path::new("../../tests/results/walked"))?;
//! let sets = open(&[result], &[], None, View::default())?;
//! let (comparison, consensus) = Comparison::of_sets(&sets, &ComparisonOptions::default())?;
//! let nodes = &comparison.nodes.overlap;
//! println!("{} of {} nodes are in all {} sets", nodes.intersection, nodes.union, sets.len());
//! assert_eq!(nodes.intersection, consensus.nodes.iter().filter(|node| node.sets == sets.len()).count());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod alignment;
mod coefficient;
mod compared_set;
mod comparison;
mod consensus;
mod consensus_folder;
mod correlation;
mod error;
mod json;
mod listing;
mod open;
mod overlap;
mod pairwise;
mod sweep;

pub use alignment::Alignment;
pub use compared_set::ComparedSet;
pub use comparison::{
    ComparedPrompt, Comparison, ComparisonOptions, FORMAT, FORMAT_VERSION, PredictionSummary, SCHEMA, SetSummary,
};
pub use consensus::{Consensus, ConsensusEdge, ConsensusNode, majority};
pub use consensus_folder::{CONSENSUS_METHOD, CONSENSUS_SETS};
pub use error::CompareError;
pub use listing::{ConsensusSummary, EdgeKey, ListedConsensusEdge, ListedEdge, ListedNode, NodeKey};
pub use open::open;
pub use overlap::{EdgeOverlap, GroupOverlap, LayerOverlap, NodeOverlap, Overlap, PairOverlap, Unique};
pub use pairwise::{Matrix, Pairwise, SignDisagreement};
pub use sweep::{Course, EdgeCourse, LastAlive, LayerCourse, NodeCourse, PairCourse, Step, StepCounts, Sweep};
