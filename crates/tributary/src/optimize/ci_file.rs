//! The file that sets are written to, and the one beside it that a run goes on from.

use std::ffi::OsString;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use tributary_files::{FilesError, OutputFile, Replace, Transaction, input};
use tributary_inputs::{SetToWrite, write_ci_sets};
use tributary_model::CiSet;
use tributary_optimize::Settings;
use tributary_results::ResultError;

use super::asked::AskedSet;
use super::saved::{Saved, SavedSet};
use crate::Error;

/// Where sets that are made are written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CiDestination<'a> {
    /// The file, JSON.
    pub path: &'a Path,
    /// Whether it is replaced where it is there.
    pub replace: bool,
    /// Whether to go on from where a run ended that was told to: `FILE.resume` holds it. Where there is no such file, a run
    /// begins.
    pub resume: bool,
}

/// More than what a run of any size leaves.
const LARGEST: u64 = 1 << 34;

/// Files that appear together.
pub(super) struct CiFile<'a> {
    destination: CiDestination<'a>,
    transaction: Transaction,
    name: PathBuf,
}

impl<'a> CiFile<'a> {
    /// Begins it, so that a place where nothing can be written is known before the first step.
    pub(super) fn begin(destination: CiDestination<'a>) -> Result<Self, Error> {
        let (transaction, name) = Transaction::of_file(destination.path).map_err(ResultError::from)?;
        let file = Self { name: name.to_owned(), destination, transaction };
        let replace = Replace::if_asked(destination.replace || (destination.resume && file.saved_path().exists()));
        file.transaction.check(&file.name, replace).map_err(ResultError::from)?;
        file.transaction.check(file.saved_name(), Replace::File).map_err(ResultError::from)?;
        Ok(file)
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

    /// How far sets have come: nowhere, unless a run is to go on that left something to go on from.
    pub(super) fn read_saved(&self, sets: &[AskedSet<'_>], settings: &Settings) -> Result<Vec<SavedSet>, Error> {
        let path = self.saved_path();
        if !self.destination.resume || !path.exists() {
            return Ok(sets.iter().map(|set| SavedSet::new(set, settings)).collect());
        }
        let text = input::read(&path, "what a run goes on from", LARGEST).map_err(ResultError::from)?;
        Saved::read(&path, &text, sets)
    }

    /// Writes sets, each with whether its prompt has a text and with its metadata; and what a run goes on from, unless all is
    /// done.
    pub(super) fn write(self, sets: &[(CiSet, bool, serde_json::Value)], saved: Option<&Saved>) -> Result<(), Error> {
        let sets: Vec<SetToWrite<'_>> =
            sets.iter().map(|(set, has_text, metadata)| SetToWrite { set, has_text: *has_text, metadata }).collect();
        let create = |name: &Path| self.transaction.create(name, Replace::File).map_err(ResultError::from);
        let close = |file: OutputFile| file.close().map_err(ResultError::from);
        let failed = |error| FilesError::io("write", self.destination.path)(error);
        let mut file = create(&self.name)?;
        write_ci_sets(&mut file, &sets)
            .and_then(|()| file.write_all(b"\n"))
            .map_err(failed)
            .map_err(ResultError::from)?;
        close(file)?;
        let saved_name = self.saved_name();
        let saved_path = self.saved_path();
        if let Some(saved) = saved {
            let mut file = create(&saved_name)?;
            let written = serde_json::to_writer(&mut file, saved).map_err(std::io::Error::from);
            written.map_err(FilesError::io("write", &saved_path)).map_err(ResultError::from)?;
            close(file)?;
        }
        self.transaction.commit().map_err(ResultError::from)?;
        if saved.is_none() {
            // Of a run that is done nothing is left to go on from; where it cannot be removed it does no harm.
            let _ = fs::remove_file(saved_path);
        }
        Ok(())
    }
}
