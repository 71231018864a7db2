//! The command as a process: what it prints, how long it takes, and how much memory.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::Failure;

/// The command that was built beside this one.
pub(crate) fn built_command() -> Result<PathBuf, Failure> {
    Ok(std::env::current_exe()?.with_file_name("tributary"))
}

/// `tributary attribute`, to print a line of JSON and nothing else.
pub(crate) fn tributary(executable: &Path) -> Command {
    let mut command = Command::new(executable);
    command.args(["attribute", "--json", "--quiet"]);
    command
}

/// What came of a process.
pub(crate) struct Finished {
    /// The line it printed.
    pub(crate) printed: Value,
    /// The most memory it held, in bytes, where the system tells (Linux), else 0.
    pub(crate) peak: u64,
    pub(crate) seconds: f64,
}

impl Finished {
    /// Runs a command to its end; an error that it prints is this one's.
    pub(crate) fn run(command: &mut Command) -> Result<Self, Failure> {
        let started = Instant::now();
        let child = command.stdout(Stdio::piped()).spawn()?;
        let (output, peak) = watch(child)?;
        let seconds = started.elapsed().as_secs_f64();
        let printed: Value = serde_json::from_slice(&output)?;
        if let Some(error) = printed["error"].as_str() {
            return Err(error.into());
        }
        Ok(Self { printed, peak, seconds })
    }
}

/// Waits for a process; gives what it printed and its peak.
fn watch(mut child: Child) -> Result<(Vec<u8>, u64), Failure> {
    let process = child.id().to_string();
    let mut peak = 0;
    while child.try_wait()?.is_none() {
        peak = peak.max(most_held(&process));
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok((child.wait_with_output()?.stdout, peak))
}

/// The most memory that a process, by its number or `self`, has held so far, in bytes, where the system tells (Linux), else 0.
pub(crate) fn most_held(process: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok()).unwrap_or(0) * 1024
}

/// Bytes of a file.
pub(crate) fn file_size(file: &Path) -> Result<u64, Failure> {
    Ok(fs::metadata(file).map_err(|error| format!("{}: {error}", file.display()))?.len())
}
