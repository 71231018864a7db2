//! CPU backend over burn-flex.
