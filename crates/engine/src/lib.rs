//! Local attributions of several CI sets in one pass, generic over the backend.
//!
//! Data flows one way. [`Weights`](tributary_model::Weights) and
//! [`CiSet`](tributary_model::CiSet)s come in from files; [`Model::upload`] puts the weights on a backend;
//! [`attribute`] stacks the sets into batches, runs one masked forward pass for each batch (`recorded_pass`),
//! finds what is alive (`batch_alive`), computes each target's attributions to its sources (`by_route`; `closed_form`, or
//! `segment` and `autograd`), and hands out each set's own entries as
//! [`SetAttributions`](tributary_model::SetAttributions).
//!
//! The forward pass is written once, in `forward`, and serves every purpose through a visitor.
//!
//! ```
//! use tributary_engine::{Model, Request, Sets, attribute};
//! use tributary_inputs::{RunOptions, TrainedRun};
//!
//! let run = TrainedRun::load("../../data/gpt2s-2L".as_ref(), &RunOptions::default())?;
//! let file = run.ci_sets("../../data/walked.ci_sets.json".as_ref(), &[])?;
//!
//! let model = Model::upload(tributary_flex::f32(), run.weights)?;
//! let graphs = attribute(&model, &Request::new(Sets::Given(&file.sets)), &mut |_| {})?;
//! for set in &graphs.sets {
//!     println!("{}: {} nodes, {} edges", set.name, set.node_count(), set.edge_count());
//! }
//! assert_eq!(graphs.sets.len(), file.sets.len());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod acting;
mod autograd;
mod batch;
mod batch_alive;
mod borderline;
mod by_route;
mod check;
mod closed_form;
mod cut;
mod deltas;
mod edges;
mod effects;
mod engine;
mod entry_values;
mod error;
mod exponential;
mod forward;
mod lanes;
mod last;
mod logits;
mod masked_model;
mod memory;
mod method;
mod model;
mod model_ci;
mod model_deltas;
mod output;
mod overhead;
mod own_ci;
mod pass;
mod recorded_pass;
mod request;
mod rotary;
mod route;
mod segment;
mod sequence;
mod sink;
mod support;
mod target_output;
mod timings;
mod transpose;
mod upload;

pub use effects::{Effects, Node, Parts};
pub use engine::{Attributions, Cost, attribute, attribute_to, outline, stream};
pub use error::{EngineError, SinkError};
pub use logits::logits;
pub use masked_model::{LayerMask, LayerMasks, MaskedModel};
pub use method::Method;
pub use model::Model;
pub use model_ci::{OwnImportances, model_ci, own_importances};
pub use pass::{Delta, Edit, Masks, Pass};
pub use request::{DeltaGradient, Forward, OutputEntries, Progress, Request, Sets, Targets};
pub use sink::Sink;
pub use timings::{Stages, Timings};
