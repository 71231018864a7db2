//! What is already where output goes.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;

use serde_json::json;

use crate::Attack;
use crate::attack::{refused, taken};
use crate::scene::{Scene, attribute, inspect, line};

/// The journal of a commit, as a killed run leaves it; and what is beside it in the folder of the run.
fn killed(scene: &Scene, moves: &[(&str, bool, bool)], made: &[&str]) {
    let name = |name: &str| json!({ "Unix": name.as_bytes() });
    let moves: Vec<_> =
        moves.iter().map(|(path, new, old)| json!({ "name": name(path), "new": new, "old": old })).collect();
    let made: Vec<_> = made.iter().map(|path| name(path)).collect();
    scene.folder("out/.tributary-partial/results-0/new");
    scene.folder("out/.tributary-partial/results-0/old");
    scene.write("out/.tributary-partial/results-0/alive", "");
    scene.write("out/.tributary-partial/results-0/commit", json!({ "moves": moves, "made": made }).to_string());
}

/// Results over those that are there.
fn again() -> Vec<std::ffi::OsString> {
    let mut args = attribute();
    args[6] = "out".into();
    [args, line(["--force"])].concat()
}

pub(crate) fn attacks() -> Vec<Attack> {
    [occupied(), partial(), journals()].concat()
}

