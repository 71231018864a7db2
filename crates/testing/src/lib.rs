//! What the test suites of all packages share.

mod properties;
mod random_results;
mod skip;

pub use properties::{cases, config};
pub use random_results::RandomResults;
pub use skip::{in_ci, skip};
