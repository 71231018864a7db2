//! How much memory a run may take.

/// Half of the memory that is free now, in bytes: what a run may take besides its model unless told otherwise. `None`
/// where the system does not say.
pub(crate) fn default_limit() -> Option<u64> {
    let mut system = sysinfo::System::new();
    system.refresh_memory();
    // Where there is no /proc, the limits of a group of processes cannot be asked for either.
    if system.total_memory() == 0 {
        return None;
    }
    let free = system.cgroup_limits().map_or_else(|| system.available_memory(), |limits| limits.free_memory);
    (free > 0).then_some(free / 2)
}
