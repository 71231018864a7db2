//! Files that appear in a folder together or not at all.
//!
//! Everything is first written into a hidden folder inside the output folder, hence on the same file system:
//!
//! ```text
//! OUT/.tributary-partial/lock      locked by the run that writes
//! OUT/.tributary-partial/new/      the new files
//! OUT/.tributary-partial/old/      during the commit: the files they replace
//! OUT/.tributary-partial/commit    during the commit: the names of the new files, one per line
//! ```
//!
//! The commit moves the old manifest into `old`, writes `commit`, moves the other old files into `old`, the new files
//! out of `new`, and the new manifest last. Whatever interrupts it, [`roll_back`] can tell from this folder what to
//! undo: at once when a step fails, at the next run when the process was killed. A lock dies with its process, so a
//! folder whose `lock` is not locked is stale.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use crate::file_name::is_set_file;
use crate::{MANIFEST_FILE, ResultError};

/// Name of the hidden folder.
pub(crate) const PARTIAL: &str = ".tributary-partial";
const LOCK: &str = "lock";
const NEW: &str = "new";
const OLD: &str = "old";
const JOURNAL: &str = "commit";

/// The hidden folder, locked. Dropping it undoes everything that was not committed.
#[derive(Debug)]
pub(crate) struct Staging {
    out: PathBuf,
    /// Folders that were made for `out`, the innermost first.
    made: Vec<PathBuf>,
    lock: Option<File>,
    committed: bool,
}

impl Staging {
    /// Makes `out` if need be, and the hidden folder in it. What an interrupted run left there is undone.
    pub(crate) fn create(out: &Path) -> Result<Self, ResultError> {
        if out.as_os_str().is_empty() || fs::metadata(out).is_ok_and(|found| !found.is_dir()) {
            return Err(ResultError::NotAFolder { path: out.to_owned() });
        }
        let missing = out.ancestors().take_while(|folder| !folder.as_os_str().is_empty() && !folder.exists());
        let made = missing.map(Path::to_owned).collect();
        let mut staging = Self { out: out.to_owned(), made, lock: None, committed: false };
        fs::create_dir_all(out).map_err(ResultError::io("create the folder", out))?;
        let partial = staging.partial();
        staging.lock = Some(lock(out, &partial)?);
        roll_back(out).map_err(ResultError::io("undo the interrupted run in", &partial))?;
        clear(&partial).map_err(ResultError::io("clear", &partial))?;
        for folder in [partial.join(NEW), partial.join(OLD)] {
            fs::create_dir(&folder).map_err(ResultError::io("create the folder", &folder))?;
        }
        Ok(staging)
    }

    fn partial(&self) -> PathBuf {
        self.out.join(PARTIAL)
    }

    /// Where to write the file that will be `out/name`.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.partial().join(NEW).join(name)
    }

    /// Puts `new`, names of set files, into place, and then the manifest that `manifest` gives. They replace the manifest
    /// and the set files `old`, if there are such.
    ///
    /// When it fails, the old files are where they were.
    pub(crate) fn commit(
        mut self,
        old: Option<&[String]>,
        new: &[String],
        manifest: impl FnOnce() -> Vec<u8>,
    ) -> Result<(), ResultError> {
        let result = self.replace(old, new, manifest);
        self.committed = result.is_ok();
        result
    }

    fn replace(
        &self,
        old: Option<&[String]>,
        new: &[String],
        manifest: impl FnOnce() -> Vec<u8>,
    ) -> Result<(), ResultError> {
        match old {
            Some(_) => self.move_away(MANIFEST_FILE)?,
            None => must_be_free(&self.out.join(MANIFEST_FILE))?,
        }
        let journal = self.partial().join(JOURNAL);
        fs::write(&journal, new.join("\n")).map_err(ResultError::io("write", &journal))?;
        old.unwrap_or_default().iter().try_for_each(|name| self.move_away(name))?;
        new.iter().try_for_each(|name| self.move_into_place(name))?;
        let path = self.path(MANIFEST_FILE);
        fs::write(&path, manifest()).map_err(ResultError::io("write", &path))?;
        self.move_into_place(MANIFEST_FILE)
    }

    fn move_away(&self, name: &str) -> Result<(), ResultError> {
        let from = self.out.join(name);
        unless_missing(fs::rename(&from, self.partial().join(OLD).join(name)))
            .map(drop)
            .map_err(ResultError::io("replace", &from))
    }

    fn move_into_place(&self, name: &str) -> Result<(), ResultError> {
        let to = self.out.join(name);
        must_be_free(&to)?;
        fs::rename(self.path(name), &to).map_err(ResultError::io("create", &to))
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // Nobody is left to tell when undoing fails; the next run tries again and tells.
        if let Some(lock) = self.lock.take() {
            let undone = if self.committed { Ok(()) } else { roll_back(&self.out) };
            if undone.and_then(|()| clear(&self.partial())).is_ok() {
                // Still locked, so that no other run takes this lock for its own; and the folder only when it is empty,
                // so that a run which begins at this moment keeps its own lock in it.
                let _ = fs::remove_file(self.partial().join(LOCK));
                let _ = fs::remove_dir(self.partial());
            }
            drop(lock);
        }
        if !self.committed {
            // Removes empty folders only, so nobody else's.
            for folder in [self.partial()].iter().chain(&self.made) {
                let _ = fs::remove_dir(folder);
            }
        }
    }
}

