//! Ending when asked to, with nothing left behind.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
#[cfg(unix)]
use std::time::{Duration, Instant};

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

/// Begins something: nothing is undone before it is in the list. A signal that comes meanwhile is answered after it, and
/// beginning waits for nobody once a signal has come.
pub(crate) fn register<T: Undo + 'static, E>(begin: impl FnOnce() -> Result<Arc<T>, E>) -> Result<Arc<T>, E> {
    let mut runs = RUNS.lock().unwrap_or_else(PoisonError::into_inner);
    let run = begin()?;
    runs.retain(|run| run.strong_count() > 0);
    let weak: Weak<T> = Arc::downgrade(&run);
    runs.push(weak);
    Ok(run)
}

/// Whether a first signal is left to who asked for that, and which one came.
static FINISHES: AtomicBool = AtomicBool::new(false);
static SIGNAL: AtomicU8 = AtomicU8::new(0);
/// How long signals are the same wish.
#[cfg(unix)]
const SAME: Duration = Duration::from_secs(1);

/// What asks whether a signal came.
#[derive(Debug)]
pub struct Interruption(());

impl Interruption {
    /// The number of the signal that came.
    pub fn signal(&self) -> Option<u8> {
        Some(SIGNAL.load(Ordering::Relaxed)).filter(|&signal| signal != 0)
    }
}

impl Drop for Interruption {
    fn drop(&mut self) {
        FINISHES.store(false, Ordering::Relaxed);
    }
}

/// Leaves a first signal of those that [end the process](undo_when_interrupted) to the caller, who asks for it, brings what is
/// in work to an end and ends. One that comes more than a second later ends the process at once, and so does the first when this
/// value is gone: within the second others are the same wish, since schedulers and `timeout` tell a process and its group.
pub fn finish_when_interrupted() -> Interruption {
    FINISHES.store(true, Ordering::Relaxed);
    Interruption(())
}

/// From now on SIGINT, SIGTERM and SIGHUP undo every transaction of this process and end it with the status 128 plus the
/// signal's number, as shells report it: 130, 143, 129. A signal that was ignored when the process started, as `nohup` ignores
/// SIGHUP, stays ignored. Where no thread can be had to wait for signals, they do what they do by default.
#[cfg(unix)]
pub fn undo_when_interrupted() {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ};
    // What is written beyond the limit of a file's size (`ulimit -f`) is an error then, and not the end.
    let _ = signal_hook::flag::register(SIGXFSZ, Arc::default());
    let signals: Vec<i32> = [SIGINT, SIGTERM, SIGHUP].into_iter().filter(|&signal| !is_ignored(signal)).collect();
    let wait = move || {
        let Ok(mut signals) = signal_hook::iterator::Signals::new(signals) else { return };
        let mut first: Option<Instant> = None;
        for signal in signals.forever() {
            let is_same = first.get_or_insert_with(Instant::now).elapsed() < SAME;
            if is_same && FINISHES.load(Ordering::Relaxed) {
                let number = u8::try_from(signal).unwrap_or(u8::MAX);
                let _ = SIGNAL.compare_exchange(0, number, Ordering::Relaxed, Ordering::Relaxed);
                continue;
            }
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

/// Whether this process ignores a signal.
#[cfg(unix)]
#[expect(unsafe_code, reason = "nothing safe asks without changing what is asked for")]
fn is_ignored(signal: i32) -> bool {
    let mut action = std::mem::MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: with no new action nothing changes, and what the structure is filled with is one of its own.
    unsafe {
        libc::sigaction(signal, std::ptr::null(), action.as_mut_ptr()) == 0
            && action.assume_init().sa_sigaction == libc::SIG_IGN
    }
}
