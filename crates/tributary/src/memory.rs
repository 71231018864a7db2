//! How much memory a run may take.

/// Half of the memory that can be had now, in bytes: what a run may take besides its model unless told otherwise. `None`
/// where the system does not say.
pub(crate) fn default_limit() -> Option<u64> {
    tributary_files::memory::free().map(|free| free / 2)
}
