//! Reader script.
