//! How many threads the CPU backends use.

use tributary::Error;

use crate::CliError;

/// Sets the number of threads of everything that computes in this process, if one is asked for. To be called once,
/// before anything else that may start a thread. Libraries that keep their own take it in
/// [`Provider::set_threads`](tributary_backend::Provider::set_threads).
pub(crate) fn set(threads: Option<u16>) -> Result<(), CliError> {
    let Some(threads) = threads.map(usize::from) else { return Ok(()) };
    let failed = |reason: String| Error::Threads { threads, reason };
    // matrixmultiply, which burn-ndarray multiplies with, keeps threads of its own and takes their number only from the
    // environment, at its first product.
    #[expect(unsafe_code, reason = "no other thread exists yet that could read the environment at the same time")]
    // SAFETY: called from the main thread before the first thread of the process is started.
    unsafe {
        std::env::set_var("MATMUL_NUM_THREADS", threads.to_string());
    }
    let built = rayon::ThreadPoolBuilder::new().num_threads(threads).build_global();
    Ok(built.map_err(|error| failed(error.to_string()))?)
}