/// Makes the hidden folder and locks it.
fn lock(out: &Path, partial: &Path) -> Result<File, ResultError> {
    let path = partial.join(LOCK);
    // Each turn but the last was lost to a run that ended, and removed its folder, between two of these steps.
    for _ in 0..100 {
        let made = fs::create_dir_all(partial);
        // A link would lead out of `out`, to files that are not ours to move.
        if fs::symlink_metadata(partial).is_ok_and(|found| !found.is_dir()) {
            return Err(ResultError::NotAFolder { path: partial.to_owned() });
        }
        match made {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
            made => made.map_err(ResultError::io("create the folder", partial))?,
        }
        let lock = match File::create(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            lock => lock.map_err(ResultError::io("create", &path))?,
        };
        match lock.try_lock() {
            Err(TryLockError::WouldBlock) => break,
            // A file system without locks: runs there are trusted not to collide.
            Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => return Ok(lock),
            Err(TryLockError::Error(error)) => return Err(ResultError::io("lock", &path)(error)),
            Ok(()) if is_at(&lock, &path) => return Ok(lock),
            Ok(()) => {}
        }
    }
    Err(ResultError::Busy { path: out.to_owned() })
}

/// Whether `path` still names the open `file`.
#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let identity = |metadata: &fs::Metadata| (metadata.dev(), metadata.ino());
    matches!((file.metadata(), fs::metadata(path)), (Ok(open), Ok(named)) if identity(&open) == identity(&named))
}

/// Whether `path` still names the open `file`: elsewhere open files cannot be removed.
#[cfg(not(unix))]
fn is_at(_file: &File, path: &Path) -> bool {
    path.exists()
}

/// Undoes a commit that was begun and not finished. It may itself be interrupted and begun again.
fn roll_back(out: &Path) -> io::Result<()> {
    let partial = out.join(PARTIAL);
    let (journal, manifest) = (partial.join(JOURNAL), out.join(MANIFEST_FILE));
    let begun = journal.exists();
    if begun && manifest.exists() {
        // The old manifest goes before the journal is written and the new one comes last, so all is in place.
        return Ok(());
    }
    if begun {
        // Half a name, from a journal that was cut off, is not the name of a set file.
        for name in fs::read_to_string(&journal)?.lines().filter(|name| is_set_file(name)) {
            if partial.join(NEW).join(name).symlink_metadata().is_err() {
                unless_missing(fs::remove_file(out.join(name)))?;
            }
        }
        fs::remove_file(&journal)?;
    }
    let Some(old) = unless_missing(fs::read_dir(partial.join(OLD)))? else { return Ok(()) };
    let mut old = old.map(|entry| Ok(entry?.file_name())).collect::<io::Result<Vec<_>>>()?;
    old.sort_by_key(|name| name == MANIFEST_FILE);
    old.iter().try_for_each(|name| fs::rename(partial.join(OLD).join(name), out.join(name)))
}

/// Removes what is in the hidden folder but its lock. The journal goes last: without it, `old` would be moved back.
fn clear(partial: &Path) -> io::Result<()> {
    unless_missing(fs::remove_dir_all(partial.join(OLD)))?;
    unless_missing(fs::remove_dir_all(partial.join(NEW)))?;
    unless_missing(fs::remove_file(partial.join(JOURNAL)))?;
    Ok(())
}

/// Fails where somebody put a file in the meantime, which renaming would replace.
fn must_be_free(path: &Path) -> Result<(), ResultError> {
    match path.symlink_metadata() {
        Ok(_) => Err(ResultError::io("create", path)(io::ErrorKind::AlreadyExists.into())),
        Err(_) => Ok(()),
    }
}

