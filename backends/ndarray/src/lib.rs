//! CPU backend over burn-ndarray.
