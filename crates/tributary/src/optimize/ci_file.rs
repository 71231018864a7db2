//! The file that sets are written to, and the ones beside it: what a run goes on from, and the caller's.

use std::ffi::OsString;
use std::io::Write as _;
use std::path::{Component, Path, PathBuf};

use tributary_files::{FilesError, OutputFile, Replace, Transaction};
use tributary_inputs::{CiSetFile, SetToWrite, TrainedRun, write_ci_sets};
use tributary_model::CiSet;
use tributary_results::ResultError;

use super::asked::AskedSet;
use super::request::Optimization;
use super::saved::{Saved, SavedSet};
use crate::Error;

/// Where sets that are made are written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CiDestination<'a> {
    /// The file, JSON.
    pub path: &'a Path,
    /// Another file, which the caller has to add: it appears together with this one, in the same folder or one within it.
    pub beside: Option<&'a Path>,
    /// Whether they are replaced where they are there, and what an interrupted run left is thrown away.
    pub replace: bool,
    /// Whether to go on from where a run ended that was told to: `FILE.resume` holds it. Where there is no such file, a run
    /// begins.
    pub resume: bool,
}

/// Files that appear together.
pub(super) struct CiFile<'a> {
    destination: CiDestination<'a>,
    transaction: Transaction,
    name: PathBuf,
    beside: Option<Beside>,
    /// Whether the file of the sets may be replaced.
    replace: Replace,
    /// Whether `FILE.resume` is there and may be replaced or taken away.
    has_left: bool,
    /// What it holds, if the run goes on from it.
    left: Option<Saved>,
}

/// The caller's file.
struct Beside {
    /// In the folder of the sets.
    name: PathBuf,
    replace: Replace,
}

impl<'a> CiFile<'a> {
    /// Begins it, so that a place where nothing can be written is known before the first step.
    pub(super) fn begin(destination: CiDestination<'a>) -> Result<Self, Error> {
        let (transaction, name) = Transaction::of_file(destination.path).map_err(ResultError::from)?;
        let mut file = Self {
            name: name.to_owned(),
            beside: None,
            replace: Replace::if_asked(destination.replace),
            has_left: false,
            left: None,
            destination,
            transaction,
        };
        file.look_at_what_is_left()?;
        // A file that a run may have made to its end is looked at when it is known what is asked for.
        let replace = if file.may_be_finished() { Replace::File } else { file.replace };
        file.transaction.check(&file.name, replace).map_err(ResultError::from)?;
        file.beside = destination.beside.map(|beside| file.place_beside(beside)).transpose()?;
        Ok(file)
    }

    /// Nothing that is there goes away unless it was asked for, and nothing that no run left in any case.
    fn look_at_what_is_left(&mut self) -> Result<(), Error> {
        let path = self.saved_path();
        if path.symlink_metadata().is_err() {
            return Ok(());
        }
        self.transaction.check(self.saved_name(), Replace::File).map_err(ResultError::from)?;
        if !Saved::is_one(&path).map_err(ResultError::from)? {
            return Err(Error::NotResumable { file: path });
        }
        if self.destination.resume {
            self.left = Some(Saved::read(&path)?);
            self.replace = Replace::File;
        } else if !self.destination.replace {
            return Err(Error::Unfinished { file: path });
        }
        self.has_left = true;
        Ok(())
    }

    fn place_beside(&self, path: &Path) -> Result<Beside, Error> {
        let folder = self.transaction.folder();
        let inside = std::path::absolute(path).ok().zip(std::path::absolute(folder).ok());
        let name = inside.and_then(|(path, folder)| path.strip_prefix(folder).ok().map(Path::to_owned));
        let is_plain = |name: &PathBuf| name.components().all(|part| matches!(part, Component::Normal(_)));
        let is_other = |name: &PathBuf| *name != self.name && *name != self.saved_name();
        let name = name
            .filter(|name| !name.as_os_str().is_empty() && is_plain(name) && is_other(name))
            .ok_or_else(|| Error::Beside { file: path.to_owned(), folder: folder.to_owned() })?;
        let is_own = self.left.as_ref().is_some_and(|left| left.beside.as_ref() == Some(&name));
        let replace = Replace::if_asked(self.destination.replace || is_own);
        self.transaction.check(&name, replace).map_err(ResultError::from)?;
        Ok(Beside { name, replace })
    }

