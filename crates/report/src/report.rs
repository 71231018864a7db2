//! From a result folder to a page.

use std::io::{self, Write};

use tributary_results::{Manifest, ResultFolder};

use crate::collect::PromptGraphs;
use crate::metadata::Metadata;
use crate::{Options, ReportError, SetSummary, Summary, page};

/// Bytes of memory that an edge of the set takes that is read at a time.
const OF_EDGE: u64 = 36;

/// Writes the page of a result folder to `out`. At any time the edges of one set are in memory, and what is written of
/// all.
pub fn write(folder: &ResultFolder, options: &Options, out: &mut impl Write) -> Result<Summary, ReportError> {
    let manifest = folder.manifest();
    let names = names(manifest, options);
    if names.is_empty() {
        return Err(ReportError::NoSets { path: folder.path().to_owned() });
    }
    let edges = names.iter().filter_map(|name| Some(folder.edges(manifest.set(name)?))).max().unwrap_or(0);
    folder.check_memory(edges.saturating_mul(OF_EDGE))?;
    let mut prompts: Vec<PromptGraphs> = Vec::new();
    for name in &names {
        let set = folder.read_set(name)?;
        // What can be read has an entry.
        let Some(entry) = manifest.set(name) else { unreachable!("set {name:?} was read") };
        if u32::try_from(entry.edges).is_err() {
            return Err(ReportError::TooManyEdges { set: entry.name.clone(), edges: entry.edges });
        }
        let at = prompts.iter().position(|known| known.prompt == entry.prompt).unwrap_or_else(|| {
            prompts.push(PromptGraphs::new(entry.prompt));
            prompts.len() - 1
        });
        prompts[at].add(&set, entry, options);
    }
    let metadata = Metadata::new(manifest, &prompts, options);
    let title = prompts.first().map_or("", |prompt| manifest.prompts[prompt.prompt].text.as_str());
    let mut out = Counting { out, bytes: 0 };
    page::write(&title_of(title, prompts.len()), &metadata, &mut out)?;
    let mut sets: Vec<SetSummary> = prompts.into_iter().flat_map(PromptGraphs::into_summaries).collect();
    sets.sort_by_key(|set| names.iter().position(|name| *name == set.name));
    Ok(Summary { sets, bytes: out.bytes })
}

/// The sets that are shown, each once.
fn names<'a>(manifest: &'a Manifest, options: &'a Options) -> Vec<&'a str> {
    let mut names: Vec<&str> = Vec::new();
    let mut add = |name: &'a str| {
        if !names.contains(&name) {
            names.push(name);
        }
    };
    match &options.sets {
        Some(chosen) => chosen.iter().for_each(|name| add(name)),
        None => manifest.sets.iter().for_each(|set| add(&set.name)),
    }
    names
}

fn title_of(prompt: &str, prompts: usize) -> String {
    const LONGEST: usize = 60;
    let mut text: String = prompt.chars().take(LONGEST).collect();
    if prompt.chars().count() > LONGEST {
        text.push('\u{2026}');
    }
    match prompts {
        1 => format!("{text} \u{b7} tributary"),
        more => format!("{text} and {} more \u{b7} tributary", more - 1),
    }
}

struct Counting<W> {
    out: W,
    bytes: u64,
}

impl<W: Write> Write for Counting<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
