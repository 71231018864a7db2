//! How much memory a run may take.

/// How many bytes a run may take beside its model, of which `asked` is what was said.
pub(crate) fn allowed(asked: Option<u64>) -> u64 {
    asked.or_else(default_limit).unwrap_or(u64::MAX)
}

/// Half of the memory that can be had now, in bytes: what a run may take besides its model unless told otherwise. `None`
/// where the system does not say.
pub(crate) fn default_limit() -> Option<u64> {
    tributary_files::memory::free().map(|free| free / 2)
}
