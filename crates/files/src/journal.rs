//! What a commit moves, written down before it begins.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::durable;
use crate::place::{link_on_the_way, move_to_free, unless_missing};
use crate::{FilesError, input};

/// The new files, by number.
pub(crate) const NEW: &str = "new";
/// During the commit: what they replace, by the same numbers.
pub(crate) const OLD: &str = "old";
/// There while a commit is under way: what has to be undone when it is found.
const COMMIT: &str = "commit";
/// There when everything is in place.
const DONE: &str = "done";

/// A name in the folder and what happens to it. Its number is its place in the journal.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Move {
    /// Relative to the folder.
    pub(crate) name: OsString,
    /// Whether a new file comes there.
    pub(crate) new: bool,
    /// Whether there is a file that goes away.
    pub(crate) old: bool,
}

impl Move {
    pub(crate) fn new(name: &Path, new: bool) -> Self {
        Self { name: name.as_os_str().to_owned(), new, old: false }
    }

    pub(crate) fn name(&self) -> &Path {
        Path::new(&self.name)
    }
}

/// Whether joining `name` to a folder stays inside it.
pub(crate) fn is_inside(name: &Path) -> bool {
    let mut components = name.components();
    components.clone().next().is_some() && components.all(|component| matches!(component, Component::Normal(_)))
}

/// Reads a journal: the names of some million files at most.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    input::read(path, "a journal", 1 << 30).map_err(|error| match error {
        FilesError::Io { source, .. } => source,
        error => io::Error::new(io::ErrorKind::InvalidData, error.to_string()),
    })
}

/// The moves of a commit, in the order in which new files come into place; old ones go in the opposite order. So what comes
/// last, a manifest, is never there with files that it does not belong to.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Journal {
    pub(crate) moves: Vec<Move>,
    /// Folders that are made for new files, relative to the folder, outer ones first.
    made: Vec<OsString>,
}

impl Journal {
    /// The journal of `moves` in `folder`.
    pub(crate) fn new(folder: &Path, moves: Vec<Move>) -> Self {
        let parents = moves.iter().filter(|of| of.new).flat_map(|of| of.name().ancestors().skip(1));
        let missing = parents.filter(|parent| !parent.as_os_str().is_empty() && !folder.join(parent).exists());
        // An outer folder is before what is in it.
        let made: BTreeSet<PathBuf> = missing.map(Path::to_owned).collect();
        Self { moves, made: made.into_iter().map(PathBuf::into_os_string).collect() }
    }

    /// Whether files go away that were there.
    pub(crate) fn replaces(&self) -> bool {
        self.moves.iter().any(|of| of.old)
    }

    /// Moves everything into place. `run` holds the new files. Where files are replaced, each step is on the disk before the
    /// next, so that a power cut leaves one or the other.
    pub(crate) fn carry_out(&self, folder: &Path, run: &Path) -> io::Result<()> {
        let is_durable = self.replaces();
        if is_durable {
            let new = self.numbered().filter(|(_, of)| of.new);
            durable::contents(&run.join(NEW), &new.map(|(number, _)| run.join(NEW).join(number)).collect::<Vec<_>>())?;
        }
        // Whole or not there: half a journal could not be undone.
        let partial = run.join("journal");
        fs::write(&partial, serde_json::to_vec(self).map_err(io::Error::other)?)?;
        if is_durable {
            durable::contents(run, &[&partial])?;
        }
        fs::rename(&partial, run.join(COMMIT))?;
        if is_durable {
            durable::names(run)?;
        }
        for made in &self.made {
            fs::create_dir(folder.join(made))?;
        }
        for (number, of) in self.numbered().rev().filter(|(_, of)| of.old) {
            fs::rename(folder.join(of.name()), run.join(OLD).join(number))?;
        }
        for (number, of) in self.numbered().filter(|(_, of)| of.new) {
            move_to_free(&run.join(NEW).join(number), &folder.join(of.name()))?;
        }
        if is_durable {
            self.folders(folder).iter().try_for_each(|folder| durable::names(folder))?;
        }
        fs::rename(run.join(COMMIT), run.join(DONE))?;
        if is_durable { durable::names(run) } else { Ok(()) }
    }

    /// Undoes a commit that was begun in `run` and did not end, if there is one. May itself be interrupted and begun again:
    /// where a file is says what has been done with it, and files are only moved.
    pub(crate) fn undo(folder: &Path, run: &Path) -> io::Result<()> {
        let Some(bytes) = unless_missing(read(&run.join(COMMIT)))? else { return Ok(()) };
        let journal: Self = serde_json::from_slice(&bytes)?;
        let names = journal.moves.iter().map(Move::name).chain(journal.made.iter().map(Path::new));
        // Who made the folder may want files elsewhere moved.
        let leads_out = |name: &Path| !is_inside(name) || link_on_the_way(folder, name).is_some();
        if names.into_iter().any(leads_out) || [NEW, OLD].iter().any(|inner| run.join(inner).is_symlink()) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "its journal names files outside of the folder"));
        }
        for (number, of) in journal.numbered().rev().filter(|(_, of)| of.new) {
            let new = run.join(NEW).join(number);
            if new.symlink_metadata().is_err() {
                unless_missing(fs::rename(folder.join(of.name()), &new))?;
            }
        }
        for (number, of) in journal.numbered().filter(|(_, of)| of.old) {
            let old = run.join(OLD).join(number);
            if old.symlink_metadata().is_ok() {
                move_to_free(&old, &folder.join(of.name()))?;
            }
        }
        for made in journal.made.iter().rev() {
            // Somebody else may have put files into it since.
            let _ = fs::remove_dir(folder.join(made));
        }
        if journal.replaces() {
            journal.folders(folder).iter().try_for_each(|folder| durable::names(folder))?;
        }
        fs::remove_file(run.join(COMMIT))?;
        // Old files that are in place must not be looked for by another undo, in what a power cut left of the run.
        if journal.replaces() { durable::names(run) } else { Ok(()) }
    }

    /// Whether a commit in `run` was begun and did not end.
    pub(crate) fn is_begun(run: &Path) -> bool {
        run.join(COMMIT).symlink_metadata().is_ok()
    }

    fn numbered(&self) -> impl DoubleEndedIterator<Item = (String, &Move)> {
        self.moves.iter().enumerate().map(|(number, of)| (number.to_string(), of))
    }

    /// The folders that names come into or go away from, as far as they are there.
    fn folders(&self, folder: &Path) -> BTreeSet<PathBuf> {
        let parents = self.moves.iter().filter_map(|of| of.name().parent()).map(|parent| folder.join(parent));
        parents.chain([folder.to_owned()]).filter(|folder| folder.is_dir()).collect()
    }
}
