//! The label's probability against the number of nodes that are kept, as a figure.

use std::path::Path;

use tributary::model::token_label;
use tributary::{EvaluatedSelection, EvaluatedSet};
use tributary_files::{OutputFile, Replace, Transaction};
use tributary_plot::chart::{Axis, Chart, Line, Panel};
use tributary_plot::png;

use crate::CliError;
use crate::args::PIXELS;

/// A figure to be drawn, whose place is known to be free.
pub(super) struct Sweep<'a> {
    path: &'a Path,
    files: Transaction,
    file: OutputFile,
}

const REGIMES: [&str; 5] = ["ci", "stochastic", "adversarial", "ablated", "target"];

impl<'a> Sweep<'a> {
    pub(super) fn begin(path: &'a Path, force: bool) -> Result<Self, CliError> {
        let (files, name) = Transaction::of_file(path)?;
        let file = files.create(name, Replace::if_asked(force))?;
        Ok(Self { path, files, file })
    }

    pub(super) fn draw(self, sets: &[EvaluatedSet]) -> Result<(), CliError> {
        use std::io::Write as _;
        let svg = chart(sets).svg();
        let is_png = self.path.extension().is_some_and(|extension| extension == "png");
        let fail =
            |source| CliError::Plot { set: sets.first().map_or_else(String::new, |set| set.name.clone()), source };
        let bytes = if is_png { png(&svg, PIXELS).map_err(fail)?.bytes } else { svg.into_bytes() };
        let Self { path, files, mut file } = self;
        file.write_all(&bytes).map_err(tributary_files::FilesError::io("write", path))?;
        file.close()?;
        Ok(files.commit()?)
    }
}

fn chart(sets: &[EvaluatedSet]) -> Chart {
    Chart {
        title: "The label's probability with the nodes that are left".to_owned(),
        subtitle: "of each set those above a ladder of causal importances, from all on the right to none on the left"
            .to_owned(),
        colours: REGIMES.map(str::to_owned).to_vec(),
        panels: sets.iter().map(panel).collect(),
        ..Chart::default()
    }
}

fn panel(set: &EvaluatedSet) -> Panel {
    // The whole set is the first, and what is above 0 the same.
    let is_rung = |selection: &&EvaluatedSelection| selection.above.is_some();
    let mut rungs: Vec<&EvaluatedSelection> =
        set.selections.iter().take(1).chain(set.selections.iter().filter(is_rung)).collect();
    rungs.sort_by_key(|rung| rung.nodes);
    rungs.dedup_by_key(|rung| rung.nodes);
    let line = |(colour, name): (usize, &&str)| {
        let prob = |rung: &EvaluatedSelection| match colour {
            0 => rung.evaluated.ci.label_prob,
            1 => rung.evaluated.stochastic.label_prob.mean,
            2 => rung.evaluated.adversarial.label_prob.mean,
            3 => rung.evaluated.ablated.label_prob,
            _ => rung.evaluated.target.label_prob,
        };
        let points = rungs.iter().map(|rung| (rung.nodes as f64, prob(rung))).collect();
        Line { name: (*name).to_owned(), colour, shade: 0, points }
    };
    Panel {
        title: format!("{}: p(\"{}\") at {}", set.name, token_label(&set.label.1), set.position),
        x: Axis::linear("nodes kept").including(0.0, 1.0),
        y: Axis::linear("probability").including(0.0, 1.0),
        lines: REGIMES.iter().enumerate().map(line).collect(),
    }
}