fn occupied() -> Vec<Attack> {
    vec![
        refused("a-file", "a file where the folder would be", "new", |s| {
            s.write("new", "mine");
            attribute()
        }),
        refused("a-device", "a device where the folder would be", "/dev/null", |_| {
            let mut args = attribute();
            args[6] = "/dev/null".into();
            args
        }),
        refused("a-fifo", "a pipe where the folder would be", "new", |s| {
            s.fifo("new");
            attribute()
        }),
        refused("a-dangling-link", "a link to nothing where the folder would be", "new", |s| {
            s.link("../outside/nothing", "new");
            attribute()
        }),
        refused("a-link-to-itself", "a link to itself where the folder would be", "new", |s| {
            s.link("new", "new");
            attribute()
        }),
        refused("results-of-somebody", "results, and no word of replacing them", "out", |_| {
            let mut args = attribute();
            args[6] = "out".into();
            args
        }),
        refused("another-manifest", "a manifest of something else, to be replaced by force", "new", |s| {
            s.write("new/manifest.json", r#"{"name": "my app", "short_name": "app"}"#);
            [attribute(), line(["--force"])].concat()
        }),
        refused("another-manifest-that-is-broken", "a manifest that is no JSON, to be replaced by force", "new", |s| {
            s.write("new/manifest.json", "{{{");
            [attribute(), line(["--force"])].concat()
        }),
        refused("a-manifest-that-is-a-link", "a manifest elsewhere, to be replaced by force", "new", |s| {
            s.folder("new");
            s.link("../../outside/precious.txt", "new/manifest.json");
            [attribute(), line(["--force"])].concat()
        }),
        refused("a-manifest-that-is-a-fifo", "a pipe in the manifest's place, by force", "new", |s| {
            s.folder("new");
            s.fifo("new/manifest.json");
            [attribute(), line(["--force"])].concat()
        }),
        refused("no-rights-to-write", "a folder that must not be written to", "new", |s| {
            s.folder("new");
            fs::set_permissions(s.path("new"), Permissions::from_mode(0o555)).unwrap();
            if File::create(s.path("new/probe")).is_ok() {
                tributary_testing::skip("output to folders without the right to write", "root writes everywhere");
                fs::remove_file(s.path("new/probe")).unwrap();
                fs::remove_dir(s.path("new")).unwrap();
                s.write("new", "");
            }
            attribute()
        })
        .varying("root writes everywhere"),
        refused("proc", "a folder of the system that takes no files", "/proc", |_| {
            let mut args = attribute();
            args[6] = "/proc/new".into();
            args
        }),
        taken("set-files-that-are-links", "files of sets that are links to elsewhere, to be replaced", |s| {
            s.remove("out/low.safetensors");
            s.link("../../outside/precious.txt", "out/low.safetensors");
            again()
        })
        .changing("out"),
        taken("a-set-file-that-is-a-folder", "a folder in the place of a set's file, by force", |s| {
            s.remove("out/low.safetensors");
            s.write("out/low.safetensors/mine", "mine");
            again()
        })
        .changing("out"),
        refused("page-over-a-folder", "a page where a folder is, by force", "new", |s| {
            s.write("new/mine", "mine");
            line(["report", "out", "-o", "new", "--force"])
        }),
        taken("page-over-a-link", "a page where a link to elsewhere is, by force", |s| {
            s.folder("new");
            s.link("../../outside/precious.txt", "new/page.html");
            line(["report", "out", "-o", "new/page.html", "--force", "--quiet"])
        }),
    ]
}

fn partial() -> Vec<Attack> {
    const PARTIAL: &str = "out/.tributary-partial";
    vec![
        refused("partial-a-link", "our hidden folder is a link to elsewhere", PARTIAL, |s| {
            s.link("../../outside", PARTIAL);
            again()
        }),
        refused("partial-a-file", "our hidden folder is a file", PARTIAL, |s| {
            s.write(PARTIAL, "mine");
            again()
        }),
        refused("partial-a-fifo", "our hidden folder is a pipe", PARTIAL, |s| {
            s.fifo(PARTIAL);
            again()
        }),
        refused("lock-a-link", "the lock is a link to a file that is not there", PARTIAL, |s| {
            s.folder(PARTIAL);
            s.link("../../../outside/planted", "out/.tributary-partial/lock");
            again()
        }),
        refused("lock-a-fifo", "the lock is a pipe that nobody reads", PARTIAL, |s| {
            s.folder(PARTIAL);
            s.fifo("out/.tributary-partial/lock");
            again()
        }),
        refused("lock-a-folder", "the lock is a folder", PARTIAL, |s| {
            s.folder("out/.tributary-partial/lock");
            again()
        }),
        refused("alive-held", "another program writes results there", "out", |s| {
            s.write("out/.tributary-partial/results-1/alive", "");
            let alive = File::options().write(true).open(s.path("out/.tributary-partial/results-1/alive")).unwrap();
            alive.lock().unwrap();
            s.keep(alive);
            again()
        })
        .changing("out/.tributary-partial/lock"),
        refused("alive-a-fifo", "the sign of life is a pipe that nobody reads", PARTIAL, |s| {
            s.folder("out/.tributary-partial/results-1");
            s.fifo("out/.tributary-partial/results-1/alive");
            again()
        })
        .changing("out/.tributary-partial/lock"),
        taken("run-without-sign-of-life", "a run killed before it locked anything", |s| {
            s.write("out/.tributary-partial/results-1/new/0", "half");
            again()
        })
        .changing("out"),
        taken("run-that-is-a-link", "a link named like a run's folder", |s| {
            s.folder(PARTIAL);
            s.link("../../../outside", "out/.tributary-partial/results-1");
            inspect()
        })
        .changing("out"),
        taken("run-with-links-in-it", "a killed run whose new files are links to elsewhere", |s| {
            s.folder("out/.tributary-partial/results-1");
            s.write("out/.tributary-partial/results-1/alive", "");
            s.link("../../../../outside", "out/.tributary-partial/results-1/new");
            inspect()
        })
        .changing("out"),
        taken("foreign-files-in-partial", "files of somebody in our hidden folder", |s| {
            s.write("out/.tributary-partial/notes.txt", "mine");
            inspect()
        })
        .changing("out/.tributary-partial/lock"),
        taken("1000-killed-runs", "a thousand runs that were killed", |s| {
            for run in 0..1000 {
                s.write(&format!("out/.tributary-partial/files-{run}/alive"), "");
            }
            inspect()
        })
        .changing("out"),
    ]
}

fn journals() -> Vec<Attack> {
    const PARTIAL: &str = "out/.tributary-partial";
    vec![
        refused("journal-that-leads-out", "a journal with a file beside the folder", PARTIAL, |s| {
            killed(s, &[("../../outside/precious.txt", true, false)], &[]);
            inspect()
        })
        .changing("out/.tributary-partial/lock"),
        refused("journal-of-an-absolute-path", "a journal with a file anywhere", PARTIAL, |s| {
            killed(s, &[("/etc/hosts", true, false)], &[]);
            inspect()
        })
        .changing("out/.tributary-partial/lock"),
        refused("journal-that-makes-folders-outside", "a journal that made a folder elsewhere", PARTIAL, |s| {
            killed(s, &[], &["../../outside/empty"]);
            inspect()
        })
        .changing("out/.tributary-partial/lock"),
        refused("journal-through-a-link", "a journal with a file behind a link of the folder", PARTIAL, |s| {
            s.link("../../outside", "out/figures");
            killed(s, &[("figures/precious.txt", true, false)], &[]);
            inspect()
        })
        .changing("out/.tributary-partial/lock"),
        refused("journal-back-through-a-link", "a journal that puts a file behind a link", PARTIAL, |s| {
            s.link("../../outside", "out/figures");
            killed(s, &[("figures/planted.txt", false, true)], &[]);
            s.write("out/.tributary-partial/results-0/old/0", "planted");
            inspect()
        })
        .changing("out/.tributary-partial/lock"),
        refused("journal-whose-new-files-are-elsewhere", "files go to a link of the run's folder", PARTIAL, |s| {
            killed(s, &[("low.safetensors", true, false)], &[]);
            s.remove("out/.tributary-partial/results-0/new");
            s.link("../../../../outside", "out/.tributary-partial/results-0/new");
            inspect()
        })
        .changing("out/.tributary-partial/lock"),
        refused("journal-whose-old-files-are-elsewhere", "files come from a link of the run's folder", PARTIAL, |s| {
            s.write("../outside/0", "mine");
            killed(s, &[("stolen", false, true)], &[]);
            s.remove("out/.tributary-partial/results-0/old");
            s.link("../../../../outside", "out/.tributary-partial/results-0/old");
            inspect()
        })
        .changing("out/.tributary-partial/lock"),
        refused("journal-cut-short", "a journal that ends in the middle", PARTIAL, |s| {
            killed(s, &[("low.safetensors", true, false)], &[]);
            s.cut("out/.tributary-partial/results-0/commit", |length| length / 2);
            inspect()
        })
        .changing("out/.tributary-partial/lock"),
        refused("journal-deep", "a journal of 100 000 lists in each other", PARTIAL, |s| {
            killed(s, &[], &[]);
            s.write("out/.tributary-partial/results-0/commit", "[".repeat(100_000));
            inspect()
        })
        .changing("out/.tributary-partial/lock"),
        refused("journal-a-fifo", "a journal that is a pipe", PARTIAL, |s| {
            killed(s, &[], &[]);
            s.remove("out/.tributary-partial/results-0/commit");
            s.fifo("out/.tributary-partial/results-0/commit");
            inspect()
        })
        .changing("out/.tributary-partial/lock"),
        refused("journal-dev-zero", "a journal that is a link to a device without end", PARTIAL, |s| {
            killed(s, &[], &[]);
            s.remove("out/.tributary-partial/results-0/commit");
            s.link("/dev/zero", "out/.tributary-partial/results-0/commit");
            inspect()
        })
        .changing("out/.tributary-partial/lock"),
        taken("journal-of-nothing", "a journal of files that were never there", |s| {
            killed(s, &[("nothing", true, false)], &["no-folder"]);
            inspect()
        })
        .changing("out"),
    ]
}
