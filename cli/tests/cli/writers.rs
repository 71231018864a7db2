//! Commands that write into a folder where something is already, and what the folder may be like afterwards.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::LazyLock;

use serde_json::Value;

use crate::workshop::{Workshop, stderr};

/// A command, the folder that it writes to, and what it is given.
pub(crate) struct Writer {
    pub(crate) name: &'static str,
    /// Relative to the workshop.
    pub(crate) folder: &'static str,
    pub(crate) args: &'static [&'static str],
}

/// Every command that writes, into a folder that [`prepared`] has filled.
pub(crate) const WRITERS: [Writer; 7] = [
    Writer { name: "attribute", folder: "out", args: ATTRIBUTE },
    Writer { name: "attribute --plot", folder: "out", args: ATTRIBUTE_PLOT },
    Writer { name: "plot", folder: "out", args: &["plot", "out", "--force", "--top-edges", "9", "--quiet"] },
    Writer {
        name: "report",
        folder: "pages",
        args: &["report", "out", "-o", "pages/r.html", "--force", "--max-edges", "9"],
    },
    Writer {
        name: "export",
        folder: "graphs",
        args: &["export", "out", "--format", "circuit-tracer", "--out", "graphs", "--force", "--no-pruning", "--quiet"],
    },
    Writer {
        name: "compare",
        folder: "both",
        args: &["compare", "out", "--out", "both", "--force", "--min-edge", "0.01"],
    },
    Writer { name: "evaluate", folder: "swept", args: EVALUATE },
];

const EVALUATE: &[&str] = &[
    "evaluate",
    "out",
    "--sweep",
    "swept/sweep.svg",
    "--force",
    "--quiet",
    "--draws=2",
    "--restarts=1",
    "--position=1",
    "--backend=flex",
];

/// Without its last word.
const ATTRIBUTE: &[&str] = ATTRIBUTE_PLOT.split_at(ATTRIBUTE_PLOT.len() - 1).0;
const ATTRIBUTE_PLOT: &[&str] = &[
    "attribute",
    "--model",
    "run",
    "--ci-sets",
    "sets.json",
    "--out",
    "out",
    "--force",
    "--quiet",
    "--ci-threshold",
    "0.4",
    "--backend=flex",
    "--plot",
];

/// A workshop where each command has written already, with other settings than those of [`WRITERS`].
pub(crate) fn prepared() -> Workshop {
    static ONCE: LazyLock<Workshop> = LazyLock::new(prepare);
    ONCE.copy()
}

fn prepare() -> Workshop {
    let workshop = Workshop::small();
    assert!(workshop.attribute(&["--quiet", "--plot"]).status.success());
    workshop.succeed(&["report", "out", "-o", "pages/r.html"]);
    workshop.succeed(&["export", "out", "--format", "circuit-tracer", "--out", "graphs"]);
    workshop.succeed(&["compare", "out", "--out", "both"]);
    workshop.succeed(&["evaluate", "out", "--sweep", "swept/sweep.svg", "--draws=2", "--restarts=1", "--backend=flex"]);
    fs::write(workshop.path("out/notes.txt"), "mine").unwrap();
    workshop
}

/// What is in a folder of a workshop, with hidden files, without durations and where the workshop is.
pub(crate) fn contents(workshop: &Workshop, folder: &str) -> BTreeMap<String, Vec<u8>> {
    let mut contents = BTreeMap::new();
    for entry in fs::read_dir(workshop.path(folder)).unwrap() {
        let (name, path) = entry.map(|entry| (entry.file_name().into_string().unwrap(), entry.path())).unwrap();
        if path.is_dir() {
            contents.insert(format!("{name}/"), Vec::new());
            let inner = self::contents(workshop, &format!("{folder}/{name}"));
            contents.extend(inner.into_iter().map(|(inner, bytes)| (format!("{name}/{inner}"), bytes)));
        } else {
            let mut bytes = fs::read(&path).unwrap();
            if name == "manifest.json" {
                let mut manifest: Value = serde_json::from_slice(&bytes).unwrap();
                manifest["timings"].take();
                manifest["inputs"].take();
                for set in manifest["sets"].as_array_mut().unwrap() {
                    set["metadata"].take();
                }
                bytes = manifest.to_string().into_bytes();
            }
            contents.insert(name, bytes);
        }
    }
    contents
}

/// The folder of a writer before and after the command, undisturbed.
pub(crate) fn both(writer: &Writer) -> [BTreeMap<String, Vec<u8>>; 2] {
    let workshop = prepared();
    let before = contents(&workshop, writer.folder);
    workshop.succeed(writer.args);
    let after = contents(&workshop, writer.folder);
    assert_ne!(before, after, "{} changes nothing", writer.name);
    [before, after]
}

/// After something has happened to a command: the next one, which only reads, finds the folder as it was before or as it is
/// after, and nothing else in it; and the command itself succeeds.
pub(crate) fn assert_whole(workshop: &Workshop, writer: &Writer, both: &[BTreeMap<String, Vec<u8>>; 2], what: &str) {
    // Exports and pages are no results: there, what comes next is another export or page.
    let reader: &[&str] = match writer.name {
        "report" => &["report", "out", "-o", "pages/other.html", "--quiet"],
        "export" => &["export", "out", "--format", "graphml", "--out", "graphs", "--quiet"],
        "compare" => &["inspect", "both"],
        "evaluate" => &["evaluate", "out", "--sweep", "swept/other.svg", "--draws=1", "--restarts=1", "--quiet"],
        _ => &["inspect", "out"],
    };
    workshop.succeed(reader);
    let mut found = contents(workshop, writer.folder);
    found.retain(is_the_writers);
    let is_one = both.contains(&found);
    assert!(is_one, "{}, {what}: {:?} is neither old nor new", writer.name, found.keys().collect::<Vec<_>>());
    workshop.succeed(writer.args);
    let mut found = contents(workshop, writer.folder);
    found.retain(is_the_writers);
    assert!(found == both[1], "{}, {what}: {:?} is not new", writer.name, found.keys().collect::<Vec<_>>());
}

/// Whether a file is none of those that what comes next has written.
fn is_the_writers(name: &String, _: &mut Vec<u8>) -> bool {
    !name.starts_with("other.") && Path::new(name).extension().is_none_or(|found| found != "graphml")
}

/// Runs a command to its end, whatever that is.
pub(crate) fn finish(mut command: Command) -> (Option<i32>, String) {
    let output = command.output().unwrap();
    (output.status.code(), stderr(&output))
}
