//! Workspace-level test suites and their support code.
