//! Ending when asked to, with nothing left behind.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

static INTERRUPTED: AtomicBool = AtomicBool::new(false);
/// What this process may have to undo.
static RUNS: Mutex<Vec<Weak<dyn Undo>>> = Mutex::new(Vec::new());

/// What another thread may undo.
pub(crate) trait Undo: Send + Sync {
    /// Undoes it, unless it is done. The next run tells what could not be undone.
    fn undo_now(&self);
}

/// Whether this process was asked to end, and is about to. What fails from then on need not be told to anybody.
pub fn interrupted() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}

/// Begins something: nothing is undone before it is in the list.
pub(crate) fn register<T: Undo + 'static, E>(begin: impl FnOnce() -> Result<Arc<T>, E>) -> Result<Arc<T>, E> {
    let mut runs = RUNS.lock().unwrap_or_else(PoisonError::into_inner);
    let run = begin()?;
    runs.retain(|run| run.strong_count() > 0);
    let weak: Weak<T> = Arc::downgrade(&run);
    runs.push(weak);
    Ok(run)
}

/// From now on SIGINT, SIGTERM and SIGHUP undo every transaction of this process and end it with the status 128 plus the
/// signal's number, as shells report it: 130, 143, 129. A signal that was ignored when the process started, as `nohup` ignores
/// SIGHUP, stays ignored. Where no thread can be had to wait for signals, they do what they do by default.
#[cfg(unix)]
pub fn undo_when_interrupted() {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    let ignored = ignored_signals();
    let signals: Vec<i32> =
        [SIGINT, SIGTERM, SIGHUP].into_iter().filter(|&signal| ignored & (1 << (signal - 1)) == 0).collect();
    let wait = move || {
        let Ok(mut signals) = signal_hook::iterator::Signals::new(signals) else { return };
        if let Some(signal) = signals.forever().next() {
            INTERRUPTED.store(true, Ordering::Relaxed);
            let runs = RUNS.lock().unwrap_or_else(PoisonError::into_inner);
            runs.iter().filter_map(Weak::upgrade).for_each(|run| run.undo_now());
            signal_hook::low_level::exit(128 + signal);
        }
    };
    let _ = std::thread::Builder::new().name("signals".to_owned()).stack_size(1 << 18).spawn(wait);
}

/// Elsewhere a process ends as it does by default, and the next run undoes what it leaves.
#[cfg(not(unix))]
pub fn undo_when_interrupted() {}

/// The signals that this process ignores, a bit each; none where the system does not tell.
#[cfg(unix)]
fn ignored_signals() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}
