//! Failures in the threads that drive the GPU.
//!
//! cubecl gives every device a thread. What fails there with an error comes back with the next download. What panics
//! there, such as running out of GPU memory, is only logged: the kernel is left out and its result is whatever was in
//! memory. So those panics are recorded, and every download asks for them.

use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::{Mutex, Once, PoisonError};

/// What the names of cubecl's device threads begin with.
const DEVICE_THREADS: &str = "DS";

static FAILURE: Mutex<Option<String>> = Mutex::new(None);

/// Records panics of device threads from now on, instead of letting them be printed.
pub(crate) fn watch() {
    static WATCHING: Once = Once::new();
    WATCHING.call_once(|| {
        let others = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let thread = std::thread::current();
            if CATCHING.get() {
                return;
            }
            if !thread.name().is_some_and(|name| name.starts_with(DEVICE_THREADS)) {
                return others(info);
            }
            let message = info.payload_as_str().unwrap_or("no message");
            let mut failure = FAILURE.lock().unwrap_or_else(PoisonError::into_inner);
            // What follows a failure is its consequence.
            failure.get_or_insert_with(|| format!("the GPU's driver thread failed: {message}"));
        }));
    });
}

/// What has failed since the last call.
pub(crate) fn take() -> Option<String> {
    FAILURE.lock().unwrap_or_else(PoisonError::into_inner).take()
}

thread_local! {
    /// Whether this thread is in [`catch`], so that its panics are errors and not to be printed.
    static CATCHING: Cell<bool> = const { Cell::new(false) };
}

/// What `call` gives, or why the device made it panic.
pub(crate) fn catch<T>(call: impl FnOnce() -> T) -> Result<T, String> {
    watch();
    let outer = CATCHING.replace(true);
    // Nothing of a failed call is used again: its error ends the computation.
    let outcome = panic::catch_unwind(AssertUnwindSafe(call));
    CATCHING.set(outer);
    outcome.map_err(|payload| {
        let text = payload.downcast_ref::<String>().cloned();
        let text = text.or_else(|| payload.downcast_ref::<&str>().map(|&text| text.to_owned()));
        // What the device's thread said is the cause, and this its consequence.
        take().or(text).unwrap_or_else(|| "it failed without a message".to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panics_of_device_threads_are_recorded() {
        watch();
        let panicking = || std::thread::Builder::new().name("DSD-0-0".to_owned()).spawn(|| panic!("out of memory"));
        panicking().unwrap().join().unwrap_err();
        assert_eq!(take().unwrap(), "the GPU's driver thread failed: out of memory");
        assert_eq!(take(), None);
        assert_eq!(catch(|| panic!("{}", "lost")), Err::<(), _>("lost".to_owned()));
        let caused = catch(|| {
            panicking().unwrap().join().unwrap_err();
            panic!("no answer")
        });
        assert_eq!(caused, Err::<(), _>("the GPU's driver thread failed: out of memory".to_owned()));
    }
}
