//! Several files that appear together.
//!
//! ```text
//! FOLDER/.tributary-partial/lock                  locked while files are moved in FOLDER
//! FOLDER/.tributary-partial/files-ID/alive        locked by the program that writes
//! FOLDER/.tributary-partial/files-ID/new/NUMBER   the new files
//! FOLDER/.tributary-partial/files-ID/old/NUMBER   during the commit: the files they replace
//! FOLDER/.tributary-partial/files-ID/commit       during the commit: what is moved
//! ```
//!
//! It is inside the folder, hence on the same file system, and moving is renaming. A lock dies with its process, so a run whose
//! `alive` is not locked was killed.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::journal::{Journal, Move, NEW, OLD, is_inside};
use crate::lock::{Attempt, FolderLock, try_lock};
use crate::place::link_on_the_way;
use crate::recovery::{ALIVE, EXCLUSIVE, PATIENCE, SHARED, remove, runs, undo, undo_left};
use crate::{FilesError, OutputFile, PARTIAL, interrupt};

/// What a new file may take the place of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replace {
    /// Of nothing.
    Nothing,
    /// Of a file, or of a link, which is replaced and not what it points to.
    File,
}

impl Replace {
    /// `File` if replacing was asked for.
    pub fn if_asked(force: bool) -> Self {
        if force { Self::File } else { Self::Nothing }
    }
}

/// New files of a folder, which come into place by [`commit`](Self::commit), all or none. Dropped before, it leaves the folder
/// as it was; when the process is killed, the next [`recover`](crate::recover) or transaction does that.
#[derive(Debug)]
pub struct Transaction {
    run: Arc<Run>,
}

impl Transaction {
    /// Begins in `folder`, which is made if it does not exist. Several may be begun in one folder at a time. What a killed
    /// program left there is undone.
    pub fn begin(folder: &Path) -> Result<Self, FilesError> {
        interrupt::register(|| Run::begin(folder, SHARED)).map(|run| Self { run })
    }

    /// As [`begin`](Self::begin), and [`FilesError::Busy`] where another has begun so.
    pub fn begin_exclusive(folder: &Path) -> Result<Self, FilesError> {
        interrupt::register(|| Run::begin(folder, EXCLUSIVE)).map(|run| Self { run })
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.run.folder
    }

    /// Begins for a single file, in its folder; gives its name there as well.
    pub fn of_file(path: &Path) -> Result<(Self, &Path), FilesError> {
        let Some(name) = path.file_name() else { return Err(FilesError::NotAFile { path: path.to_owned() }) };
        let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        Ok((Self::begin(folder.unwrap_or(Path::new(".")))?, Path::new(name)))
    }

    /// Whether a new file may come to `name` in the folder, as things are.
    pub fn check(&self, name: impl AsRef<Path>, replace: Replace) -> Result<(), FilesError> {
        check(&self.run.folder, name.as_ref(), replace)
    }

    /// Begins the file that will be `name` in the folder.
    pub fn create(&self, name: impl AsRef<Path>, replace: Replace) -> Result<OutputFile, FilesError> {
        let (to, path) = (self.run.folder.join(&name), self.stage(name, replace)?);
        let file = File::create_new(&path).map_err(FilesError::io("write", &to))?;
        Ok(OutputFile::new(to, file))
    }

    /// Where to write the file that will be `name` in the folder: what [`create`](Self::create) does, for files that are not
    /// kept open. It has to be there when the transaction commits. Names may lead into folders within the folder, which are
    /// made if need be.
    ///
    /// # Panics
    ///
    /// When `name` leads out of the folder.
    pub fn stage(&self, name: impl AsRef<Path>, replace: Replace) -> Result<PathBuf, FilesError> {
        let name = name.as_ref();
        if name.as_os_str().is_empty() {
            return Err(FilesError::NotAFile { path: self.run.folder.join(name) });
        }
        assert!(is_inside(name), "{} leads out of the folder", name.display());
        check(&self.run.folder, name, replace)?;
        let mut staged = self.run.staged();
        staged.push(Staged { of: Move::new(name, true), replace });
        Ok(self.run.path.join(NEW).join((staged.len() - 1).to_string()))
    }

    /// Takes `name` out of the folder when the transaction commits, if it is there.
    ///
    /// # Panics
    ///
    /// When `name` leads out of the folder.
    pub fn remove(&self, name: impl AsRef<Path>) {
        let name = name.as_ref();
        assert!(is_inside(name), "{} leads out of the folder", name.display());
        self.run.staged().push(Staged { of: Move::new(name, false), replace: Replace::File });
    }

