//! What is given as a path, and what is at it.

use std::ffi::{OsStr, OsString};
use std::fs::{self, Permissions};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::PermissionsExt;

use crate::Attack;
use crate::attack::{refused, taken, usage};
use crate::scene::{Scene, attribute, export, inspect, line};

/// With another file of CI sets.
fn sets(path: impl Into<OsString>) -> Vec<OsString> {
    let mut args = attribute();
    args[4] = path.into();
    args
}

/// With another run.
fn model(path: impl Into<OsString>) -> Vec<OsString> {
    let mut args = attribute();
    args[2] = path.into();
    args
}

/// Copies the CI sets to a file of this name.
fn copied(scene: &Scene, name: impl AsRef<OsStr>) -> Vec<OsString> {
    fs::copy(scene.path("sets.json"), scene.path(name.as_ref())).unwrap();
    sets(name.as_ref())
}

/// Takes away the right to read a file, where that means something.
fn unreadable(scene: &Scene, name: &str) {
    let path = scene.path(name);
    fs::set_permissions(&path, Permissions::from_mode(0o000)).unwrap();
    if fs::File::open(&path).is_ok() {
        tributary_testing::skip("inputs without the right to read them", "root reads everything");
        fs::remove_file(path).unwrap();
    }
}

pub(crate) fn attacks() -> Vec<Attack> {
    [ci_sets(), runs(), results(), spelling()].concat()
}

fn ci_sets() -> Vec<Attack> {
    vec![
        refused("sets-a-fifo", "a pipe that nobody writes to", "fifo", |s| {
            s.fifo("fifo");
            sets("fifo")
        }),
        refused("sets-dev-zero", "a device without end", "/dev/zero", |_| sets("/dev/zero")),
        refused("sets-dev-full", "a device that is full", "/dev/full", |_| sets("/dev/full")),
        refused("sets-a-socket", "a socket", "socket", |s| {
            s.socket("socket");
            sets("socket")
        }),
        refused("sets-a-folder", "a folder", "run", |_| sets("run")),
        refused("sets-a-dangling-link", "a link to nothing", "link", |s| {
            s.link("nothing", "link");
            sets("link")
        }),
        refused("sets-a-link-to-itself", "a link that leads to itself", "link", |s| {
            s.link("link", "link");
            sets("link")
        }),
        refused("sets-a-link-to-a-device", "a link to a device without end", "link", |s| {
            s.link("/dev/zero", "link");
            sets("link")
        }),
        refused("sets-of-no-rights", "a file that must not be read", "sets.json", |s| {
            unreadable(s, "sets.json");
            attribute()
        })
        .varying("root reads everything"),
        refused("sets-in-a-file", "a path that goes on after a file", "sets.json/inner", |_| sets("sets.json/inner")),
        usage("sets-of-no-name", "an empty path", |_| sets("")),
        refused("sets-that-are-not-there", "a path of nothing", "nothing.json", |_| sets("nothing.json")),
        refused("sets-a-sparse-terabyte", "a file of a terabyte of nothing", "sparse", |s| {
            fs::File::create(s.path("sparse")).unwrap().set_len(1 << 40).unwrap();
            sets("sparse")
        }),
        refused("sets-of-proc", "a file that grows while it is read", "/proc/self/maps", |_| sets("/proc/self/maps"))
            .varying("it is about addresses in memory"),
    ]
}

