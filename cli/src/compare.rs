//! `tributary compare`: what sets have in common and where they differ.

mod tables;

use serde_json::json;
use tributary_compare::{Alignment, Comparison, Consensus, open};
use tributary_results::ResultFolder;

use crate::args::CompareArgs;
use crate::own_folder::refuse_own_folder;
use crate::{CliError, console};

pub(crate) fn run(args: &CompareArgs) -> Result<(), CliError> {
    let folders: Vec<ResultFolder> =
        args.results.iter().map(|path| ResultFolder::open(path)).collect::<Result<_, _>>()?;
    let view = args.view.view();
    if let Some(out) = &args.out {
        Consensus::check_view(view)?;
        refuse_own_folder(out, &args.results)?;
    }
    let is_name = |name: &str| folders.iter().any(|folder| folder.manifest().set(name).is_some());
    let names = tributary::set_names(&args.sets, is_name);
    let sets = open(&folders, &names, args.prompt, view)?;
    let alignment = Alignment::new(&sets, args.min_edge)?;
    let consensus = Consensus::new(&alignment, args.at_least)?;
    if let Some(out) = &args.out {
        consensus.write(&alignment, out, args.force)?;
    }
    let comparison = Comparison::new(&alignment, &consensus, args.top.0);
    if args.json {
        // Nothing in it refuses to be serialised: its keys are text.
        return console::print_json(&format!("{}\n", json!(comparison)));
    }
    console::print(&tables::text(&comparison))?;
    if let Some(out) = &args.out {
        console::print(&format!("the consensus graph is in {}\n", out.display()))?;
    }
    Ok(())
}
