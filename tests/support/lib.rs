//! Support code of the workspace-level test suites.

pub mod backends;
pub mod direct;
pub mod golden;
pub mod naive;
pub mod random_case;
