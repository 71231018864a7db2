//! The backends that this process knows, and the choice among them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use tributary::backend::ProviderEntry;
use tributary::{BackendDescription, Compute, PREFERENCE, Unusable, first_usable};

use crate::plugin::{PREFIX, Plugin};
use crate::{CliError, console};

/// Backends that come with tributary but not in the stock executable: their names, what they are.
const KNOWN_PLUGINS: [(&str, &str); 2] =
    [("cuda", "NVIDIA GPUs, over burn-cuda"), ("tch", "libtorch on the CPU and on NVIDIA GPUs, over tch")];

/// The backends of this executable, and whether it looks for others.
pub(crate) struct Backends {
    own: Vec<ProviderEntry>,
    /// A plugin does not look for plugins.
    is_plugin: bool,
}

/// What is to compute.
pub(crate) enum Chosen {
    /// A backend of this executable, with its device.
    Own(Compute),
    /// Another executable is to do the whole command.
    Plugin(Plugin),
}

impl Backends {
    pub(crate) fn stock(own: Vec<ProviderEntry>) -> Self {
        Self { own, is_plugin: false }
    }

    pub(crate) fn plugin(own: Vec<ProviderEntry>) -> Self {
        Self { own, is_plugin: true }
    }

    /// Whether this executable is the plugin of one backend.
    pub(crate) fn is_plugin(&self) -> bool {
        self.is_plugin
    }

    /// The backend and the device that are wanted. Where the backend is left open, says on stderr what was taken and why,
    /// unless `quiet`.
    pub(crate) fn choose(&self, wanted: &Compute, quiet: bool) -> Result<Chosen, CliError> {
        match &wanted.backend {
            None if self.is_plugin => Ok(own(wanted, tributary::choose_entry(&self.own[0], wanted)?)),
            None => self.choose_best(wanted, quiet),
            Some(name) => self.named(name, wanted),
        }
    }

    fn named(&self, name: &str, wanted: &Compute) -> Result<Chosen, CliError> {
        if let Some(entry) = self.entry(name) {
            return Ok(own(wanted, tributary::choose_entry(entry, wanted)?));
        }
        if self.is_plugin {
            return Err(CliError::OtherBackend { own: self.own[0].name.to_owned(), name: name.to_owned() });
        }
        let unusable = |unusable| tributary::Error::Unusable { name: name.to_owned(), unusable };
        let Some(plugin) = Plugin::find(name) else {
            return Err(match KNOWN_PLUGINS.iter().find(|(known, _)| *known == name) {
                Some(_) => unusable(Unusable::because(not_installed(name))).into(),
                None => CliError::UnknownBackend {
                    name: name.to_owned(),
                    known: self.own.iter().map(|entry| entry.name).collect::<Vec<_>>().join(", "),
                },
            });
        };
        plugin.describe().device_for(wanted).map_err(unusable)?;
        Ok(Chosen::Plugin(plugin))
    }

    fn entry(&self, name: &str) -> Option<&ProviderEntry> {
        self.own.iter().find(|entry| entry.name == name)
    }

    fn choose_best(&self, wanted: &Compute, quiet: bool) -> Result<Chosen, CliError> {
        let mut plugins = BTreeMap::new();
        let chosen = first_usable(PREFERENCE, wanted, |name| {
            if let Some(entry) = self.entry(name) {
                return Ok(BackendDescription::of(entry));
            }
            let plugin = plugin_for_auto(name, wanted.device.as_deref())?;
            let description = plugin.describe();
            plugins.insert(name.to_owned(), plugin);
            Ok(description)
        })?;
        if !quiet {
            say_choice(&chosen);
        }
        Ok(match plugins.remove(&chosen.name) {
            Some(plugin) => Chosen::Plugin(plugin),
            None => own(wanted, chosen),
        })
    }

    /// What this executable is, for whoever found it as a plugin; `None` when it is none.
    pub(crate) fn own_description(&self) -> Option<BackendDescription> {
        self.is_plugin.then(|| BackendDescription::of(&self.own[0]))
    }

    /// Everything there is to know of every backend, with the path of those in other executables.
    pub(crate) fn descriptions(&self) -> Vec<(BackendDescription, Option<PathBuf>)> {
        let mut descriptions: Vec<_> = self.own.iter().map(|entry| (BackendDescription::of(entry), None)).collect();
        if self.is_plugin {
            return descriptions;
        }
        let mut plugins = Plugin::all();
        plugins.retain(|name, _| self.entry(name).is_none());
        for (name, description) in KNOWN_PLUGINS {
            if !plugins.contains_key(name) && self.entry(name).is_none() {
                let unusable = BackendDescription::unusable(name, description, "", not_installed(name));
                descriptions.push((unusable, None));
            }
        }
        descriptions.extend(plugins.into_values().map(|plugin| (plugin.describe(), Some(plugin.path))));
        descriptions
    }
}

/// A backend of this executable.
fn own(wanted: &Compute, chosen: tributary::Chosen) -> Chosen {
    Chosen::Own(Compute { backend: Some(chosen.name), device: Some(chosen.device), ..wanted.clone() })
}

/// The plugin to ask when a GPU is looked for; or why there is no need to ask. Starting one costs up to a second.
fn plugin_for_auto(name: &str, device: Option<&str>) -> Result<Plugin, String> {
    if device.is_some_and(|device| !device.starts_with("cuda")) {
        return Err("not asked, as it computes on GPUs and the device is none".to_owned());
    }
    let plugin = Plugin::find(name).ok_or_else(|| "not installed".to_owned())?;
    if cfg!(target_os = "linux") && !GPU_FILES.iter().any(|file| Path::new(file).exists()) {
        return Err(format!("no NVIDIA GPU here (none of {})", GPU_FILES.join(", ")));
    }
    Ok(plugin)
}

/// One of these is there wherever Linux, alone, in a container or under Windows, gives access to an NVIDIA GPU.
const GPU_FILES: [&str; 4] = ["/dev/nvidiactl", "/dev/nvidia0", "/dev/nvmap", "/dev/dxg"];

fn not_installed(name: &str) -> String {
    format!(
        "it is not installed: there is no executable {PREFIX}{name} beside tributary or on PATH; \
         `cargo xtask install {name}` in tributary's source folder builds and installs it"
    )
}

fn say_choice(tributary::Chosen { name, device, passed_over }: &tributary::Chosen) {
    let reasons: Vec<String> = passed_over.iter().map(|(name, reason)| format!("{name}: {reason}")).collect();
    let because = if reasons.is_empty() { String::new() } else { format!("; not {}", reasons.join("; not ")) };
    console::say(&format!("backend {name} on {device}, the first usable{because}"));
}
