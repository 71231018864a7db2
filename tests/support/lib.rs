//! Support code of the workspace-level test suites.

pub mod naive;
