//! Backends in executables of their own, found the way git and cargo find theirs: `tributary-backend-NAME`, beside this
//! executable or on PATH.
//!
//! A plugin is this same command line around another backend. Asked to `describe-backend`, it answers with a [`BackendDescription`];
//! everything else is done by running it in this process's place with the arguments this process was given.

use std::collections::BTreeMap;
use std::env::consts::EXE_SUFFIX;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use serde_json::Value;
use tributary::{BackendDescription, VERSION};

use crate::{CliError, visible};

/// What the name of every plugin's executable begins with.
pub(crate) const PREFIX: &str = "tributary-backend-";

/// How long a plugin may take to describe itself; a driver that wakes up a GPU takes seconds.
const PATIENCE: Duration = Duration::from_mins(1);

/// The executable of a backend.
#[derive(Clone, Debug)]
pub(crate) struct Plugin {
    pub(crate) name: String,
    pub(crate) path: PathBuf,
}

impl Plugin {
    /// All that can be found, by name. Of several with one name, the first is taken: the one beside this executable,
    /// else the first on PATH.
    pub(crate) fn all() -> BTreeMap<String, Self> {
        let mut found = BTreeMap::new();
        for folder in folders() {
            let Ok(entries) = std::fs::read_dir(&folder) else { continue };
            for entry in entries.flatten() {
                let file_name = entry.file_name();
                let name = file_name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.strip_suffix(EXE_SUFFIX));
                if let Some(name) = name.filter(|name| is_name(name) && is_executable(&entry.path())) {
                    let plugin = || Self { name: name.to_owned(), path: entry.path() };
                    found.entry(name.to_owned()).or_insert_with(plugin);
                }
            }
        }
        found
    }

    /// The one named `name`.
    pub(crate) fn find(name: &str) -> Option<Self> {
        if !is_name(name) {
            return None;
        }
        let paths = folders().into_iter().map(|folder| folder.join(format!("{PREFIX}{name}{EXE_SUFFIX}")));
        let path = paths.into_iter().find(|path| is_executable(path))?;
        Some(Self { name: name.to_owned(), path })
    }

    /// Asks the plugin what it is. Whatever goes wrong makes it unusable, with the reason.
    pub(crate) fn describe(&self) -> BackendDescription {
        let description = self.ask().unwrap_or_else(|(version, reason)| {
            let reason = format!("{}: {reason}", self.path.display());
            BackendDescription::unusable(&self.name, "a plugin", &version, reason)
        });
        plain(description)
    }

    fn ask(&self) -> Result<BackendDescription, (String, String)> {
        let unknown = |reason: String| (String::new(), reason);
        let answer = self.run_to_describe().map_err(unknown)?;
        let not_a_plugin = "it does not answer as a backend of tributary does; is it one?";
        let answer: Value = serde_json::from_str(&answer).map_err(|_| unknown(not_a_plugin.to_owned()))?;
        let version = answer["version"].as_str().ok_or_else(|| unknown(not_a_plugin.to_owned()))?.to_owned();
        if version != VERSION {
            let reason = format!(
                "it was built from tributary {version}, and this is {VERSION}: build both from the same version"
            );
            return Err((version, reason));
        }
        let description: BackendDescription =
            serde_json::from_value(answer).map_err(|error| (version.clone(), format!("{not_a_plugin} ({error})")))?;
        if description.devices.is_empty() && description.unusable_because.is_none() {
            return Err((version, "it names neither a device nor a reason why it has none".to_owned()));
        }
        if description.name != self.name {
            let reason =
                format!("it calls itself {:?}; name the executable {PREFIX}{}", description.name, description.name);
            return Err((version, reason));
        }
        Ok(description)
    }

    fn run_to_describe(&self) -> Result<String, String> {
        let mut command = Command::new(&self.path);
        command.arg("describe-backend").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|error| format!("it cannot be started: {error}"))?;
        let deadline = Instant::now() + PATIENCE;
        // Read while it runs: a full pipe would keep it from ending.
        let (stdout, stderr) = (reader(child.stdout.take()), reader(child.stderr.take()));
        let status = wait(&mut child, deadline)?;
        // A process it has left behind may hold the pipes open for longer.
        let rest = |pipe: &Receiver<String>| {
            let left = deadline.saturating_duration_since(Instant::now()).min(Duration::from_secs(1));
            pipe.recv_timeout(left).unwrap_or_default()
        };
        let (stdout, stderr) = (rest(&stdout), rest(&stderr));
        if status.success() {
            return Ok(stdout);
        }
        let said = stderr.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it says nothing").trim();
        Err(format!("it does not start: {said} ({status})"))
    }

    /// Runs the plugin in place of this process, with the same arguments.
    pub(crate) fn take_over(&self) -> Result<ExitCode, CliError> {
        let mut command = Command::new(&self.path);
        command.args(std::env::args_os().skip(1));
        let failed =
            |source| CliError::PluginStart { name: self.name.clone(), path: self.path.display().to_string(), source };
        #[cfg(unix)]
        {
            use std::os::unix::process::CommandExt;
            Err(failed(command.exec()))
        }
        #[cfg(not(unix))]
        {
            let status = command.status().map_err(failed)?;
            Ok(ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)))
        }
    }
}

