//! What a result was computed from beside its run: the CI sets, the prompts, who is alive, in which forward pass.

use std::path::{Path, PathBuf};

use tributary_engine::{DeltaGradient, Forward};
use tributary_inputs::{CiSetFile, TrainedRun};
use tributary_model::{Prompt, Remedy, Thresholds};
use tributary_results::{self as results, Manifest, SetEntry};

use crate::sample::StoredSet;
use crate::sets::InputSets;
use crate::{Error, ResultRun};

/// A result, and the file of its CI sets; `None` for the one that it names, if it names one.
#[derive(Clone, Copy)]
pub(crate) struct ResultInputs<'a> {
    pub(crate) result: &'a ResultRun,
    pub(crate) ci_sets: Option<&'a Path>,
}

impl ResultInputs<'_> {
    /// Where the CI sets are, if there is a file of them: what was given, else what the manifest says.
    pub(crate) fn ci_sets_file(&self, manifest: &Manifest) -> Result<Option<PathBuf>, Error> {
        match (self.ci_sets, &manifest.run.inputs) {
            (Some(file), _) => Ok(Some(file.to_owned())),
            (None, Some(inputs)) => Ok(inputs.ci_sets.as_ref().map(PathBuf::from)),
            (None, None) => Err(self.result.unknown("CI sets", Remedy::CiSets)),
        }
    }

    /// The sets that the result was computed from; an error if the file has others.
    pub(crate) fn sets(
        &self,
        file: &Path,
        run: &TrainedRun,
        manifest: &Manifest,
        stored: &[StoredSet],
        note: &mut dyn FnMut(&str),
    ) -> Result<InputSets, Error> {
        let is_gone = self.ci_sets.is_none() && !file.exists();
        let read = run.ci_sets(file, &[]);
        let CiSetFile { sets: mut read, sha256, .. } =
            read.map_err(|error| self.result.moved(error.into(), is_gone, Remedy::CiSets))?;
        let noted = manifest.run.inputs.as_ref().and_then(|inputs| inputs.ci_sets_sha256.as_ref());
        if noted.is_some_and(|noted| *noted != sha256) {
            let file = file.display();
            note(&format!(
                "{file} is not the file that the result was computed from, whose SHA-256 is another; its sets are compared"
            ));
        }
        let other = |difference| self.result.other_input(file, difference, Some(Remedy::CiSets));
        let mut sets = Vec::with_capacity(stored.len());
        for set in stored {
            let name = &set.name;
            let Some(entry) = manifest.set(name) else { unreachable!("it was read by its entry") };
            let Some(at) = read.iter().position(|read| read.name == *name) else {
                return Err(other(format!("it has no set {name:?}; give the right file")));
            };
            let read = read.swap_remove(at);
            if let Some(layer) = set.differs_from(&read, thresholds(manifest), entry.until) {
                return Err(other(format!(
                    "the causal importances of set {name:?} at {layer} are not the result's; give the right file"
                )));
            }
            if read.prompt.tokens != manifest.prompts[entry.prompt].tokens {
                return Err(other(format!("the prompt of set {name:?} is not the result's; give the right file")));
            }
            sets.push(read);
        }
        Ok(InputSets::Given { sets, metadata: Vec::new(), sha256 })
    }

    /// The prompts that the result was computed from, by their tokens; an error if the run neither makes these of their texts nor
    /// decodes them to their texts.
    pub(crate) fn prompts(&self, run: &TrainedRun, manifest: &Manifest) -> Result<InputSets, Error> {
        let prompts = manifest.sets.iter().map(|set| self.prompt(run, manifest, set)).collect::<Result<_, _>>()?;
        Ok(InputSets::Own(prompts))
    }

    /// That of one set.
    pub(crate) fn prompt(&self, run: &TrainedRun, manifest: &Manifest, set: &SetEntry) -> Result<Prompt, Error> {
        let known = &manifest.prompts[set.prompt];
        let ids: Vec<u64> = known.tokens.iter().copied().map(u64::from).collect();
        let prompt = run.prompt_of_tokens(&ids)?;
        let is_of_text = || run.prompt(&known.text).is_ok_and(|prompt| prompt.tokens == known.tokens);
        if prompt.text != known.text && !is_of_text() {
            let difference = format!("it splits the prompt of set {:?} into other tokens", set.name);
            return Err(self.result.other_input(Path::new(&manifest.run.model.class), difference, None));
        }
        Ok(prompt)
    }
}

/// Who is alive in a result.
pub(crate) fn thresholds(manifest: &Manifest) -> Thresholds {
    Thresholds {
        ci: manifest.settings.ci_threshold,
        output_prob: manifest.settings.output_prob_threshold,
        output_top: manifest.settings.output_top,
        strict: manifest.settings.forward == results::Forward::Target,
    }
}

/// The forward pass that the attributions of a result are made in.
pub(crate) fn forward(manifest: &Manifest) -> Forward {
    match (manifest.settings.forward, manifest.settings.delta) {
        (results::Forward::Masked, _) => Forward::Masked,
        (results::Forward::Target, Some(results::Delta::Stopped)) => Forward::Target(DeltaGradient::Stopped),
        (results::Forward::Target, Some(results::Delta::Both)) => Forward::Target(DeltaGradient::Both),
        (results::Forward::Target, _) => Forward::Target(DeltaGradient::Through),
    }
}
