//! `tributary backends`.

use std::path::PathBuf;

use comfy_table::ContentArrangement;
use serde_json::{Value, json};
use tributary::{BackendDescription, DeviceDescription};

use crate::args::BackendsArgs;
use crate::backends::Backends;
use crate::{CliError, console, visible};

pub(crate) fn run(args: &BackendsArgs, backends: &Backends) -> Result<(), CliError> {
    let backends = backends.descriptions();
    if args.json {
        let backends: Vec<Value> =
            backends.iter().map(|(backend, path)| describe_json(backend, path.as_ref())).collect();
        return console::print_json(&format!("{}\n", json!({ "backends": backends })));
    }
    let mut table = console::table(["backend", "what it is", "version", "where", "usable here"]);
    table.set_content_arrangement(ContentArrangement::Dynamic);
    for (backend, path) in &backends {
        let location = match path {
            Some(path) => path.display().to_string(),
            None if backend.version.is_empty() => "-".to_owned(),
            None => "built in".to_owned(),
        };
        let version = if backend.version.is_empty() { "-" } else { &backend.version };
        table.add_row([
            &backend.name,
            &backend.description,
            version,
            &location,
            &visible::on_one_line(&usable(backend)),
        ]);
    }
    console::print(&format!("{table}\n"))
}

/// Answers whoever found this executable as a plugin.
pub(crate) fn describe(backends: &Backends) -> Result<(), CliError> {
    let own = backends.own_description().ok_or(CliError::NotAPlugin)?;
    console::print_json(&format!("{}\n", json!(own)))
}

fn describe_json(backend: &BackendDescription, path: Option<&PathBuf>) -> Value {
    let mut value = json!(backend);
    value["path"] = json!(path);
    value
}

fn usable(backend: &BackendDescription) -> String {
    if let Some(reason) = &backend.unusable_because {
        return format!("no: {reason}");
    }
    let devices: Vec<String> = backend.devices.iter().map(device).collect();
    let note = backend.note.as_ref().map_or_else(String::new, |note| format!(" ({note})"));
    format!("yes, on {}{note}", devices.join("; "))
}

fn device(device: &DeviceDescription) -> String {
    let memory =
        device.memory.map_or_else(String::new, |bytes| format!(", {:.1} GiB", bytes as f64 / f64::from(1 << 30)));
    format!("{} ({}{memory}, {})", device.name, device.description, device.dtypes.join(" "))
}
