//! Writing to the terminal.

use std::io::{ErrorKind, Write};

use comfy_table::{ContentArrangement, Table};
use tributary_files::visible::in_lines;

use crate::args::OutputArgs;
use crate::{CliError, visible};

/// Writes text to stdout, as a terminal may have it.
pub(crate) fn print(text: &str) -> Result<(), CliError> {
    write(&in_lines(text))
}

/// Writes a line of JSON to stdout.
pub(crate) fn print_json(line: &str) -> Result<(), CliError> {
    write(&visible::json(line))
}

/// A reader that has seen enough and closed stdout (`| head`) is no failure.
fn write(text: &str) -> Result<(), CliError> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(CliError::Stdout(error)),
        _ => Ok(()),
    }
}

/// Writes what a command did, as the flags want it.
pub(crate) fn summarise(
    args: &OutputArgs,
    json: impl FnOnce() -> String,
    text: impl FnOnce() -> String,
) -> Result<(), CliError> {
    match args {
        OutputArgs { json: true, .. } => print_json(&json()),
        OutputArgs { quiet: true, .. } => Ok(()),
        _ => print(&text()),
    }
}

/// Writes a line to stderr, as a terminal may have it. Whether anybody reads it (`2>&1 | head`) must not decide over a run.
pub(crate) fn say(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{}", visible::cut(&in_lines(line)));
}

/// An empty table with these columns, in the one style of all commands.
pub(crate) fn table<const N: usize>(columns: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::UTF8_HORIZONTAL_ONLY);
    table.set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(columns);
    table
}
