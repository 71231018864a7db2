//! From result folders to the sets that are compared.

use std::ffi::OsStr;
use std::sync::Arc;

use tributary_graph::View;
use tributary_results::{Manifest, ResultFolder};

use crate::{CONSENSUS_SETS, CompareError, ComparedSet};

/// Bytes of memory that an edge takes in a comparison.
const OF_EDGE: u64 = 116;

/// Reads the sets to compare, in the order of the folders and of their manifests.
///
/// `names` chooses sets by name (of every folder that has it) or by label; empty takes all, of a consensus
/// folder its means alone. All are on one prompt, which
/// is number `prompt` of the first folder, and may be left out where that folder's sets, those chosen by `names`, have one.
/// Of the other folders the sets on the same tokens are taken; there has to be one. The graphs of all are those of `view`.
///
/// # Errors
///
/// When a folder cannot be read or has no set on the prompt, when a name or the prompt is unknown or has to be chosen, or
/// when there are fewer than two sets. What else makes sets incomparable, [`Alignment::new`](crate::Alignment::new) says.
pub fn open(
    folders: &[ResultFolder],
    names: &[String],
    prompt: Option<usize>,
    view: View,
) -> Result<Vec<ComparedSet>, CompareError> {
    let Some(first) = folders.first() else {
        return Err(CompareError::TooFewSets { found: "there is nothing".to_owned() });
    };
    let canonical = |folder: &ResultFolder| folder.path().canonicalize().ok();
    for (at, folder) in folders.iter().enumerate() {
        if folders[..at].iter().any(|other| canonical(other).is_some() && canonical(other) == canonical(folder)) {
            return Err(CompareError::Twice { path: folder.path().to_owned() });
        }
    }
    let labels = labels(folders);
    let is_chosen = |folder: usize, set: usize| {
        let manifest = folders[folder].manifest();
        let name = &manifest.sets[set].name;
        // Of a consensus the means alone are attributions.
        let is_attribution = !manifest.run.is_consensus() || name == CONSENSUS_SETS[0].0;
        (names.is_empty() && is_attribution)
            || names.iter().any(|chosen| chosen == name || *chosen == labels[folder][set])
    };
    let prompt = match prompt {
        Some(number) => number,
        None => only_prompt(first, |set| is_chosen(0, set))?,
    };
    let Some(wanted) = first.manifest().prompts.get(prompt) else {
        let (path, prompts) = (first.path().to_owned(), list_prompts(first.manifest()));
        return Err(CompareError::UnknownPrompt { path, number: prompt, prompts });
    };
    let mut on_prompt = Vec::new();
    for (at, folder) in folders.iter().enumerate() {
        let manifest = folder.manifest();
        let found =
            (0..manifest.sets.len()).filter(|&set| manifest.prompts[manifest.sets[set].prompt].tokens == wanted.tokens);
        let before = on_prompt.len();
        on_prompt.extend(found.map(|set| (at, set)));
        if on_prompt.len() == before {
            return Err(CompareError::OtherPrompt {
                path: folder.path().to_owned(),
                prompt: wanted.text.clone(),
                first: first.path().to_owned(),
                prompts: list_prompts(manifest),
            });
        }
    }
    let name_of = |&(folder, set): &(usize, usize)| &folders[folder].manifest().sets[set].name;
    let label_of = |&(folder, set): &(usize, usize)| &labels[folder][set];
    if let Some(name) =
        names.iter().find(|name| !on_prompt.iter().any(|at| *name == name_of(at) || *name == label_of(at)))
    {
        let known: Vec<String> = on_prompt.iter().map(|at| format!("{:?}", label_of(at))).collect();
        let (name, prompt) = (name.clone(), wanted.text.clone());
        return Err(CompareError::UnknownSet { name, prompt, known: known.join(", ") });
    }
    on_prompt.retain(|&(folder, set)| is_chosen(folder, set));
    if let [] | [_] = on_prompt[..] {
        let found =
            on_prompt.first().map_or("there is nothing".to_owned(), |at| format!("there is only {:?}", label_of(at)));
        return Err(CompareError::TooFewSets { found });
    }
    let edges_of = |&(folder, set): &(usize, usize)| folders[folder].edges(&folders[folder].manifest().sets[set]);
    let edges: u64 = on_prompt.iter().map(edges_of).sum();
    first.check_memory(edges.saturating_mul(OF_EDGE))?;
    let manifests: Vec<Arc<Manifest>> = folders.iter().map(|folder| Arc::new(folder.manifest().clone())).collect();
    let read = |at: &(usize, usize)| {
        let &(folder, index) = at;
        let set = folders[folder].read_set(name_of(at))?;
        let manifest = Arc::clone(&manifests[folder]);
        Ok(ComparedSet::new(label_of(at).clone(), folders[folder].path(), manifest, index, &set, view))
    };
    on_prompt.iter().map(read).collect()
}

/// The prompt of the chosen sets of a folder; of all its sets when the names are of other folders.
fn only_prompt(folder: &ResultFolder, is_chosen: impl Fn(usize) -> bool) -> Result<usize, CompareError> {
    let sets = &folder.manifest().sets;
    let mut prompts: Vec<usize> = (0..sets.len()).filter(|&set| is_chosen(set)).map(|set| sets[set].prompt).collect();
    if prompts.is_empty() {
        prompts = sets.iter().map(|set| set.prompt).collect();
    }
    prompts.sort_unstable();
    prompts.dedup();
    match prompts[..] {
        [] => Err(CompareError::TooFewSets {
            found: format!("{} has no sets, so there is nothing", folder.path().display()),
        }),
        [prompt] => Ok(prompt),
        _ => {
            let (path, prompts) = (folder.path().to_owned(), list_prompts(folder.manifest()));
            Err(CompareError::SeveralPrompts { path, prompts })
        }
    }
}

fn list_prompts(manifest: &Manifest) -> String {
    let line = |(number, prompt): (usize, &tributary_results::PromptEntry)| {
        let sets = manifest.sets.iter().filter(|set| set.prompt == number).count();
        // Debug format, as a prompt may hold control characters.
        format!("  {number}: {:?} ({} tokens, {sets} sets)", prompt.text, prompt.tokens.len())
    };
    manifest.prompts.iter().enumerate().map(line).collect::<Vec<_>>().join("\n")
}

/// What each set of each folder is called: its name, after its folder's where there are several. A folder is called by its
/// last part where that tells it apart, else by the path as it was given.
fn labels(folders: &[ResultFolder]) -> Vec<Vec<String>> {
    let last: Vec<Option<&OsStr>> = folders.iter().map(|folder| folder.path().file_name()).collect();
    let distinct = (0..last.len()).all(|i| last[i].is_some() && !last[..i].contains(&last[i]));
    let label = |(folder, last): (&ResultFolder, Option<&OsStr>)| {
        let name = if distinct { last.unwrap_or_default() } else { folder.path().as_os_str() };
        let name = name.to_string_lossy();
        let sets = folder.manifest().sets.iter();
        if folders.len() == 1 {
            sets.map(|set| set.name.clone()).collect()
        } else {
            sets.map(|set| format!("{}/{}", name.trim_end_matches('/'), set.name)).collect()
        }
    };
    folders.iter().zip(last).map(label).collect()
}
