//! What is evaluated: sets of a file, or of a result.

use std::path::PathBuf;

use serde_json::Value;
use tributary_graph::Graph;
use tributary_inputs::{Tokenizer, TrainedRun};
use tributary_model::{AliveEntries, CausalImportances, Layer, Prompt, Role, Weights};
use tributary_results::{Manifest, ResultFolder, SetEntry};

use super::node_pattern::Node;
use crate::sets::InputSets;
use crate::{Error, Input, OnProgress, Progress, ResultRun, Run, select_sets};

/// Whose sets are evaluated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subjects {
    /// Those of a file.
    File {
        /// The trained run.
        run: Run,
        /// The file, in one of the four JSON formats.
        file: PathBuf,
        /// The sets that are wanted, as [`select_sets`] takes them; empty for all.
        sets: Vec<String>,
    },
    /// Those of a result: nodes are those of its graphs.
    Result {
        /// The result.
        result: ResultRun,
        /// The sets that are wanted, as [`select_sets`] takes them; empty for all.
        sets: Vec<String>,
    },
}

/// A set that is evaluated.
pub(super) struct Subject<'a> {
    pub(super) name: &'a str,
    pub(super) prompt: &'a Prompt,
    /// Its nodes, each with its causal importance, ascending.
    pub(super) nodes: Vec<(Node, f32)>,
    pub(super) metadata: Option<&'a Value>,
    /// The last position that takes part, where it is not its prompt's.
    pub(super) until: Option<usize>,
    /// Of a result, where it is asked for.
    pub(super) graph: Option<SubjectGraph<'a>>,
}

/// The attribution graph of a set.
pub(super) struct SubjectGraph<'a> {
    pub(super) graph: Graph,
    /// What is alive of the output.
    pub(super) output: AliveEntries,
    pub(super) manifest: &'a Manifest,
    pub(super) entry: &'a SetEntry,
}

/// Sets, opened.
pub(super) struct Opened {
    pub(super) tokenizer: Tokenizer,
    sets: Sets,
}

enum Sets {
    File(InputSets),
    Result { folder: Box<ResultFolder>, names: Vec<String>, prompts: Vec<Prompt> },
}

impl Opened {
    /// Reads the run and the sets; gives the run's weights beside them.
    pub(super) fn open(subjects: &Subjects, on_progress: &mut OnProgress<'_>) -> Result<(Self, Weights), Error> {
        let (run, sets) = match subjects {
            Subjects::File { run, file, sets } => {
                let run = run.open(on_progress)?;
                let input = Input::CiSets { file: file.clone(), sets: sets.clone(), prompts: Vec::new() };
                let sets = InputSets::read(&input, &run, &mut |text| on_progress(Progress::Note(text)))?;
                (run, Sets::File(sets))
            }
            Subjects::Result { result, sets } => {
                let folder = result.folder()?;
                let manifest = folder.manifest();
                let known: Vec<&str> = manifest.sets.iter().map(|set| set.name.as_str()).collect();
                let wanted = select_sets(sets, &known, &result.result)?;
                let is_wanted = |name: &&str| sets.is_empty() || wanted.iter().any(|wanted| wanted == name);
                let names = known.into_iter().filter(is_wanted).map(str::to_owned).collect();
                let run = result.open(manifest, on_progress)?;
                let ids = |tokens: &[u32]| tokens.iter().copied().map(u64::from).collect::<Vec<_>>();
                let prompts = manifest.prompts.iter().map(|prompt| run.prompt_of_tokens(&ids(&prompt.tokens)));
                let prompts = prompts.collect::<Result<_, _>>()?;
                (run, Sets::Result { folder: Box::new(folder), names, prompts })
            }
        };
        let TrainedRun { tokenizer, weights, .. } = run;
        Ok((Self { tokenizer, sets }, weights))
    }

    /// Number of sets.
    pub(super) fn len(&self) -> usize {
        match &self.sets {
            Sets::File(sets) => sets.given().len(),
            Sets::Result { names, .. } => names.len(),
        }
    }

    /// One of them, with its graph if there is one and it is asked for.
    pub(super) fn subject(&self, index: usize, with_graph: bool) -> Result<Subject<'_>, Error> {
        match &self.sets {
            Sets::File(sets) => {
                let set = &sets.given()[index];
                let of_layer = |(&layer, importances): (&Layer, &'_ CausalImportances)| {
                    let at = |position| {
                        let alive = importances.row(position).filter(|&(_, value)| value > 0.0);
                        alive.map(move |(component, value)| ((layer, position, component), value))
                    };
                    (0..importances.positions()).flat_map(at).collect::<Vec<_>>()
                };
                Ok(Subject {
                    name: &set.name,
                    prompt: &set.prompt,
                    nodes: set.layers.iter().flat_map(of_layer).collect(),
                    metadata: sets.metadata(index),
                    until: None,
                    graph: None,
                })
            }
            Sets::Result { folder, names, prompts } => {
                let manifest = folder.manifest();
                let name = &names[index];
                let Some(entry) = manifest.set(name) else { unreachable!("names are the manifest's") };
                let read = folder.read_set(name)?;
                let mut nodes = Vec::new();
                let mut output = None;
                for (&layer, found) in &read.nodes {
                    match layer.role() {
                        Role::Embedding => {}
                        Role::Output => output = Some((*found.alive).clone()),
                        _ => {
                            let of_layer = found.alive.iter().zip(&found.importance);
                            let node = |((position, component), &value)| ((layer, position, component), value);
                            nodes.extend(of_layer.map(node));
                        }
                    }
                }
                let graph = output.filter(|_| with_graph).map(|output| SubjectGraph {
                    graph: Graph::new(&read),
                    output,
                    manifest,
                    entry,
                });
                Ok(Subject {
                    name,
                    prompt: &prompts[entry.prompt],
                    nodes,
                    metadata: entry.metadata.as_ref(),
                    until: entry.until,
                    graph,
                })
            }
        }
    }
}