    /// Puts all files into place, in the order in which they were begun. Files that are replaced go away before, the last
    /// first: where the last one tells of the others, it is never beside others than its own. When it fails, the folder is as
    /// it was.
    pub fn commit(self) -> Result<(), FilesError> {
        self.commit_with(|_| Ok(()))
    }

    /// As [`commit`](Self::commit), after `finish`, during which no other transaction of the folder commits: for files that
    /// are extended rather than replaced.
    pub fn commit_with<E: From<FilesError>>(self, finish: impl FnOnce(&Self) -> Result<(), E>) -> Result<(), E> {
        let lock = FolderLock::acquire(&self.run.folder, PATIENCE)?;
        *hold(&self.run.lock) = Some(lock);
        finish(&self)?;
        Ok(self.run.commit()?)
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        // Nobody is left to tell when undoing fails; the next run tries again and tells.
        let _ = self.run.undo();
    }
}

/// Fails where a new file must not come.
fn check(folder: &Path, name: &Path, replace: Replace) -> Result<(), FilesError> {
    // Nothing that is moved through a link could be moved back after a kill: a journal that does is not believed.
    if let Some(path) = link_on_the_way(folder, name) {
        return Err(FilesError::NotAFolder { path });
    }
    let to = &folder.join(name);
    match to.symlink_metadata() {
        // Renaming over a device or a pipe would remove it.
        Ok(found) if !found.is_file() && !found.is_symlink() => Err(FilesError::NotAFile { path: to.to_owned() }),
        Ok(_) if to.is_dir() => Err(FilesError::NotAFile { path: to.to_owned() }),
        Ok(_) if replace == Replace::Nothing => Err(FilesError::FileExists { path: to.to_owned() }),
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(FilesError::io("create", to)(error)),
    }
}

#[derive(Clone, Debug)]
struct Staged {
    of: Move,
    replace: Replace,
}

/// The folder of a transaction, which two threads may want to undo: the one that writes and the one that waits for signals.
#[derive(Debug)]
struct Run {
    folder: PathBuf,
    path: PathBuf,
    staged: Mutex<Vec<Staged>>,
    /// Held during the commit.
    lock: Mutex<Option<FolderLock>>,
    /// Held while files are moved.
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// While it may still be committed or undone.
    is_open: bool,
    /// Held for its lock.
    alive: Option<File>,
    made: MadeFolders,
}

impl Run {
    fn begin(folder: &Path, kind: &str) -> Result<Arc<Self>, FilesError> {
        let made = MadeFolders::make(folder)?;
        let lock = FolderLock::acquire(folder, PATIENCE)?;
        undo_left(folder, &lock)?;
        let partial = folder.join(PARTIAL);
        if kind == EXCLUSIVE && lock.is_locked {
            let runs = runs(&partial).map_err(FilesError::io("list", &partial))?;
            if runs.iter().any(|run| run.file_name().is_some_and(|name| name.to_string_lossy().starts_with(kind))) {
                return Err(FilesError::Busy { path: folder.to_owned() });
            }
        }
        let path = partial.join(format!("{kind}{:016x}", fastrand::u64(..)));
        let create = || {
            fs::create_dir(&path)?;
            let alive = File::create_new(path.join(ALIVE))?;
            if try_lock(&alive)? == Attempt::Taken {
                return Err(io::ErrorKind::ResourceBusy.into());
            }
            fs::create_dir(path.join(NEW))?;
            fs::create_dir(path.join(OLD))?;
            Ok(alive)
        };
        let alive = create().map_err(|error| {
            let _ = remove(&path);
            FilesError::io("create the folder", &path)(error)
        })?;
        let state = State { is_open: true, alive: Some(alive), made };
        let (staged, lock_held) = (Mutex::new(Vec::new()), Mutex::new(None));
        Ok(Arc::new(Self { folder: folder.to_owned(), path, staged, lock: lock_held, state: Mutex::new(state) }))
    }