/// The same with its texts safe to show on a terminal.
fn plain(mut description: BackendDescription) -> BackendDescription {
    for text in [&mut description.description, &mut description.version] {
        *text = visible::on_one_line(text);
    }
    for text in [&mut description.note, &mut description.unusable_because] {
        *text = text.as_deref().map(visible::on_one_line);
    }
    for device in &mut description.devices {
        (device.name, device.description) =
            (visible::on_one_line(&device.name), visible::on_one_line(&device.description));
    }
    description
}

/// Where plugins are looked for, in order.
fn folders() -> Vec<PathBuf> {
    let own = std::env::current_exe().ok();
    // Where the system gives the name it was started by, and that is a link, also beside what it leads to.
    let beside = own.iter().cloned().chain(own.as_ref().and_then(|path| path.canonicalize().ok()));
    let beside = beside.filter_map(|path| path.parent().map(Path::to_owned));
    let on_path = std::env::var_os("PATH")
        .map(|path| std::env::split_paths(&path).filter(|folder| !folder.as_os_str().is_empty()).collect::<Vec<_>>())
        .unwrap_or_default();
    beside.chain(on_path).collect()
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_')
}

fn is_executable(path: &Path) -> bool {
    let Ok(metadata) = path.metadata() else { return false };
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        metadata.is_file() && metadata.permissions().mode() & 0o111 != 0
    }
    #[cfg(not(unix))]
    {
        metadata.is_file()
    }
}

/// Gives what the pipe holds, up to what a description can need, once the pipe is closed.
fn reader(pipe: Option<impl Read + Send + 'static>) -> Receiver<String> {
    const LONGEST: u64 = 1 << 20;
    let (sender, receiver) = std::sync::mpsc::channel();
    // Where no thread can be had, the sender goes, and nothing was read.
    let _ = std::thread::Builder::new().spawn(move || {
        let mut bytes = Vec::new();
        if let Some(pipe) = pipe {
            let _ = pipe.take(LONGEST).read_to_end(&mut bytes);
        }
        // Nobody may be waiting any more.
        let _ = sender.send(String::from_utf8_lossy(&bytes).into_owned());
    });
    receiver
}

fn wait(child: &mut Child, deadline: Instant) -> Result<std::process::ExitStatus, String> {
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Ok(status),
            Ok(None) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(5)),
            Ok(None) => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!("it did not say what it is within {} s", PATIENCE.as_secs()));
            }
            Err(error) => return Err(format!("it cannot be waited for: {error}")),
        }
    }
}