    pub(super) fn path(&self) -> &Path {
        self.destination.path
    }

    fn saved_name(&self) -> PathBuf {
        let mut name: OsString = self.name.clone().into_os_string();
        name.push(".resume");
        name.into()
    }

    fn saved_path(&self) -> PathBuf {
        self.transaction.folder().join(self.saved_name())
    }

    /// Whether a run is to go on and nothing says where from, but its file is there: it may be at its end.
    fn may_be_finished(&self) -> bool {
        let Self { destination, left, transaction, name, .. } = self;
        let is_there = || transaction.folder().join(name).symlink_metadata().is_ok();
        destination.resume && !destination.replace && left.is_none() && is_there()
    }

    /// The sets of a file that a run may have made to its end.
    pub(super) fn finished(&self, run: &TrainedRun) -> Result<Option<CiSetFile>, Error> {
        if !self.may_be_finished() {
            return Ok(None);
        }
        run.ci_sets(self.path(), &[]).map(Some).map_err(|_| self.is_there())
    }

    /// That the file is there and is not to be replaced.
    pub(super) fn is_there(&self) -> Error {
        ResultError::from(FilesError::FileExists { path: self.path().to_owned() }).into()
    }

    /// How far sets have come: nowhere, unless a run is to go on that left something to go on from.
    pub(super) fn read_saved(&mut self, sets: &[AskedSet<'_>], asked: &Optimization) -> Result<Vec<SavedSet>, Error> {
        match self.left.take() {
            Some(left) => left.of_asked(&self.saved_path(), sets, asked),
            None => Ok(sets.iter().map(|set| SavedSet::new(set, &asked.settings)).collect()),
        }
    }

    /// Writes sets, each with whether its prompt has a text and with its metadata; and how far they have come, unless all is
    /// done.
    pub(super) fn write(
        &self,
        sets: &[(CiSet, bool, serde_json::Value)],
        reached: Option<(&[SavedSet], &Optimization)>,
    ) -> Result<(), Error> {
        let sets: Vec<SetToWrite<'_>> =
            sets.iter().map(|(set, has_text, metadata)| SetToWrite { set, has_text: *has_text, metadata }).collect();
        let create = |name: &Path, replace: Replace| self.transaction.create(name, replace).map_err(ResultError::from);
        let close = |file: OutputFile| file.close().map_err(ResultError::from);
        let failed = |error| FilesError::io("write", self.destination.path)(error);
        let mut file = create(&self.name, self.replace)?;
        write_ci_sets(&mut file, &sets)
            .and_then(|()| file.write_all(b"\n"))
            .map_err(failed)
            .map_err(ResultError::from)?;
        close(file)?;
        if let Some((reached, asked)) = reached {
            let beside = self.beside.as_ref().map(|beside| beside.name.as_path());
            let mut file = create(&self.saved_name(), Replace::if_asked(self.has_left))?;
            let written =
                serde_json::to_writer(&mut file, &Saved::of(reached, asked, beside)).map_err(std::io::Error::from);
            written.map_err(FilesError::io("write", &self.saved_path())).map_err(ResultError::from)?;
            close(file)?;
        } else if self.has_left {
            self.transaction.remove(self.saved_name());
        }
        Ok(())
    }

    /// Puts everything into place, and the caller's file with it, if there is one.
    pub(super) fn commit(self, beside: Option<&[u8]>) -> Result<(), Error> {
        if let (Some(Beside { name, replace }), Some(contents)) = (&self.beside, beside) {
            let file = self.transaction.create(name, *replace).map_err(ResultError::from)?;
            file.write_whole(contents).map_err(ResultError::from)?;
        }
        Ok(self.transaction.commit().map_err(ResultError::from)?)
    }
}