    fn staged(&self) -> MutexGuard<'_, Vec<Staged>> {
        hold(&self.staged)
    }

    fn commit(&self) -> Result<(), FilesError> {
        let mut state = hold(&self.state);
        if !state.is_open {
            let interrupted = io::Error::new(io::ErrorKind::Interrupted, "interrupted");
            return Err(FilesError::io("write to", &self.folder)(interrupted));
        }
        match self.place() {
            Ok(()) => {
                state.made.keep();
                // What is in place stays; what cannot be removed is what the next run removes.
                let _ = remove(&self.path);
                self.end(&mut state);
                Ok(())
            }
            Err(error) => {
                let undone = undo(&self.folder, &self.path);
                self.end(&mut state);
                undone.and(Err(error))
            }
        }
    }

    fn place(&self) -> Result<(), FilesError> {
        let mut moves = Vec::new();
        for (number, Staged { mut of, replace }) in self.staged().iter().cloned().enumerate() {
            check(&self.folder, of.name(), replace)?;
            if of.new {
                let new = self.path.join(NEW).join(number.to_string());
                new.symlink_metadata().map_err(FilesError::io("find", &new))?;
            }
            of.old = self.folder.join(of.name()).symlink_metadata().is_ok();
            moves.push(of);
        }
        let carried_out = Journal::new(&self.folder, moves).carry_out(&self.folder, &self.path);
        carried_out.map_err(FilesError::io("move files into place in", &self.folder))
    }

    /// Leaves the folder as it was, unless it was committed. Without the folder's lock, as what is in a run is its own: who
    /// looks at it meanwhile finds it alive, or gone.
    fn undo(&self) -> Result<(), FilesError> {
        let mut state = hold(&self.state);
        if !state.is_open {
            return Ok(());
        }
        let undone = undo(&self.folder, &self.path);
        self.end(&mut state);
        undone
    }

    /// Gives back what is held and takes away folders that are empty.
    fn end(&self, state: &mut State) {
        state.is_open = false;
        state.alive = None;
        let lock = hold(&self.lock).take();
        // Dropping the lock takes the hidden folder away, for which nobody is waited for long.
        drop(lock.map_or_else(|| FolderLock::acquire(&self.folder, std::time::Duration::from_millis(500)), Ok));
        state.made.remove();
    }
}

impl interrupt::Undo for Run {
    fn undo_now(&self) {
        let _ = self.undo();
    }
}

/// A lock of this process. A thread that panicked with it was moving files, which the journal can undo.
fn hold<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Folders that were made for a folder, the innermost first. Dropped, it removes those that are empty, so nobody else's.
#[derive(Debug)]
struct MadeFolders(Vec<PathBuf>);

impl MadeFolders {
    fn make(folder: &Path) -> Result<Self, FilesError> {
        if folder.as_os_str().is_empty() || fs::metadata(folder).is_ok_and(|found| !found.is_dir()) {
            return Err(FilesError::NotAFolder { path: folder.to_owned() });
        }
        // Where it cannot be told whether a folder is there, as for a path that is too long, nothing is made.
        let is_missing = |folder: &Path| matches!(folder.try_exists(), Ok(false));
        let missing = folder.ancestors().take_while(|folder| !folder.as_os_str().is_empty() && is_missing(folder));
        let made = Self(missing.map(Path::to_owned).collect());
        fs::create_dir_all(folder).map_err(FilesError::io("create the folder", folder))?;
        Ok(made)
    }

    fn keep(&mut self) {
        self.0.clear();
    }

    fn remove(&mut self) {
        for folder in self.0.drain(..) {
            let _ = fs::remove_dir(folder);
        }
    }
}

