//! Memory that can be had: what does not fit is refused before it is read, since a process that cannot have more ends at once.

use std::path::Path;

use crate::FilesError;

/// What every process may take unless it has a limit of its own: less is not looked at.
const ALWAYS: u64 = 1 << 26;

/// What stacks, fonts and buffers take, which nobody counts, where a process has a limit of its own.
const RESERVE: u64 = 48 << 20;

/// Bytes of memory that this process can have, of the machine's, its control group's and what its own limit (`ulimit -v`) leaves.
/// `None` where the system does not say.
pub fn free() -> Option<u64> {
    let mut system = sysinfo::System::new();
    system.refresh_memory();
    // Where there is no /proc, the limits of a group of processes cannot be asked for either.
    let of_machine = (system.total_memory() > 0)
        .then(|| {
            // What a group holds of files can be had all the same, so only what it holds of memory is taken off.
            let of_group = system.cgroup_limits().map(|limits| limits.total_memory.saturating_sub(limits.rss));
            of_group.into_iter().fold(system.available_memory(), u64::min)
        })
        .filter(|&free| free > 0);
    own_limit().into_iter().chain(of_machine).min()
}

/// Fails where `bytes` of memory, which what is asked for of the file or folder at `path` takes, cannot be had.
pub fn check(path: &Path, bytes: u64) -> Result<(), FilesError> {
    if bytes <= ALWAYS && own_limit().is_none() {
        return Ok(());
    }
    match free() {
        Some(free) if free < bytes => Err(FilesError::TooLittleMemory { path: path.to_owned(), needed: bytes, free }),
        _ => Ok(()),
    }
}

/// How many bytes of addresses this process may have (`ulimit -v`); `None` without a limit.
#[cfg(unix)]
pub fn address_limit() -> Option<u64> {
    rustix::process::getrlimit(rustix::process::Resource::As).current
}

/// How many bytes of addresses this process may have; not known here.
#[cfg(not(unix))]
pub fn address_limit() -> Option<u64> {
    None
}

/// The memory that the limit of the address space leaves this process; `None` without one.
#[cfg(unix)]
fn own_limit() -> Option<u64> {
    let limit = address_limit()?;
    let statm = std::fs::read_to_string("/proc/self/statm").ok();
    // The second number is the memory that is used, in pages; where it cannot be read, nothing is taken off.
    let pages: u64 = statm.and_then(|statm| statm.split(' ').nth(1)?.parse().ok()).unwrap_or(0);
    let left = limit.saturating_sub(pages * rustix::param::page_size() as u64);
    // Allocators take addresses ahead and keep those that are free again: of what was measured, at least two fifths of the
    // addresses became memory.
    Some((left / 5 * 2).saturating_sub(RESERVE))
}

#[cfg(not(unix))]
fn own_limit() -> Option<u64> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_there_is_is_refused() {
        let path = Path::new("a");
        check(path, 1000).unwrap();
        let error = check(path, 1 << 60).unwrap_err();
        assert!(matches!(error, FilesError::TooLittleMemory { needed, .. } if needed == 1 << 60), "{error}");
        assert!(
            error.to_string().starts_with("\"a\": what is asked for takes about 1152921504.6 GB of memory"),
            "{error}"
        );
    }
}
