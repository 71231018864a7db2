//! How many threads the CPU backends use.

use std::sync::Mutex;

use rayon::ThreadPoolBuilder;
#[cfg(unix)]
use rustix::process::{Resource, getrlimit};
use tributary::Error;

use crate::{CliError, console};

/// Sets the number of threads of everything that computes in this process: what is asked for, or one for each core. To be
/// called once, before anything else that may start a thread. Libraries that keep their own take it in
/// [`Provider::set_threads`](tributary_backend::Provider::set_threads).
pub(crate) fn set(wanted: Option<u16>) -> Result<(), CliError> {
    let threads = wanted.map_or_else(default, usize::from);
    // The pool that makes itself panics where it cannot have its threads, and one that could not be made cannot be made again.
    let had = if are_limited(2 * threads) { to_be_had(2 * threads) } else { 2 * threads };
    // matrixmultiply panics without its own, which are as many again.
    if wanted.is_some() || had < 2 * threads {
        set_own_of_matrixmultiply(had.saturating_sub(threads).clamp(1, threads));
    }
    let had = had.min(threads);
    if wanted.is_none() && had < threads {
        console::say(&format!("note: computing on {} of {threads} threads, as no more can be had", had.max(1)));
    }
    let threads = if wanted.is_some() { threads } else { had.max(1) };
    let pool = ThreadPoolBuilder::new().num_threads(threads);
    let pool = if threads == 1 && had == 0 { pool.use_current_thread() } else { pool };
    Ok(pool.build_global().map_err(|error| Error::Threads { threads, reason: error.to_string() })?)
}

/// One thread for each core, or fewer if the environment says so.
fn default() -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let asked = std::env::var("RAYON_NUM_THREADS").ok().and_then(|text| text.parse().ok());
    asked.filter(|&threads: &usize| threads > 0).map_or(cores, |threads| threads.min(cores))
}

/// Whether a limit is so low that `wanted` threads may be too many. Trying takes as long as reading a small run.
#[cfg(unix)]
fn are_limited(wanted: usize) -> bool {
    /// More threads than the processes of a user have.
    const MANY: u64 = 1 << 14;
    let enough = MANY.max(16 * wanted as u64);
    let of_group = ["/sys/fs/cgroup/pids.max", "/sys/fs/cgroup/pids/pids.max"]
        .into_iter()
        .find_map(|path| std::fs::read_to_string(path).ok()?.trim().parse().ok());
    let of_user = getrlimit(Resource::Nproc).current;
    getrlimit(Resource::As).current.is_some() || [of_group, of_user].into_iter().flatten().any(|limit| limit < enough)
}

#[cfg(not(unix))]
fn are_limited(_wanted: usize) -> bool {
    true
}

/// How many of `wanted` threads there may be at a time, with stacks such as those of the pool. All have ended when it returns.
fn to_be_had(wanted: usize) -> usize {
    let all_are_there = Mutex::new(());
    let held = all_are_there.lock();
    let wait = || drop(all_are_there.lock());
    std::thread::scope(|scope| {
        let spawn = |_| std::thread::Builder::new().spawn_scoped(scope, wait).ok();
        let threads: Vec<_> = (0..wanted).map_while(spawn).collect();
        drop(held);
        let had = threads.len();
        // A scope waits for what a thread does, not until the system has taken it back.
        for thread in threads {
            drop(thread.join());
        }
        had
    })
}

/// matrixmultiply, which burn-ndarray multiplies with, keeps threads of its own and takes their number only from the
/// environment, at its first product.
fn set_own_of_matrixmultiply(threads: usize) {
    #[expect(unsafe_code, reason = "no other thread exists that could read the environment at the same time")]
    // SAFETY: called from the main thread before any thread that stays is started.
    unsafe {
        std::env::set_var("MATMUL_NUM_THREADS", threads.to_string());
    }
}