impl Drop for MadeFolders {
    fn drop(&mut self) {
        self.remove();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io::Write;

    use super::*;
    use crate::recover;

    /// What is in a folder and the folders in it: names and contents, without hidden folders.
    fn contents(folder: &Path) -> BTreeMap<String, String> {
        let mut contents = BTreeMap::new();
        for entry in fs::read_dir(folder).unwrap() {
            let (name, path) = entry.map(|entry| (entry.file_name().into_string().unwrap(), entry.path())).unwrap();
            if name == PARTIAL {
                continue;
            }
            if path.is_dir() {
                contents
                    .extend(self::contents(&path).into_iter().map(|(inner, text)| (format!("{name}/{inner}"), text)));
            } else {
                contents.insert(name, fs::read_to_string(path).unwrap());
            }
        }
        contents
    }

    fn texts<const N: usize>(of: [(&str, &str); N]) -> BTreeMap<String, String> {
        of.map(|(name, text)| (name.to_owned(), text.to_owned())).into()
    }

    /// A folder with old files `a`, `b` and `list`, if asked for, and one that is not ours.
    fn folder(with_old: bool) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("notes"), "foreign").unwrap();
        for name in ["a", "b", "list"].iter().filter(|_| with_old) {
            fs::write(folder.path().join(name), "old").unwrap();
        }
        folder
    }

    /// New `b`, `c`, `plots/d` and `list`; `a` goes away.
    fn begin(folder: &Path) -> Transaction {
        let transaction = Transaction::begin_exclusive(folder).unwrap();
        for name in ["b", "c", "plots/d", "list"] {
            let mut file = transaction.create(name, Replace::File).unwrap();
            file.write_all(b"new").unwrap();
            file.close().unwrap();
        }
        transaction.remove("a");
        transaction
    }

    const COMMITTED: [(&str, &str); 5] =
        [("b", "new"), ("c", "new"), ("list", "new"), ("notes", "foreign"), ("plots/d", "new")];

    fn moves(transaction: &Transaction) -> Vec<Move> {
        let is_there = |name: &Path| transaction.folder().join(name).exists();
        let staged = transaction.run.staged();
        staged.iter().map(|staged| Move { old: is_there(staged.of.name()), ..staged.of.clone() }).collect()
    }

    /// Leaves everything as it would be were the process killed now.
    fn kill(transaction: &Transaction) {
        hold(&transaction.run.state).alive = None;
        *hold(&transaction.run.lock) = None;
        hold(&transaction.run.state).is_open = false;
        hold(&transaction.run.state).made.keep();
    }

    #[test]
    fn a_commit_replaces_what_it_names_and_nothing_else() {
        for with_old in [false, true] {
            let folder = folder(with_old);
            let before = contents(folder.path());
            let transaction = begin(folder.path());
            assert_eq!(contents(folder.path()), before);
            transaction.commit().unwrap();
            assert_eq!(contents(folder.path()), texts(COMMITTED));
            assert!(!folder.path().join(PARTIAL).exists());
        }
    }

    #[test]
    fn dropped_or_killed_it_leaves_nothing() {
        for killed in [false, true] {
            let parent = tempfile::tempdir().unwrap();
            let made = parent.path().join("some/folder");
            let transaction = begin(&made);
            if killed {
                kill(&transaction);
                recover(&made).unwrap();
                assert!(contents(&made).is_empty() && !made.join(PARTIAL).exists());
            } else {
                drop(transaction);
                assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);
            }
        }
    }

    /// What a power cut or SIGKILL leaves after any number of steps of the commit, and then of its undoing, is brought back.
    #[test]
    fn a_commit_that_was_interrupted_anywhere_is_undone() {
        for with_old in [false, true] {
            for steps in 0..20 {
                for undone in 0..20 {
                    let folder = folder(with_old);
                    let before = contents(folder.path());
                    let transaction = begin(folder.path());
                    let run = transaction.run.path.clone();
                    let journal = Journal::new(folder.path(), moves(&transaction));
                    fs::write(run.join("commit"), serde_json::to_vec(&journal).unwrap()).unwrap();
                    let numbered: Vec<(String, &Move)> =
                        journal.moves.iter().enumerate().map(|(n, of)| (n.to_string(), of)).collect();
                    let new = |number: &str| run.join(NEW).join(number);
                    let old = |number: &str| run.join(OLD).join(number);
                    let mut all: Vec<(PathBuf, PathBuf)> = Vec::new();
                    for (number, of) in numbered.iter().rev().filter(|(_, of)| of.old) {
                        all.push((folder.path().join(of.name()), old(number)));
                    }
                    for (number, of) in numbered.iter().filter(|(_, of)| of.new) {
                        all.push((new(number), folder.path().join(of.name())));
                    }
                    let done = &all[..steps.min(all.len())];
                    fs::create_dir(folder.path().join("plots")).unwrap();
                    for (from, to) in done {
                        fs::rename(from, to).unwrap();
                    }
                    // The undoing that was interrupted as well: the new ones back, last first, then the old ones.
                    let back = done.iter().rev().filter(|(from, _)| from.starts_with(&run));
                    let back = back.chain(done.iter().rev().filter(|(from, _)| !from.starts_with(&run)));
                    back.take(undone).for_each(|(from, to)| fs::rename(to, from).unwrap());
                    kill(&transaction);
                    recover(folder.path()).unwrap();
                    assert_eq!(contents(folder.path()), before, "{steps} steps, {undone} of them undone");
                    assert!(!folder.path().join(PARTIAL).exists() && !folder.path().join("plots").exists());
                }
            }
        }
    }

    #[test]
    fn a_commit_that_was_finished_stays_when_the_process_is_killed_after_it() {
        let folder = folder(true);
        let transaction = begin(folder.path());
        transaction.run.place().unwrap();
        kill(&transaction);
        recover(folder.path()).unwrap();
        assert_eq!(contents(folder.path()), texts(COMMITTED));
        assert!(!folder.path().join(PARTIAL).exists());
    }

    #[test]
    fn a_file_that_turns_up_in_the_meantime_is_not_replaced() {
        let folder = folder(true);
        let transaction = Transaction::begin(folder.path()).unwrap();
        for name in ["x", "y", "list"] {
            let replace = Replace::if_asked(name == "list");
            transaction.create(name, replace).unwrap().write_whole(b"new").unwrap();
        }
        fs::write(folder.path().join("y"), "foreign").unwrap();
        let before = contents(folder.path());
        assert!(matches!(transaction.commit(), Err(FilesError::FileExists { .. })));
        assert_eq!(contents(folder.path()), before);
        assert!(!folder.path().join(PARTIAL).exists());
        let again = Transaction::begin(folder.path()).unwrap();
        assert!(matches!(again.create("list", Replace::Nothing), Err(FilesError::FileExists { .. })));
    }

    #[test]
    fn only_files_and_links_are_replaced() {
        let folder = folder(false);
        fs::create_dir(folder.path().join("inner")).unwrap();
        let transaction = Transaction::begin(folder.path()).unwrap();
        assert!(matches!(transaction.create("inner", Replace::File), Err(FilesError::NotAFile { .. })));
        assert!(matches!(transaction.create("", Replace::File), Err(FilesError::NotAFile { .. })));
        #[cfg(unix)]
        {
            let socket = folder.path().join("socket");
            let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
            assert!(matches!(transaction.create("socket", Replace::File), Err(FilesError::NotAFile { .. })));
        }
    }

    #[test]
    fn files_are_written_beside_each_other_and_results_are_not() {
        let folder = folder(false);
        let [one, other] = [0, 1].map(|_| Transaction::begin(folder.path()).unwrap());
        let results = Transaction::begin_exclusive(folder.path()).unwrap();
        assert!(matches!(Transaction::begin_exclusive(folder.path()), Err(FilesError::Busy { .. })));
        one.create("one", Replace::Nothing).unwrap().write_whole(b"1").unwrap();
        other.create("other", Replace::Nothing).unwrap().write_whole(b"2").unwrap();
        results.create("results", Replace::Nothing).unwrap().write_whole(b"3").unwrap();
        one.commit().unwrap();
        other.commit().unwrap();
        results.commit().unwrap();
        let expected = [("notes", "foreign"), ("one", "1"), ("other", "2"), ("results", "3")];
        assert_eq!(contents(folder.path()), texts(expected));
        assert!(!folder.path().join(PARTIAL).exists());
    }

    /// Every thread adds its line to one list.
    #[test]
    fn what_is_extended_under_the_lock_loses_nothing() {
        let folder = folder(false);
        let path = folder.path();
        std::thread::scope(|scope| {
            for thread in 0..16 {
                scope.spawn(move || {
                    let transaction = Transaction::begin(path).unwrap();
                    let extend = |transaction: &Transaction| {
                        let list = fs::read_to_string(path.join("list")).unwrap_or_default();
                        let file = transaction.create("list", Replace::File)?;
                        file.write_whole(format!("{list}{thread}\n").as_bytes())
                    };
                    transaction.commit_with(extend).unwrap();
                });
            }
        });
        let list = fs::read_to_string(path.join("list")).unwrap();
        let mut lines: Vec<u32> = list.lines().map(|line| line.parse().unwrap()).collect();
        lines.sort_unstable();
        assert_eq!(lines, (0..16).collect::<Vec<_>>());
        assert!(!path.join(PARTIAL).exists());
    }

    #[cfg(unix)]
    #[test]
    fn a_hidden_folder_that_is_a_link_is_not_followed() {
        let (folder, elsewhere) = (folder(false), tempfile::tempdir().unwrap());
        fs::create_dir_all(elsewhere.path().join("files-1/new")).unwrap();
        std::os::unix::fs::symlink(elsewhere.path(), folder.path().join(PARTIAL)).unwrap();
        recover(folder.path()).unwrap();
        assert!(Transaction::begin(folder.path()).is_err());
        assert!(elsewhere.path().join("files-1/new").exists());
    }

    #[test]
    fn a_journal_that_leads_out_of_the_folder_moves_nothing() {
        let folder = folder(true);
        let run = folder.path().join(PARTIAL).join("results-0");
        fs::create_dir_all(run.join(OLD)).unwrap();
        fs::write(run.join(OLD).join("0"), "planted").unwrap();
        let journal =
            Journal::new(folder.path(), vec![Move { old: true, ..Move::new(Path::new("../planted"), false) }]);
        fs::write(run.join("commit"), serde_json::to_vec(&journal).unwrap()).unwrap();
        assert!(matches!(recover(folder.path()), Err(FilesError::NotUndone { .. })));
        assert!(!folder.path().parent().unwrap().join("planted").exists());
    }
}
