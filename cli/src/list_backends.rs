//! `tributary backends`.

use serde_json::json;

use crate::args::BackendsArgs;
use crate::{BackendEntry, CliError, console};

pub(crate) fn run(args: &BackendsArgs, backends: &[BackendEntry]) -> Result<(), CliError> {
    if args.json {
        let describe = |entry: &BackendEntry| {
            let devices = entry.devices();
            json!({
                "name": entry.name,
                "description": entry.description,
                "built_in": entry.is_built_in(),
                "devices": devices.as_ref().ok(),
                "unusable_because": devices.as_ref().err(),
            })
        };
        return console::print(&format!(
            "{}\n",
            json!({ "backends": backends.iter().map(describe).collect::<Vec<_>>() })
        ));
    }
    let mut table = console::table(["backend", "what it is", "built in", "usable here"]);
    for entry in backends {
        let built_in = if entry.is_built_in() { "yes" } else { "no" };
        let usable = match entry.devices() {
            Ok(devices) => format!("yes, on {}", devices.join(", ")),
            Err(reason) => format!("no: {reason}"),
        };
        table.add_row([entry.name, entry.description, built_in, &usable]);
    }
    console::print(&format!("{table}\n"))
}
