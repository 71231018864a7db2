//! The CI sets of a session, read and checked.

use serde_json::Value;
use tributary_engine::Sets;
use tributary_inputs::{InputError, TrainedRun};
use tributary_model::{CiSet, Prompt};

use crate::{Error, Input, select_sets};

/// What a session computes.
#[derive(Clone, Debug)]
pub(crate) enum InputSets {
    /// Sets of a file.
    Given {
        /// The sets.
        sets: Vec<CiSet>,
        /// What came with each; empty where it does not matter.
        metadata: Vec<Option<Value>>,
        /// SHA-256 of their file.
        sha256: String,
    },
    /// Prompts for the model's own causal importances.
    Own(Vec<Prompt>),
}

impl InputSets {
    /// Reads them; `note` is told what is worth knowing.
    pub(crate) fn read(input: &Input, run: &TrainedRun, note: &mut dyn FnMut(&str)) -> Result<Self, Error> {
        let Input::CiSets { file, sets: wanted, prompts } = input else {
            return Ok(Self::Own(Self::prompts(input, run, note)?));
        };
        let mut read = run.ci_sets(file, prompts)?;
        read.notes.iter().for_each(|text| note(text));
        if !wanted.is_empty() {
            let known: Vec<&str> = read.sets.iter().map(|set| set.name.as_str()).collect();
            let wanted = select_sets(wanted, &known, file)?;
            read.sets.retain(|set| wanted.contains(&set.name));
        }
        let metadata: Vec<Option<Value>> = read.sets.iter().map(|set| read.metadata.remove(&set.name)).collect();
        if let Some(text) = made_on_another(&read.sets, &metadata, run) {
            note(&text);
        }
        Ok(Self::Given { sets: read.sets, metadata, sha256: read.sha256 })
    }

    /// The prompts that are given as text or tokens; none of a file of CI sets.
    pub(crate) fn prompts(
        input: &Input,
        run: &TrainedRun,
        note: &mut dyn FnMut(&str),
    ) -> Result<Vec<Prompt>, InputError> {
        let prompts: Vec<Prompt> = match input {
            Input::Prompts(texts) => texts.iter().map(|text| run.prompt(text)).collect::<Result<_, _>>()?,
            Input::Tokens(prompts) => prompts.iter().map(|ids| run.prompt_of_tokens(ids)).collect::<Result<_, _>>()?,
            Input::TokenFile(file) => run.prompts_of_token_file(file)?,
            Input::CiSets { .. } => Vec::new(),
        };
        prompts.iter().flat_map(|prompt| run.prompt_notes(prompt)).for_each(|text| note(&text));
        Ok(prompts)
    }

    pub(crate) fn sets(&self) -> Sets<'_> {
        match self {
            Self::Given { sets, .. } => Sets::Given(sets),
            Self::Own(prompts) => Sets::ModelCi(prompts),
        }
    }

    /// The sets of a file; none of prompts.
    pub(crate) fn given(&self) -> &[CiSet] {
        match self {
            Self::Given { sets, .. } => sets,
            Self::Own(_) => &[],
        }
    }

    /// Each by its name, its prompt and what came with it.
    pub(crate) fn named(&self) -> Vec<(String, &Prompt, Option<&Value>)> {
        match self {
            Self::Given { sets, .. } => {
                sets.iter().enumerate().map(|(at, set)| (set.name.clone(), &set.prompt, self.metadata(at))).collect()
            }
            Self::Own(prompts) => {
                prompts.iter().enumerate().map(|(at, prompt)| (format!("prompt_{at}"), prompt, None)).collect()
            }
        }
    }

    /// SHA-256 of their file, where there is one.
    pub(crate) fn sha256(&self) -> Option<&str> {
        match self {
            Self::Given { sha256, .. } => Some(sha256),
            Self::Own(_) => None,
        }
    }

    /// The prompt of a set.
    pub(crate) fn prompt(&self, set: usize) -> &Prompt {
        match self {
            Self::Given { sets, .. } => &sets[set].prompt,
            Self::Own(prompts) => &prompts[set],
        }
    }

    /// What came with a set.
    pub(crate) fn metadata(&self, set: usize) -> Option<&Value> {
        match self {
            Self::Given { metadata, .. } => metadata.get(set)?.as_ref(),
            Self::Own(_) => None,
        }
    }
}

/// What to say where sets name the model that they were made on, and it is another.
fn made_on_another(sets: &[CiSet], metadata: &[Option<Value>], run: &TrainedRun) -> Option<String> {
    let own = run.fingerprint.to_string();
    let is_of_another = |metadata: &Option<Value>| {
        let named = metadata.as_ref().and_then(|metadata| metadata.get("model_fingerprint")?.as_str());
        named.is_some_and(|named| named != own)
    };
    let others: Vec<&CiSet> =
        sets.iter().zip(metadata).filter(|(_, metadata)| is_of_another(metadata)).map(|(set, _)| set).collect();
    let first = others.first()?;
    Some(format!(
        "set {:?}{} made on another model or checkpoint, as model_fingerprint in its metadata says: this one has {own}",
        first.name,
        if others.len() == 1 { " was".to_owned() } else { format!(" and {} more were", others.len() - 1) }
    ))
}
