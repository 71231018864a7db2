//! Two commands at a time on the same folders.

use std::process::{Child, Stdio};

use serde_json::Value;
use tributary_testing::cases;

use crate::workshop::Workshop;
use crate::writers::{WRITERS, Writer, contents, prepared};

fn spawn(workshop: &Workshop, args: &[&str]) -> Child {
    workshop.command(args).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Waits for a command, which may have found what another was writing, and says so then.
fn end(child: Child, writer: &Writer, other: &Writer) {
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let is_refusal = output.status.code() == Some(1) && said.starts_with("error: ");
    assert!(output.status.success() || is_refusal, "{} beside {}: {:?} {said}", writer.name, other.name, output.status);
}

/// Whichever two commands meet in a folder, both end, and every folder is one that commands can go on from, with nothing left
/// of either.
#[test]
fn no_two_commands_spoil_each_others_work() {
    for _ in 0..cases(1) {
        for (at, one) in WRITERS.iter().enumerate() {
            for other in &WRITERS[at..] {
                let workshop = prepared();
                let children = [spawn(&workshop, one.args), spawn(&workshop, other.args)];
                let [first, second] = children;
                end(first, one, other);
                end(second, other, one);
                for folder in ["out", "pages", "graphs", "both", "swept"] {
                    let names = contents(&workshop, folder);
                    let left = names.keys().find(|name| name.contains(".tributary-partial"));
                    assert_eq!(left, None, "{} beside {}, in {folder}", one.name, other.name);
                }
                for result in ["out", "both"] {
                    workshop.succeed(&["inspect", result]);
                    // Reads every set.
                    workshop.succeed(&["export", result, "--format", "graphml", "--out", "read", "--force", "--quiet"]);
                }
                for writer in [one, other] {
                    workshop.succeed(writer.args);
                }
            }
        }
    }
}

/// The list of graphs in a folder has every graph that was exported into it, whoever was at it at the same time.
#[test]
fn exports_into_one_folder_are_all_in_its_list() {
    for _ in 0..cases(4) {
        let workshop = prepared();
        let export = |set| {
            let args = ["export", "out", "--format", "circuit-tracer", "--out", "viewer", "--quiet", "--sets", set];
            spawn(&workshop, &args)
        };
        let children = [export("low"), export("high")];
        for child in children {
            let output = child.wait_with_output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
        assert_eq!(workshop.list("viewer"), ["graph-metadata.json", "high.json", "low.json"]);
        let list = std::fs::read_to_string(workshop.path("viewer/graph-metadata.json")).unwrap();
        let list: Value = serde_json::from_str(&list).unwrap();
        let mut slugs: Vec<&str> =
            list["graphs"].as_array().unwrap().iter().map(|graph| graph["slug"].as_str().unwrap()).collect();
        slugs.sort_unstable();
        assert_eq!(slugs, ["high", "low"]);
    }
}
