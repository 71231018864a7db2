//! Makes CI sets: causal importances that are optimised for one prompt, so that the masked model does there what is asked of it
//! with few components alive.
//!
//! The parameters of a set are what its causal importances are the [sigmoid] of, for every [entry](Entries) alive under the
//! model's own causal importances, where they start; all others are 0. Each step descends, by [`AdamW`],
//!
//! ```text
//! weight * loss(masks)  +  sparsity * importance minimality  [ +  weight * loss(masks of an adversary) ]
//! ```
//!
//! of an [`Objective`] and [`ImportanceMinimality`]. An [`Optimizer`] makes any number of sets of prompts of equal length at
//! once, as a [`Batch`]: one forward and one backward pass serve all, and none changes what another gets. What is drawn depends
//! on the set's seed and on the step, and on nothing else ([`Draws`]).

mod adamw;
mod adversary;
mod batch;
mod drawn;
mod draws;
mod entries;
mod evaluation;
mod importance_minimality;
mod layout;
mod loss;
mod optimizer;
mod schedule;
mod settings;
pub mod sigmoid;
mod target;

pub use adamw::AdamW;
pub use adversary::{Adversary, raised_masks};
pub use batch::{Batch, BatchItem, Gradients, Reach};
pub use drawn::Drawn;
pub use draws::{Draws, Purpose};
pub use entries::Entries;
pub use evaluation::{Evaluated, Kept, Predicted, PredictedBySample, Sampled, Trials, evaluate, evaluation_memory};
pub use importance_minimality::ImportanceMinimality;
pub use layout::{ItemMask, Others};
pub use loss::{Judged, Loss, Objective, divergence, log_softmax};
pub use optimizer::{Curve, Metrics, Optimizer, SetState, Task};
pub use schedule::{Pnorm, Schedule};
pub use settings::{Adversarial, Init, MaskKind, Settings};
pub use target::{likeliest, target_log_probs};