/// `None` when what was to be touched does not exist.
fn unless_missing<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        result => result.map(Some),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// What is in a folder: names and contents, without the hidden folder.
    fn contents(out: &Path) -> BTreeMap<String, String> {
        let read = |entry: io::Result<fs::DirEntry>| {
            let path = entry.unwrap().path();
            (path.file_name().unwrap().to_str().unwrap().to_owned(), path)
        };
        let entries = fs::read_dir(out).unwrap().map(read).filter(|(name, _)| name != PARTIAL);
        entries.map(|(name, path)| (name, fs::read_to_string(path).unwrap())).collect()
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| format!("{name}.safetensors")).collect()
    }

    /// An output folder with old results `a`, `b` and a file that is not ours, and a staging of new `b`, `c`, `d`.
    fn prepare(with_old: bool) -> (tempfile::TempDir, Staging) {
        let out = tempfile::tempdir().unwrap();
        fs::write(out.path().join("notes.txt"), "foreign").unwrap();
        if with_old {
            for name in [&names(&["a", "b"])[..], &[MANIFEST_FILE.to_owned()]].concat() {
                fs::write(out.path().join(name), "old").unwrap();
            }
        }
        let staging = Staging::create(out.path()).unwrap();
        for name in names(&["b", "c", "d"]) {
            fs::write(staging.path(&name), "new").unwrap();
        }
        (out, staging)
    }

    /// Leaves everything as it would be were the process killed now.
    fn kill(mut staging: Staging) {
        staging.lock = None;
        std::mem::forget(staging);
    }

    fn new_manifest() -> Vec<u8> {
        b"new".to_vec()
    }

    #[test]
    fn a_commit_replaces_old_files_and_no_others() {
        for with_old in [false, true] {
            let (out, staging) = prepare(with_old);
            let old = with_old.then(|| names(&["a", "b"]));
            staging.commit(old.as_deref(), &names(&["b", "c", "d"]), new_manifest).unwrap();
            let expected = [("b.safetensors", "new"), ("c.safetensors", "new"), ("d.safetensors", "new")];
            let others = [("manifest.json", "new"), ("notes.txt", "foreign")];
            let expected = expected.into_iter().chain(others).map(|(name, text)| (name.to_owned(), text.to_owned()));
            assert_eq!(contents(out.path()), expected.collect());
            assert!(!out.path().join(PARTIAL).exists());
        }
    }

    #[test]
    fn whatever_interrupts_a_commit_is_undone() {
        for with_old in [false, true] {
            for obstacle in names(&["b", "c", "d"]) {
                for killed in [false, true] {
                    let (out, staging) = prepare(with_old);
                    let before = contents(out.path());
                    let old = with_old.then(|| names(&["a"]));
                    // A file that nobody told the commit about stops it half-way. (Where there is an old `b`, that.)
                    let path = out.path().join(&obstacle);
                    let is_old = path.exists();
                    if !is_old {
                        fs::write(&path, "foreign").unwrap();
                    }
                    let error = staging.replace(old.as_deref(), &names(&["b", "c", "d"]), new_manifest).unwrap_err();
                    assert!(error.to_string().contains(".safetensors"), "{error}");
                    if killed {
                        kill(staging);
                        drop(Staging::create(out.path()).unwrap());
                    } else {
                        drop(staging);
                    }
                    let mut after = contents(out.path());
                    if !is_old {
                        assert_eq!(after.remove(&obstacle).as_deref(), Some("foreign"));
                    }
                    assert_eq!(after, before);
                    assert!(!out.path().join(PARTIAL).exists());
                }
            }
        }
    }

    #[test]
    fn a_panic_before_the_manifest_is_undone() {
        let (out, staging) = prepare(true);
        let before = contents(out.path());
        let commit = || staging.commit(Some(&names(&["a", "b"])), &names(&["b", "c", "d"]), || panic!("on purpose"));
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(commit)).is_err());
        assert_eq!(contents(out.path()), before);
    }

    #[test]
    fn a_finished_commit_stays_when_the_process_is_killed_after_it() {
        for with_old in [false, true] {
            let (out, staging) = prepare(with_old);
            let old = with_old.then(|| names(&["a", "b"]));
            staging.replace(old.as_deref(), &names(&["b", "c", "d"]), new_manifest).unwrap();
            let finished = contents(out.path());
            kill(staging);
            drop(Staging::create(out.path()).unwrap());
            assert_eq!(contents(out.path()), finished);
            assert_eq!(finished["manifest.json"], "new");
        }
    }

    #[test]
    fn undoing_can_itself_be_interrupted() {
        let (out, staging) = prepare(true);
        let before = contents(out.path());
        staging.replace(Some(&names(&["a", "b"])), &names(&["b", "c", "d"]), new_manifest).unwrap();
        // Back to the moment before the new manifest moved; then one step of undoing.
        fs::rename(out.path().join(MANIFEST_FILE), staging.path(MANIFEST_FILE)).unwrap();
        fs::remove_file(out.path().join("c.safetensors")).unwrap();
        kill(staging);
        // And, after the journal, another.
        let partial = out.path().join(PARTIAL);
        roll_back(out.path()).unwrap();
        fs::rename(out.path().join("a.safetensors"), partial.join(OLD).join("a.safetensors")).unwrap();
        fs::rename(out.path().join(MANIFEST_FILE), partial.join(OLD).join(MANIFEST_FILE)).unwrap();
        drop(Staging::create(out.path()).unwrap());
        assert_eq!(contents(out.path()), before);
    }
}
