//! A result, and the run that it was computed from.

use std::path::{Path, PathBuf};

use tributary_files::visible;
use tributary_inputs::TrainedRun;
use tributary_model::Remedy;
use tributary_results::{Inputs, Manifest, ResultFolder};

use crate::{Error, OnProgress, Run};

/// A result, and where the run is that it was computed from: what is given, else what the result says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResultRun {
    /// Folder of the result.
    pub result: PathBuf,
    /// Folder of the trained run; `None` for the one the result names.
    pub run: Option<PathBuf>,
    /// [`Run::target`]; `None` for what the result names, if it is the result's run.
    pub target: Option<PathBuf>,
    /// [`Run::tokenizer`]; `None` for what the result names, if it is the result's run.
    pub tokenizer: Option<PathBuf>,
    /// [`Run::checkpoint`]; `None` for what the result names, if it is the result's run.
    pub checkpoint: Option<PathBuf>,
}

impl ResultRun {
    /// A result in this folder, and the run that it names.
    pub fn new(result: impl Into<PathBuf>) -> Self {
        Self { result: result.into(), run: None, target: None, tokenizer: None, checkpoint: None }
    }

    /// Opens the result, which has to be computed from a model and to hold sets.
    pub(crate) fn folder(&self) -> Result<ResultFolder, Error> {
        let folder = ResultFolder::open(&self.result)?;
        if folder.manifest().run.is_consensus() {
            return Err(Error::Consensus { result: self.result.clone() });
        }
        if folder.manifest().sets.is_empty() {
            return Err(Error::NoSets { result: self.result.clone() });
        }
        Ok(folder)
    }

    /// Reads the run, which has to be that of the result.
    pub(crate) fn open(&self, manifest: &Manifest, on_progress: &mut OnProgress<'_>) -> Result<TrainedRun, Error> {
        let paths = self.paths(manifest.run.inputs.as_ref())?;
        let is_gone = self.run.is_none() && !paths.folder.is_dir();
        let run = paths.open(on_progress).map_err(|error| self.moved(error, is_gone, Remedy::Run))?;
        let (found, expected) = (run.fingerprint.to_string(), &manifest.run.model.fingerprint);
        if found != *expected {
            let difference = format!(
                "its files (weights, configurations, tokenizer) have the fingerprint {found}, the result's {}; give the right one",
                visible::on_one_line(expected)
            );
            return Err(self.other_input(&paths.folder, difference, Some(Remedy::RunFiles)));
        }
        Ok(run)
    }

    fn paths(&self, known: Option<&Inputs>) -> Result<Run, Error> {
        let path = |path: &String| PathBuf::from(path);
        let folder = self.run.clone().or_else(|| known.map(|inputs| path(&inputs.model)));
        let folder = folder.ok_or_else(|| self.unknown("trained run", Remedy::Run))?;
        // With another run, the folders that the result names belong to a run that is elsewhere now.
        let known = known.filter(|_| self.run.is_none());
        Ok(Run {
            folder,
            target: self.target.clone().or_else(|| known?.target.as_ref().map(path)),
            tokenizer: self.tokenizer.clone().or_else(|| known?.tokenizer.as_ref().map(path)),
            checkpoint: self.checkpoint.clone().or_else(|| known?.checkpoint.as_ref().map(path)),
        })
    }

    /// For an input that neither the result nor anybody else says where it is.
    pub(crate) fn unknown(&self, what: &'static str, remedy: Remedy) -> Error {
        Error::UnknownInput { result: self.result.clone(), what, remedy }
    }

    /// The error, with what to do where an input is no longer where the result says.
    pub(crate) fn moved(&self, error: Error, is_gone: bool, remedy: Remedy) -> Error {
        if is_gone { Error::Moved { source: Box::new(error), result: self.result.clone(), remedy } } else { error }
    }

    /// For an input that is not what the result was computed from.
    pub(crate) fn other_input(&self, input: &Path, difference: String, remedy: Option<Remedy>) -> Error {
        Error::OtherInput { result: self.result.clone(), input: input.to_owned(), difference, remedy }
    }
}