fn runs() -> Vec<Attack> {
    vec![
        refused("run-a-fifo", "a pipe in place of the run's folder", "fifo", |s| {
            s.fifo("fifo");
            model("fifo")
        }),
        refused("run-dev-zero", "a device in place of the run's folder", "/dev/zero", |_| model("/dev/zero")),
        refused("checkpoint-a-fifo", "a pipe in place of the checkpoint", "run/model_1.pth", |s| {
            s.remove("run/model_1.pth");
            s.fifo("run/model_1.pth");
            attribute()
        }),
        refused("checkpoint-dev-zero", "a link to a device in place of the checkpoint", "run/model_1.pth", |s| {
            s.remove("run/model_1.pth");
            s.link("/dev/zero", "run/model_1.pth");
            attribute()
        }),
        refused("checkpoint-a-sparse-terabyte", "a checkpoint of a terabyte of nothing", "run/model_1.pth", |s| {
            fs::File::create(s.path("run/model_1.pth")).unwrap().set_len(1 << 40).unwrap();
            attribute()
        }),
        refused("checkpoint-a-folder", "a folder in place of the checkpoint", "run/model_1.pth", |s| {
            s.remove("run/model_1.pth");
            s.folder("run/model_1.pth");
            attribute()
        }),
        refused("config-a-fifo", "a pipe in place of the config", "run/final_config.yaml", |s| {
            s.remove("run/final_config.yaml");
            s.fifo("run/final_config.yaml");
            attribute()
        }),
        refused("target-a-link-to-itself", "a target folder that leads to itself", "run/target", |s| {
            s.remove("run/target");
            s.link("target", "run/target");
            attribute()
        }),
        refused("tokenizer-dev-zero", "a device as the tokenizer", "/dev/zero", |_| {
            [attribute(), line(["--tokenizer", "/dev/zero"])].concat()
        }),
        refused("tokenizer-a-socket", "a socket as the tokenizer", "socket", |s| {
            s.socket("socket");
            [attribute(), line(["--tokenizer", "socket"])].concat()
        }),
    ]
}

fn results() -> Vec<Attack> {
    vec![
        refused("results-a-file", "a file in place of a result folder", "sets.json", |_| {
            line(["inspect", "sets.json"])
        }),
        refused("results-dev-zero", "a device in place of a result folder", "/dev/zero", |_| {
            line(["inspect", "/dev/zero"])
        }),
        refused("manifest-a-fifo", "a pipe in place of the manifest", "out/manifest.json", |s| {
            s.remove("out/manifest.json");
            s.fifo("out/manifest.json");
            inspect()
        }),
        refused("manifest-dev-zero", "a link to a device in place of the manifest", "out/manifest.json", |s| {
            s.remove("out/manifest.json");
            s.link("/dev/zero", "out/manifest.json");
            inspect()
        }),
        refused("manifest-a-folder", "a folder in place of the manifest", "out/manifest.json", |s| {
            s.remove("out/manifest.json");
            s.folder("out/manifest.json");
            inspect()
        }),
        refused("set-file-a-fifo", "a pipe in place of a set's file", "out/low.safetensors", |s| {
            s.remove("out/low.safetensors");
            s.fifo("out/low.safetensors");
            export()
        }),
        refused("set-file-dev-zero", "a link to a device in place of a set's file", "out/low.safetensors", |s| {
            s.remove("out/low.safetensors");
            s.link("/dev/zero", "out/low.safetensors");
            export()
        }),
    ]
}

fn spelling() -> Vec<Attack> {
    vec![
        refused("name-of-300-characters", "a name that no file system takes", "nnnnnnnnnn", |_| sets("n".repeat(300))),
        refused("path-of-100000-characters", "a path that no system takes", "n/n/n/n/n", |_| sets("n/".repeat(50_000))),
        refused("output-path-of-100000-characters", "such a path for the output", "n/n/n/n/n", |_| {
            let mut args = attribute();
            args[6] = "n/".repeat(50_000).into();
            args
        }),
        refused("name-with-escapes", "a name that turns the terminal red", "u{1b}[31mred", |_| sets("\u{1b}[31mred")),
        refused("name-with-lines", "a name of two lines, the second like a message", "a.json\\nerror", |_| {
            sets("a.json\nerror: all is well")
        }),
        refused("name-that-turns-around", "a name with a mark of writing direction", "u{202e}", |_| {
            sets("a\u{202e}nosj.b")
        }),
        refused("name-not-utf-8", "a name of bytes that are no UTF-8", ".json", |_| {
            sets(OsString::from_vec(b"a\xff\xfe.json".to_vec()))
        }),
        taken("name-not-utf-8-of-a-file", "a file under such a name", |s| {
            copied(s, OsStr::from_bytes(b"a\xff\xfe.json"))
        }),
        taken("name-with-escapes-of-a-file", "a file whose name turns the terminal red", |s| {
            copied(s, "\u{1b}[31mred\u{202e}.json")
        }),
        taken("name-like-a-flag", "a file whose name looks like a flag", |s| {
            fs::copy(s.path("sets.json"), s.path("--force")).unwrap();
            sets("./--force")
        }),
    ]
}
