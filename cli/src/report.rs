//! `tributary report`: one page that shows all sets.

use std::fmt::Write as _;

use serde_json::json;
use tributary_files::{FilesError, Replace, Transaction};
use tributary_report::{Options, ReportError, Summary, write};
use tributary_results::ResultFolder;

use crate::args::ReportArgs;
use crate::own_folder::refuse_own_folder;
use crate::{CliError, console, selected_sets, visible};

pub(crate) fn run(args: &ReportArgs) -> Result<(), CliError> {
    let result = ResultFolder::open(&args.result)?;
    let sets = selected_sets::of_result(&args.sets, result.manifest(), &args.result)?;
    let names = sets.into_iter().map(|set| set.name.clone()).collect();
    let options = Options { sets: Some(names), max_edges_per_set: args.max_edges, view: args.view.view() };
    if let Some(folder) = args.out.parent() {
        refuse_own_folder(folder, &[&args.result])?;
    }
    let (transaction, name) = Transaction::of_file(&args.out)?;
    let mut file = transaction.create(name, Replace::if_asked(args.output.force))?;
    let summary = write(&result, &options, &mut file).map_err(|error| match error {
        ReportError::Write(source) => FilesError::io("write", file.path())(source).into(),
        error => CliError::from(error),
    })?;
    file.close()?;
    transaction.commit()?;
    console::summarise(&args.output, || json(args, &summary), || text(args, &summary))
}

fn text(args: &ReportArgs, summary: &Summary) -> String {
    let mut text = String::new();
    for set in &summary.sets {
        let _ = write!(text, "set {}: {} nodes, {} edges", visible::on_one_line(&set.name), set.nodes, set.written);
        if set.left_out > 0 {
            let _ = write!(text, "; {} left out, each at most {:.3e}", set.left_out, set.largest_left_out);
        }
        if set.zero > 0 {
            let _ = write!(text, "; {} are zero", set.zero);
        }
        if set.not_finite > 0 {
            let _ = write!(text, "; {} are not finite", set.not_finite);
        }
        text.push('\n');
    }
    let size = bytesize::ByteSize(summary.bytes).display().si();
    let _ = writeln!(text, "{} ({size}); open it in a browser", args.out.display());
    text
}

fn json(args: &ReportArgs, summary: &Summary) -> String {
    let sets: Vec<_> = summary
        .sets
        .iter()
        .map(|set| {
            json!({
                "set": set.name,
                "nodes": set.nodes,
                "edges": set.written,
                "left_out": {
                    "edges": set.left_out,
                    "largest_edge": set.largest_left_out,
                    "zero_edges": set.zero,
                    "not_finite_edges": set.not_finite,
                },
            })
        })
        .collect();
    format!("{}\n", json!({ "report": args.out.display().to_string(), "bytes": summary.bytes, "sets": sets }))
}
