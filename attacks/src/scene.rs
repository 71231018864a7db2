//! Where an attack takes place.

use std::any::Any;
use std::cell::RefCell;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// A folder with a trained run `run`, its CI sets `sets.json` and its results `out`, and beside it a folder `outside`, which
/// is nobody's business.
pub struct Scene {
    folder: PathBuf,
    /// What lives as long as the scene: locks, sockets.
    kept: RefCell<Vec<Box<dyn Any>>>,
}

impl Scene {
    /// The scene in `folder`, which holds the run, the sets and the results.
    pub fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), kept: RefCell::default() }
    }

    /// A path in the scene.
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.folder.join(name)
    }

    pub(crate) fn keep(&self, what: impl Any) {
        self.kept.borrow_mut().push(Box::new(what));
    }

    /// Writes a file, in a folder that is made if need be.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }

    pub(crate) fn remove(&self, name: &str) {
        let path = self.path(name);
        if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }.unwrap();
    }

    pub(crate) fn folder(&self, name: &str) {
        fs::create_dir_all(self.path(name)).unwrap();
    }

    /// Replaces the first occurrence of some bytes in a file; they must be there.
    pub(crate) fn replace(&self, name: &str, from: impl AsRef<[u8]>, to: impl AsRef<[u8]>) {
        let (mut bytes, from) = (self.read(name), from.as_ref());
        let start = bytes.windows(from.len()).position(|window| window == from);
        let start = start.unwrap_or_else(|| panic!("{name} has no {:?}", String::from_utf8_lossy(from)));
        bytes.splice(start..start + from.len(), to.as_ref().iter().copied());
        self.write(name, bytes);
    }

    /// Adds bytes at the end of a file.
    pub(crate) fn append(&self, name: &str, more: impl AsRef<[u8]>) {
        self.write(name, [&*self.read(name), more.as_ref()].concat());
    }

    /// Cuts a file off.
    pub(crate) fn cut(&self, name: &str, keep: impl FnOnce(usize) -> usize) {
        let bytes = self.read(name);
        self.write(name, &bytes[..keep(bytes.len())]);
    }

    /// Changes a JSON file.
    pub(crate) fn edit(&self, name: &str, edit: impl FnOnce(&mut Value)) {
        let mut value = serde_json::from_slice(&self.read(name)).unwrap();
        edit(&mut value);
        self.write(name, value.to_string());
    }

    pub(crate) fn link(&self, to: impl AsRef<Path>, name: &str) {
        std::os::unix::fs::symlink(to, self.path(name)).unwrap();
    }

    pub(crate) fn fifo(&self, name: &str) {
        let made = std::process::Command::new("mkfifo").arg(self.path(name)).status().unwrap();
        assert!(made.success());
    }

    pub(crate) fn socket(&self, name: &str) {
        self.keep(std::os::unix::net::UnixListener::bind(self.path(name)).unwrap());
    }
}

/// The arguments of a command.
pub(crate) fn line<const N: usize>(args: [&str; N]) -> Vec<OsString> {
    args.map(OsString::from).into()
}

/// Attributions of the CI sets, into `new`.
pub(crate) fn attribute() -> Vec<OsString> {
    line(["attribute", "--model", "run", "--ci-sets", "sets.json", "--out", "new", "--backend", "flex", "--quiet"])
}

/// Attributions of a prompt, into `new`.
pub(crate) fn attribute_prompt(prompt: &str) -> Vec<OsString> {
    line(["attribute", "--model", "run", "--prompt", prompt, "--out", "new", "--backend", "flex", "--quiet"])
}

/// A look at the results.
pub(crate) fn inspect() -> Vec<OsString> {
    line(["inspect", "out"])
}

/// An export of the results into `new`, which reads all of them.
pub(crate) fn export() -> Vec<OsString> {
    line(["export", "out", "--format", "graphml", "--out", "new", "--quiet"])
}
