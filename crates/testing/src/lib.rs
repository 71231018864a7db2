//! What the test suites of all packages share.

mod install;
mod properties;
mod random_results;
mod skip;

pub use install::install;
pub use properties::{cases, config};
pub use random_results::RandomResults;
pub use skip::{in_ci, skip};
