//! How many threads the CPU backends use.

use rayon::ThreadPoolBuilder;
use tributary::Error;

use crate::{CliError, console};

/// Sets the number of threads of everything that computes in this process: what is asked for, or one for each core. To be
/// called once, before anything else that may start a thread. Libraries that keep their own take it in
/// [`Provider::set_threads`](tributary_backend::Provider::set_threads).
pub(crate) fn set(wanted: Option<u16>) -> Result<(), CliError> {
    if let Some(threads) = wanted.map(usize::from) {
        set_own_of_matrixmultiply(threads);
        let built = ThreadPoolBuilder::new().num_threads(threads).build_global();
        return Ok(built.map_err(|error| Error::Threads { threads, reason: error.to_string() })?);
    }
    // The pool that makes itself panics where it cannot have its threads, and takes any number from the environment.
    let Err(error) = ThreadPoolBuilder::new().num_threads(default()).build_global() else { return Ok(()) };
    if is_alone() {
        set_own_of_matrixmultiply(1);
    }
    console::say(&format!("note: computing on one thread, as no more can be had: {error}"));
    let built = ThreadPoolBuilder::new().num_threads(1).use_current_thread().build_global();
    Ok(built.map_err(|error| Error::Threads { threads: 1, reason: error.to_string() })?)
}

/// One thread for each core, or fewer if the environment says so.
fn default() -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let asked = std::env::var("RAYON_NUM_THREADS").ok().and_then(|text| text.parse().ok());
    asked.filter(|&threads: &usize| threads > 0).map_or(cores, |threads| threads.min(cores))
}

/// matrixmultiply, which burn-ndarray multiplies with, keeps threads of its own and takes their number only from the
/// environment, at its first product.
fn set_own_of_matrixmultiply(threads: usize) {
    #[expect(unsafe_code, reason = "no other thread exists that could read the environment at the same time")]
    // SAFETY: called from the main thread before the first thread of the process is started, or when all have ended.
    unsafe {
        std::env::set_var("MATMUL_NUM_THREADS", threads.to_string());
    }
}

/// Whether this is the only thread, as far as the system tells within a moment: those of a pool that could not be made end on
/// their own.
fn is_alone() -> bool {
    (0..100).any(|_| {
        let threads = std::fs::read_dir("/proc/self/task").map(Iterator::count);
        let is_alone = threads.is_ok_and(|threads| threads == 1);
        if !is_alone {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        is_alone
    })
}
